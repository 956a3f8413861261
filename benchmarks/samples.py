"""Take the samples of one revision in a comparison.

Run as a script by the Python of any revision's virtualenv, so it imports nothing but `pyro_mcp`'s public interface and
the standard library. Reads a JSON request a line (`row`, or null to end the row) and answers each with a JSON line.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp import Pyro

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

# A model reads the result of a call before it makes the next one.
_REST_S = 0.05
_TRUE = ["true"]
_CHANGE_FIFTY = "for n in $(seq 1 10 500); do echo changed >> $(printf 'd%03d/f%05d' $((n / 100)) $n); done"
_BUSY_GUESTS, _BUSY_COMMANDS = 20, 40
# The time after which busy guests count as such.
_COMPUTING_S = 12
_COMPUTE = ["sh", "-c", "touch /tmp/compute; (while test -e /tmp/compute; do :; done) > /dev/null 2>&1 &"]
_OUTPUT = ["dd", "if=/dev/zero", "bs=8192", "count=2048", "status=none"]
_INSTALL = """
echo node_modules/ > .gitignore; echo changed >> d000/f00000
text=$(head -c 1500 /dev/zero | tr '\\0' 'x')
for n in $(seq 105); do
    mkdir -p node_modules/p$n
    for m in $(seq 100); do echo "module.exports = $m; // $text" > node_modules/p$n/m$m.js; done
done
"""
_GIT_DAEMON = ["git", "daemon", "--listen=127.0.0.1", "--port=9418", "--base-path=/workspace"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The revision's SDK and the inputs of all rows."""

    pyro: Pyro
    environment: str
    seed: Path
    scratch: Path

    @contextmanager
    def workspace(self, *, seeded: bool = False, seed: Path | None = None) -> Generator[str]:
        """Create a workspace, of the common seed if it is `seeded`; delete it on leaving."""
        created = self.pyro.create_workspace(self.environment, seed_path=self.seed if seeded else seed)
        try:
            yield created.workspace_id
        finally:
            self.pyro.delete_workspace(created.workspace_id)


class Step(NamedTuple):
    """A timed action, and an untimed one that prepares the next sample.

    An action that returns a float has measured the milliseconds itself.
    """

    timed: Callable[[], object]
    after: Callable[[], object] | None = None


@contextmanager
def _one_shot(setting: Setting, command: list[str]) -> Generator[Step]:
    yield Step(lambda: setting.pyro.run_in_vm(setting.environment, command))


@contextmanager
def _create(setting: Setting) -> Generator[Step]:
    with ExitStack() as made:

        def create() -> None:
            workspace_id = made.enter_context(setting.workspace(seeded=True))
            setting.pyro.exec_workspace(workspace_id, command=_TRUE)

        yield Step(create, made.close)


@contextmanager
def _create_checkout(setting: Setting) -> Generator[Step]:
    """Create from the checkout that this file is in, with the virtualenv that `make setup` put there."""
    with ExitStack() as made:
        checkout = Path(__file__).resolve().parents[1]
        yield Step(lambda: made.enter_context(setting.workspace(seed=checkout)), made.close)


@contextmanager
def _command(setting: Setting, command: list[str]) -> Generator[Step]:
    with setting.workspace() as workspace_id:
        yield Step(lambda: setting.pyro.exec_workspace(workspace_id, command=command, timeout_seconds=120))


@contextmanager
def _command_beside_busy_guests(setting: Setting) -> Generator[Step]:
    """Measure the 95th percentile of some commands in a quiet guest. The others rest between samples."""
    pyro = setting.pyro
    with ExitStack() as made:
        quiet, *busy = [made.enter_context(setting.workspace()) for _ in range(_BUSY_GUESTS + 1)]

        def measure() -> float:
            for workspace_id in busy:
                pyro.exec_workspace(workspace_id, command=_COMPUTE, timeout_seconds=120)
            threading.Event().wait(_COMPUTING_S)
            times: list[float] = []
            for _ in range(_BUSY_COMMANDS):
                threading.Event().wait(_REST_S)
                began = time.perf_counter()
                pyro.exec_workspace(quiet, command=_TRUE, timeout_seconds=120)
                times.append((time.perf_counter() - began) * 1000)
            for workspace_id in busy:
                pyro.exec_workspace(workspace_id, command=["rm", "-f", "/tmp/compute"], timeout_seconds=120)
            return statistics.quantiles(times, n=20)[-1]

        yield Step(measure)


@contextmanager
def _reset(setting: Setting) -> Generator[Step]:
    with setting.workspace(seeded=True) as workspace_id:

        def reset() -> None:
            setting.pyro.reset_workspace(workspace_id)
            setting.pyro.exec_workspace(workspace_id, command=_TRUE)

        yield Step(reset)


@contextmanager
def _stop(setting: Setting) -> Generator[Step]:
    pyro = setting.pyro
    with setting.workspace(seeded=True) as workspace_id:
        yield Step(lambda: pyro.stop_workspace(workspace_id), lambda: pyro.start_workspace(workspace_id))


@contextmanager
def _start(setting: Setting) -> Generator[Step]:
    pyro = setting.pyro
    with setting.workspace(seeded=True) as workspace_id:
        pyro.stop_workspace(workspace_id)
        yield Step(lambda: pyro.start_workspace(workspace_id), lambda: pyro.stop_workspace(workspace_id))


@contextmanager
def _write(setting: Setting) -> Generator[Step]:
    with setting.workspace() as workspace_id:
        yield Step(lambda: setting.pyro.write_workspace_file(workspace_id, "note.txt", text="a few words\n"))


@contextmanager
def _patch(setting: Setting) -> Generator[Step]:
    before, after = "a few words", "other words"
    with setting.workspace() as workspace_id:
        setting.pyro.write_workspace_file(workspace_id, "note.txt", text=f"{before}\n")

        def apply() -> None:
            nonlocal before, after
            patch = f"--- a/note.txt\n+++ b/note.txt\n@@ -1 +1 @@\n-{before}\n+{after}\n"
            setting.pyro.apply_workspace_patch(workspace_id, patch=patch)
            before, after = after, before

        yield Step(apply)


@contextmanager
def _read(setting: Setting) -> Generator[Step]:
    with setting.workspace() as workspace_id:
        setting.pyro.write_workspace_file(workspace_id, "note.txt", text="a few words\n")
        yield Step(lambda: setting.pyro.read_workspace_file(workspace_id, "note.txt"))


@contextmanager
def _diff(setting: Setting) -> Generator[Step]:
    with setting.workspace(seeded=True) as workspace_id:
        setting.pyro.exec_workspace(workspace_id, command=_CHANGE_FIFTY, timeout_seconds=60)
        yield Step(lambda: setting.pyro.diff_workspace(workspace_id))


@contextmanager
def _diff_ignored(setting: Setting) -> Generator[Step]:
    project = setting.scratch / "project"
    for number in range(2000):
        path = project / f"d{number // 100:03d}" / f"f{number:05d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"line {number}\n" * 100)
    with setting.workspace(seed=project) as workspace_id:
        setting.pyro.exec_workspace(workspace_id, command=_INSTALL, timeout_seconds=300)
        yield Step(lambda: setting.pyro.diff_workspace(workspace_id))


@contextmanager
def _push(setting: Setting) -> Generator[Step]:
    with setting.workspace() as workspace_id:
        yield Step(lambda: setting.pyro.push_workspace_sync(workspace_id, setting.seed))


@contextmanager
def _export(setting: Setting) -> Generator[Step]:
    names = (setting.scratch / f"export{number}" for number in range(1_000_000))
    with setting.workspace(seeded=True) as workspace_id:
        yield Step(lambda: setting.pyro.export_workspace(workspace_id, "/workspace", output_path=next(names)))


@contextmanager
def _snapshot(setting: Setting) -> Generator[Step]:
    pyro = setting.pyro
    with setting.workspace(seeded=True) as workspace_id:
        yield Step(lambda: pyro.create_snapshot(workspace_id, "one"), lambda: pyro.delete_snapshot(workspace_id, "one"))


@contextmanager
def _shell(setting: Setting) -> Generator[Step]:
    pyro, opened = setting.pyro, list[str]()
    with setting.workspace() as workspace_id:

        def open_shell() -> None:
            opened.append(pyro.open_shell(workspace_id).shell_id)
            seen, cursor = "", 0
            while "# " not in seen:
                read = pyro.read_shell(workspace_id, opened[-1], cursor=cursor, wait_for_idle_ms=1)
                seen, cursor = seen + read.output, read.next_cursor

        yield Step(open_shell, lambda: pyro.close_shell(workspace_id, opened.pop()))


@contextmanager
def _service(setting: Setting) -> Generator[Step]:
    pyro = setting.pyro
    readiness = {"type": "tcp", "address": "127.0.0.1:9418"}
    with setting.workspace() as workspace_id:
        yield Step(
            lambda: pyro.start_service(workspace_id, "git", command=_GIT_DAEMON, readiness=readiness),
            lambda: pyro.stop_service(workspace_id, "git"),
        )


ROWS: dict[str, tuple[str, Callable[[Setting], AbstractContextManager[Step]]]] = {
    "run-true": ("SDK: run_in_vm(true)", lambda setting: _one_shot(setting, _TRUE)),
    "run-python": (
        "SDK: run_in_vm(python3 -c pass)",
        lambda setting: _one_shot(setting, ["python3", "-c", "pass"]),
    ),
    "create": ("workspace: create from a seed → first true done", _create),
    "create-checkout": ("workspace: create from this repository's checkout, its .venv ignored", _create_checkout),
    "exec-true": ("workspace: exec of true", lambda setting: _command(setting, _TRUE)),
    "exec-true-busy": ("workspace: exec of true beside 20 busy guests, p95 of 40", _command_beside_busy_guests),
    "exec-python": ("workspace: exec of python3 -c pass", lambda setting: _command(setting, ["python3", "-c", "pass"])),
    "output": ("workspace: exec, 16 MiB of output, 8 KiB pieces", lambda setting: _command(setting, _OUTPUT)),
    "reset": ("workspace: reset → first true done", _reset),
    "stop": ("workspace: stop", _stop),
    "start": ("workspace: start", _start),
    "write": ("workspace: write a small file", _write),
    "patch": ("workspace: patch apply of one small file", _patch),
    "read": ("workspace: read a small file", _read),
    "diff": ("workspace: diff, 50 files changed", _diff),
    "diff-ignored": ("workspace: diff, 10,500 ignored files and one edit", _diff_ignored),
    "push": ("workspace: sync push of the seed", _push),
    "export": ("workspace: export of the seed", _export),
    "snapshot": ("workspace: snapshot of the seed", _snapshot),
    "shell": ("shell: open → prompt read", _shell),
    "service": ("service: start → ready over TCP (git daemon)", _service),
}


def _answer(setting: Setting, row: str, stack: ExitStack, steps: dict[str, Step]) -> float:
    """Take one sample of the row, in milliseconds; the first call prepares it."""
    if row not in steps:
        steps[row] = stack.enter_context(ROWS[row][1](setting))
    step = steps[row]
    threading.Event().wait(_REST_S)
    began = time.perf_counter()
    measured = step.timed()
    took_ms = measured if isinstance(measured, float) else (time.perf_counter() - began) * 1000
    if step.after is not None:
        step.after()
    return took_ms


def interrupt_on_signals() -> None:
    """Clean up on SIGTERM too, and on a SIGINT that a background job inherited as ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def main() -> None:
    """Answer requests until stdin ends."""
    environment, seed, scratch = sys.argv[1:]
    interrupt_on_signals()
    # Keep anything printed to stdout out of the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with Pyro() as pyro, ExitStack() as stack:
        setting = Setting(pyro, environment, Path(seed), Path(scratch))
        steps: dict[str, Step] = {}
        for line in sys.stdin:
            answer: dict[str, object]
            try:
                if (row := json.loads(line)["row"]) is None:
                    steps.clear()
                    stack.close()
                    answer = {}
                else:
                    answer = {"ms": _answer(setting, row, stack, steps)}
            except Exception as error:  # noqa: BLE001 - reported as the answer
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
