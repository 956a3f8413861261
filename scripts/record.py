"""Record `pyro` fixing a bug in a real guest: docs/recording.cast (asciinema, version 2) and docs/recording.svg.

Run by `make recording`. The output is what `pyro` writes to a terminal; only its waits are shortened, and the temporary
home directory reads `~`.
"""

from __future__ import annotations

import json
import os
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape

import pyte

from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from tests.support.sample_repo import PATCH, make_repo

ROOT = Path(__file__).resolve().parent.parent
CAST = ROOT / "docs" / "recording.cast"
SVG = ROOT / "docs" / "recording.svg"
COMMANDS = (
    "pyro workspace create debian:12 --seed-path . --name fix   # a VM with a copy of this project",
    "pyro workspace exec fix -- ./run-tests",
    "pyro workspace patch apply fix --patch-file ../model.patch",
    "pyro workspace exec fix -- ./run-tests",
    "pyro workspace diff fix",
    "pyro workspace delete fix",
)
PROMPT = "\x1b[1;32m$\x1b[0m "
COLUMNS, ROWS = 100, 28
# Seconds: for a key, before Enter, the longest wait that is kept, before the next prompt, at the end.
KEY_S, ENTER_S, WAIT_S, READ_S, END_S = 0.02, 0.4, 0.5, 1.2, 4.0
# Pixels.
CHAR, LINE, MARGIN = 8.0, 18, 16
COLOURS = {
    "default": "#d8dee9",
    "black": "#4c566a",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#eceff4",
}
Event = tuple[float, str]


def record() -> str:
    """Run the commands at a terminal and return the cast."""
    events: list[Event] = []
    now = 0.0
    with TemporaryDirectory(prefix="recording-") as home:
        project = make_repo(Path(home) / "stats")
        (Path(home) / "model.patch").write_text(PATCH, encoding="utf-8")
        (project / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
        environment = _environment(home)
        # The first workspace on a machine prepares what all others start from.
        for command in ("pyro workspace create debian:12 --name first", "pyro workspace delete first"):
            for _ in _outputs(command, environment, project):
                pass
        for command in COMMANDS:
            events.append((now, PROMPT))
            for key in command:
                now += KEY_S
                events.append((now, key))
            now += ENTER_S
            events.append((now, "\r\n"))
            for waited, text in _outputs(command, environment, project):
                now += min(waited, WAIT_S)
                events.append((now, text.replace(home, "~")))
            now += READ_S
    events.append((now, PROMPT))
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "env": {"SHELL": "/bin/bash", "TERM": "xterm-256color"}}
    lines = [header, *([round(at, 3), "o", text] for at, text in events)]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _environment(home: str) -> dict[str, str]:
    """Return a user's environment without any trace of this one; images are shared."""
    return {
        "HOME": home,
        "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYRO_ENVIRONMENT_CACHE_DIR": str(Paths.from_environment().cache),
        "PYRO_STATE_DIR": f"{home}/state",
        "PYRO_RUNTIME_DIR": f"{home}/run",
    }


def _outputs(command: str, environment: dict[str, str], project: Path) -> Iterator[tuple[float, str]]:
    """Run a command at a terminal and yield what it writes, with the seconds waited for each piece."""
    ours, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (ROWS, COLUMNS))
    argv = ["/bin/bash", "-c", command]
    with process.start(argv, env=environment, cwd=project, stdin=terminal, stdout=terminal, stderr=terminal) as child:
        os.close(terminal)
        before = time.monotonic()
        while piece := _read(ours):
            yield time.monotonic() - before, piece.decode("utf-8", "replace")
            before = time.monotonic()
        child.wait(timeout_s=60)
    os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # EIO: nobody has the other end any more.
        return b""


def drawn(cast: str) -> str:
    """Return a cast as an animated SVG: each line appears when it was last changed, and the text scrolls up."""
    header, *events = [json.loads(line) for line in cast.splitlines()]
    columns, rows = header["width"], header["height"]
    # High enough for all lines, so that none scrolls off.
    screen = pyte.Screen(columns, 400)
    stream = pyte.Stream(screen)
    changed: dict[int, float] = {}
    for at, _, text in events:
        screen.dirty.clear()
        stream.feed(text)
        # The line of the cursor counts as dirty although it is empty.
        changed.update((row, at) for row in screen.dirty if _text(screen.buffer[row]))
    length = events[-1][0] + END_S
    last, seen = max(changed), 0.0
    lines: list[str] = []
    styles: list[str] = []
    scrolls = ["0%{transform:none}"]
    for row in range(last + 1):
        # An empty line comes with the one above it.
        seen = max(seen, changed.get(row, 0.0))
        share = 100 * seen / length
        if row >= rows:
            up = (row - rows + 1) * LINE
            scrolls.append(f"{share:.2f}%{{transform:translateY({-up}px)}}")
        spans = "".join(_spans(screen.buffer[row], columns))
        if spans:
            y = MARGIN + LINE * row + 13
            lines.append(f'<text y="{y}" class="l" style="animation-name:r{row}">{spans}</text>')
            styles.append(f"@keyframes r{row}{{0%{{opacity:0}}{share:.2f}%,100%{{opacity:1}}}}")
    end = max(0, last + 1 - rows) * LINE
    scrolls.append(f"100%{{transform:translateY({-end}px)}}")
    width, height = int(columns * CHAR + 2 * MARGIN), rows * LINE + 2 * MARGIN
    size = f'width="{width}" height="{height}"'
    timing = f"{length:.2f}s steps(1,end) infinite"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 {width} {height}" {size}>',
            "<title>pyro fixes a bug in a virtual machine</title>",
            "<style>",
            f"text{{font:13.3px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:{COLOURS['default']}}}",
            f".l{{animation:{timing}}}#s{{animation:scroll {timing}}}.b{{font-weight:bold}}",
            f"@keyframes scroll{{{''.join(scrolls)}}}",
            *styles,
            "</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#1e222a"/>',
            f'<svg y="{MARGIN}" width="{width}" height="{rows * LINE}">',
            f'<g id="s"><g transform="translate(0,-{MARGIN})">',
            *lines,
            "</g></g></svg>",
            "</svg>",
            "",
        ]
    )


def _text(line: dict[int, pyte.screens.Char]) -> str:
    return "".join(char.data for char in line.values()).strip()


def _spans(line: dict[int, pyte.screens.Char], columns: int) -> Iterator[str]:
    """Yield the text of one line in pieces of one style."""
    chars = [line[column] for column in range(columns)]
    while chars and chars[-1].data == " ":
        chars.pop()
    begin = 0
    for end in range(1, len(chars) + 1):
        first = chars[begin]
        if end < len(chars) and (chars[end].fg, chars[end].bold) == (first.fg, first.bold):
            continue
        text = escape("".join(char.data for char in chars[begin:end]))
        fill = COLOURS.get(first.fg.removeprefix("bright"), f"#{first.fg}")
        style = f' fill="{fill}"' * (first.fg != "default") + ' class="b"' * first.bold
        yield f'<tspan x="{MARGIN + begin * CHAR:g}"{style}>{text}</tspan>'
        begin = end


def main(words: Sequence[str]) -> None:
    """Write the recording; with `--draw`, only draw the cast again."""
    if "--draw" not in words:
        CAST.write_text(record(), encoding="utf-8")
    SVG.write_text(drawn(CAST.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
