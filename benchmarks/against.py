"""`make bench AGAINST=REV`: this checkout and another revision side by side, sample by sample.

Figures of separate runs differ by what else the machine did in between. Here the samples come in pairs, one of each
revision in alternating order, and a row reports the ratios within the pairs. Both revisions are built as wheels and
installed in virtualenvs of their own, with private state; they share the image cache.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from benchmarks.samples import ROWS
from benchmarks.workspaces import make_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

ROOT = Path(__file__).resolve().parent.parent
_MIB = 1024 * 1024
_COLUMNS = ("row", "what", "there", "here", "ratio", "middle half", "pairs")
# Processes from start to exit. `cpu` rows count the processor time of the process and its children.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "version": ("pyro --version", ("--version",)),
    "help": ("pyro --help", ("--help",)),
    "env-list": ("pyro env list", ("env", "list")),
    "run": ("pyro run … -- true", ("run", "{environment}", "--", "true")),
}
_CPU = "-cpu"


@dataclass(slots=True)
class Pairs:
    """The paired samples of one row, in milliseconds: of the other revision and of this one."""

    row: str
    what: str
    there: list[float] = field(default_factory=list[float])
    here: list[float] = field(default_factory=list[float])
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Return this revision's time divided by the other's, for each pair."""
        return [here / there for there, here in zip(self.there, self.here, strict=True)]

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, one cell per column."""
        if not self.ratios:
            return (self.row, self.what, "", "", "", "", "0")
        low, middle, high = quartiles(self.ratios)
        medians = (f"{statistics.median(each):.1f} ms" for each in (self.there, self.here))
        return (self.row, self.what, *medians, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", str(len(self.ratios)))

    def to_json(self) -> dict[str, object]:
        """Return the row with all its samples."""
        shares = dict(zip(("low", "median", "high"), quartiles(self.ratios), strict=True)) if self.ratios else None
        return {
            "row": self.row,
            "what": self.what,
            "there_ms": self.there,
            "here_ms": self.here,
            "ratio": shares,
            "note": self.note,
        }


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles: half of the samples are between the first and the last."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, middle, high


class Side:
    """One revision, installed: the `bin` directory of its virtualenv, its private state, its worker process."""

    def __init__(self, bin_directory: Path, place: Path, environment: str, seed: Path) -> None:
        self._bin, self._environment = bin_directory, environment
        self._variables = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        for variable, name in {"PYRO_STATE_DIR": "state", "PYRO_RUNTIME_DIR": "run", "TMPDIR": "tmp"}.items():
            (place / name).mkdir(mode=0o700, parents=True)
            self._variables[variable] = str(place / name)
        arguments = (environment, str(seed), str(place / "tmp"))
        self._worker = subprocess.Popen(
            [bin_directory / "python", ROOT / "benchmarks" / "samples.py", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._variables, cwd=place,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its stdin lets the worker delete its workspaces; communicate() sends it.
        with suppress(BrokenPipeError):
            self._worker.communicate()

    def command(self, words: Sequence[str]) -> float:
        """Run `pyro` to its end and return the milliseconds it took."""
        began = time.perf_counter()
        self._run(words)
        return (time.perf_counter() - began) * 1000

    def command_cpu(self, words: Sequence[str]) -> float:
        """Run `pyro` to its end and return the milliseconds of processor time."""
        before = _children_s()
        self._run(words)
        return (_children_s() - before) * 1000

    def _run(self, words: Sequence[str]) -> None:
        filled = [word.format(environment=self._environment) for word in words]
        done = subprocess.run(
            [self._bin / "pyro", *filled],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self._variables, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise UnsupportedError(done.stderr.strip()[-200:] or f"exit {done.returncode}")

    def sample(self, row: str | None) -> float:
        """Let the worker take a sample of a row of `ROWS`, or end its current row (None)."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps({"row": row}) + "\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        if not line:
            raise RuntimeError("the process that takes the samples ended")
        answer = json.loads(line)
        if "error" in answer:
            raise UnsupportedError(answer["error"])
        return answer.get("ms", 0.0)


class UnsupportedError(Exception):
    """A revision does not support what a row measures."""


def available() -> dict[str, str]:
    """Return every row that can be compared, and what it measures."""
    found: dict[str, str] = {}
    for row, (what, _) in COMMANDS.items():
        found[row] = what
        if row != "run":  # its guest belongs to other processes
            found[row + _CPU] = f"{what}, processor time"
    return found | {row: what for row, (what, _) in ROWS.items()}


def compare(there: Side, here: Side, rows: Sequence[str], *, times: int, warm_ups: int = 1) -> list[Pairs]:
    """Take `times` pairs of samples of each row, after warm-ups that don't count."""
    names = available()
    return [_compare(Pairs(row, names[row]), there, here, times, warm_ups) for row in rows]


def _compare(pairs: Pairs, there: Side, here: Side, times: int, warm_ups: int) -> Pairs:
    print(f"[bench] {pairs.row}", file=sys.stderr, flush=True)
    for number in range(-warm_ups, times):
        taken = _pair(pairs, there, here, first_here=number % 2 == 0)
        if taken is None:
            break
        if number >= 0:
            pairs.there.append(taken["there"])
            pairs.here.append(taken["here"])
    if pairs.row in ROWS:
        for side in (there, here):
            side.sample(None)
    return pairs


def _pair(pairs: Pairs, there: Side, here: Side, *, first_here: bool) -> dict[str, float] | None:
    """Take one sample of each side; if one does not support the row, note it and return None."""
    sides = {"here": here, "there": there} if first_here else {"there": there, "here": here}
    taken: dict[str, float] = {}
    for name, side in sides.items():
        try:
            taken[name] = _sampler(side, pairs.row)()
        except UnsupportedError as error:
            pairs.note = f"{name}: {error}"
            return None
    return taken


def _sampler(side: Side, row: str) -> Callable[[], float]:
    if row in ROWS:
        return lambda: side.sample(row)
    words = COMMANDS[row.removesuffix(_CPU)][1]
    return lambda: side.command_cpu(words) if row.endswith(_CPU) else side.command(words)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(pairs: Sequence[Pairs]) -> str:
    """Render the rows as a table, then the notes."""
    lines = [_COLUMNS, *(each.cells() for each in pairs)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    shown = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    notes = [f"{each.row}: not compared; {each.note}" for each in pairs if each.note]
    return "\n".join([shown[0], rule, *shown[1:], *([""] if notes else []), *notes])


@contextmanager
def both_sides(revision: str, environment: str) -> Generator[tuple[Side, Side]]:
    """Install the revision and this checkout in a temporary directory; everything is removed on leaving."""
    with TemporaryDirectory(prefix="pyro-bench-") as name, ExitStack() as stack:
        place = Path(name)
        seed = make_tree(place / "seed", files=500, total_bytes=5 * _MIB)
        checkout = stack.enter_context(_checked_out(revision, place / "tree"))
        sides: list[Side] = []
        for label, source in (("there", checkout), ("here", ROOT)):
            bin_directory = _install(source, place / label)
            # Pull the images that this revision boots now, not during a sample.
            subprocess.run([bin_directory / "pyro", "env", "pull", environment], check=True, stdout=subprocess.DEVNULL)
            sides.append(stack.enter_context(Side(bin_directory, place / label, environment, seed)))
        yield sides[0], sides[1]


@contextmanager
def _checked_out(revision: str, place: Path) -> Generator[Path]:
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", fault=revision)
    print(f"[bench] there: {_git('log', '-1', '--format=%h %s', commit)}", file=sys.stderr, flush=True)
    _git("worktree", "add", "--quiet", "--detach", str(place), commit)
    try:
        yield place
    finally:
        _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str, fault: str = "") -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"git: {done.stderr.strip() or f'no revision {fault!r}'}")
    return done.stdout.strip()


def _install(source: Path, place: Path) -> Path:
    """Install the wheel of a source tree with the versions pinned there; return the bin directory."""
    print(f"[bench] installing {place.name}", file=sys.stderr, flush=True)
    place.mkdir()
    pins = place / "pins.txt"
    # With digests in the constraints file, pip would also require one for the wheel just built.
    pins.write_text("\n".join(re.findall(r"(?m)^[a-z0-9][^ ]*==[^ ]*", (source / "constraints.txt").read_text())))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    wheels = place / "wheels"
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, source], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    target = [*pip, "--python", place / "venv" / "bin" / "python", "install", "--only-binary=:all:"]
    subprocess.run([*target, "-c", pins, *wheels.glob("*.whl")], check=True)
    return place / "venv" / "bin"
