"""Read the documentation's code blocks, and run a page's commands.

| block | content |
| --- | --- |
| `console` | commands after `$ `, continued after `> `, and their output, in which … matches anything |
| `sh` | commands, each of which succeeds |
| `usage` | forms of a command, with placeholders |
| `mcp` | calls of tools, one a line: the tool's name and its arguments as JSON |
| `python`, `json`, `toml` | what it says |
| none | no commands |

A comment `<!-- not run: REASON -->` in the line above a block keeps it from being run. It is still checked.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.host import process
from tests.style.source import ROOT

LANGUAGES = {"", "console", "sh", "usage", "mcp", "python", "json", "toml", "diff"}
SHELL = {"console", "sh"}
_FENCE = re.compile(r"^ *```(?P<language>\S*) *$")
_NOT_RUN = re.compile(r"^ *<!-- not run: (?P<reason>.+) -->$")
# Separates what the commands of a page print.
_MARK = "\x1e"
# Of several commands, the status of the last that failed counts.
_BEFORE = "exec 2>&1\nset -o pipefail\ntrap 'failed=$?' ERR\n"
# What differs between runs and machines.
_VARYING = (
    (r"\b(ws|vm|sh|svc)_[0-9a-z]{6,}", r"\1_ID"),
    (r"\bws-[0-9a-z]{6,}", "ws-ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00| UTC)?", "TIME"),
    (r"(duration_ms|size_bytes)=\d+", r"\1=N"),
    (r"(?<![\w.])\d+(\.\d+)? (ms|s|seconds|KiB|MiB|GiB|KB|MB)\b", "N UNIT"),
    (r"\b(kvm|tcg)\b", "ISOLATION"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"[ \t]+", " "),
)


@dataclass(frozen=True)
class Command:
    """A command line of a page, and the output shown for it: None if the page shows none."""

    line: str
    output: str | None


@dataclass(frozen=True)
class Block:
    """A code block. `not_run` is why it is not run, empty if it is."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[Command]:
        if self.language == "sh":
            return [Command(self.text, None)]
        if self.language == "python":
            return [Command(f"python3 - <<'END'\n{self.text}END", None)]
        found: list[Command] = []
        lines: list[str] = []
        output: list[str] = []

        def add() -> None:
            if lines:
                found.append(Command("\n".join(lines), "\n".join(output)))

        for each in self.text.splitlines():
            if each.startswith("$ "):
                add()
                lines, output = [each[2:]], []
            elif lines and not output and (each.startswith("> ") or lines[-1].endswith("\\")):
                lines.append(each.removeprefix("> "))
            else:
                output.append(each)
        add()
        return found


def pages() -> list[Path]:
    """Return the pages, those that are generated left out."""
    documents = sorted((ROOT / "docs").rglob("*.md"))
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *documents]
    return [path for path in found if "reference" not in path.parts]


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    name = str(page.relative_to(ROOT))
    found: list[Block] = []
    begun: tuple[int, str, str] | None = None
    text: list[str] = []
    before = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and begun is None:
            reason = _NOT_RUN.match(before)
            begun = number, fence["language"], reason["reason"] if reason else ""
            text = []
        elif fence and begun is not None:
            found.append(Block(name, begun[0], begun[1], "\n".join(text) + "\n", begun[2]))
            begun = None
        else:
            text.append(line)
        before = line
    assert begun is None, f"{name}: a code block has no end"
    return found


def run(commands: Sequence[Command], *, cwd: Path, home: Path) -> list[tuple[int, str]]:
    """Run commands in one bash, and return the status and the output of each, both streams together."""
    script = _BEFORE + "\n".join(
        f"failed=0\n{{\n{command.line}\n}} </dev/null; printf '{_MARK}%s{_MARK}' $failed" for command in commands
    )
    installed = ROOT / ".venv" / "bin"
    environment = {**os.environ, "HOME": str(home), "PATH": f"{installed}:{os.environ['PATH']}", "COLUMNS": "100"}
    environment.pop("XDG_CONFIG_HOME", None)
    bash = shutil.which("bash") or "/bin/bash"
    done = process.run([bash, "-c", script], cwd=cwd, env=environment, timeout_s=110, check=False)
    pieces = done.stdout.decode("utf-8", "replace").split(_MARK)
    return [(int(status), output) for output, status in zip(pieces[::2], pieces[1::2], strict=False)]


def allows(shown: str | None, printed: str, status: int) -> bool:
    """Return whether a page shows what a command has printed, and its exit status: 0, or one that the page shows."""
    if status and not (shown and re.search(rf"\bexit_code={status}\b|^error: ", shown, re.MULTILINE)):
        return False
    if shown is None or not shown.strip():
        return True
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in _plain(shown).splitlines()
    )
    return re.fullmatch(pattern, _plain(printed)) is not None


def _plain(text: str) -> str:
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())
