"""What is there after a power cut, compared with what had been acknowledged before it.

`python -m tests.support.power.judge IMAGE PLACE POSITION SEED HAS_GUESTS JOURNAL...` runs in a mount namespace of its
own, with another boot id: it mounts the image, asks the product, and prints what is missing or wrong as JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.sdk import Pyro
from tests.support.power.load import Deed, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ABSENT = "(none)"
_EXAMINED = 2


@dataclass(frozen=True)
class World:
    """What may be found of one workspace: `contents` of its file, and the same of each snapshot.

    `last` is what the file holds for the running guest.
    """

    exists: bool = False
    name: str = ""
    contents: frozenset[str] = frozenset({ABSENT})
    snapshots: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    last: frozenset[str] = frozenset({ABSENT})

    def after(self, deed: Deed) -> World:
        """Return what may be found once `deed` was answered."""
        match deed.verb:
            case "create":
                return World(exists=True, name=deed.argument)
            case "write":
                # An exec is not on the disk when it is answered: the file may be as before, empty, or as written. Or it
                # is all zeroes: ext4 records a file's new size when it submits its data, in extents marked unwritten.
                found = self.contents | {"", "\0" * len(deed.content), deed.content}
                return replace(self, contents=found, last=frozenset({deed.content}))
            case "put":
                # A file that pyro writes is on the disk.
                return replace(self, contents=frozenset({deed.content}), last=frozenset({deed.content}))
            case "stop":
                return replace(self, contents=self.last)
            case "snapshot":
                return replace(self, snapshots={**self.snapshots, deed.argument: self.last})
            case "delete snapshot":
                return replace(self, snapshots={k: v for k, v in self.snapshots.items() if k != deed.argument})
            case "reset":
                found = self.snapshots.get(deed.argument, frozenset({ABSENT}))
                return replace(self, contents=found, last=found)
            case _:
                return World()


def worlds_at(deeds: list[Deed], position: int) -> dict[str, list[World]]:
    """Return, of each workspace, what may be found: one world, or two where a verb was under way."""
    worlds: dict[str, list[World]] = {deed.workspace: [World()] for deed in deeds}
    for deed in deeds:
        if deed.begin >= position:
            break
        before = worlds[deed.workspace][0]
        after = before.after(deed)
        is_answered = deed.end is not None and deed.end <= position
        worlds[deed.workspace] = [after] if is_answered else [before, after]
    return worlds


class _Judge:
    def __init__(self, pyro: Pyro, worlds: dict[str, list[World]], choice: random.Random) -> None:
        self._pyro = pyro
        self._worlds = worlds
        self._choice = choice
        self.faults: list[str] = []
        self.examined = 0

    def examine(self) -> None:
        listed = {each.workspace_id: each for each in self._pyro.list_workspaces().workspaces}
        for workspace in sorted(set(listed) - set(self._worlds)):
            self.faults.append(f"{workspace} is listed, and nobody created it")
        for workspace, worlds in self._worlds.items():
            found = listed.get(workspace)
            fitting = [world for world in worlds if world.exists == (found is not None)]
            if not fitting:
                what = "is gone" if found is None else f"was deleted and is back, {found.state}"
                self.faults.append(f"{workspace} {what}")
            elif found is not None and found.state != "stopped":
                self.faults.append(f"{workspace} is {found.state}")
            elif found is not None and found.name not in {world.name for world in fitting}:
                self.faults.append(f"{workspace} is called {found.name}")
            self._worlds[workspace] = fitting
        present = [each for each in listed if self._worlds.get(each)]
        for workspace in present:
            self._examine_snapshots(workspace)
        for workspace in self._choice.sample(present, min(_EXAMINED, len(present))):
            self._examine_contents(workspace)
        for workspace in listed:
            self._attempt(workspace, "delete", partial(self._pyro.delete_workspace, workspace))

    def _examine_snapshots(self, workspace: str) -> None:
        names = {each.snapshot_name for each in self._pyro.list_snapshots(workspace).snapshots} - {"baseline"}
        fitting = [world for world in self._worlds[workspace] if set(world.snapshots) == names]
        if not fitting:
            wanted = [sorted(world.snapshots) for world in self._worlds[workspace]]
            self.faults.append(f"{workspace} has the snapshots {sorted(names)}, not {wanted}")
        else:
            self._worlds[workspace] = fitting

    def _examine_contents(self, workspace: str) -> None:
        worlds = self._worlds[workspace]
        self._compare(workspace, "", {each for world in worlds for each in world.contents})
        common = sorted(name for name in worlds[0].snapshots if all(name in world.snapshots for world in worlds))
        allowed = {name: {each for world in worlds for each in world.snapshots[name]} for name in common}
        for name in [*self._choice.sample(common, min(1, len(common))), "baseline"]:
            if self._attempt(
                workspace, f"reset to {name}", partial(self._pyro.reset_workspace, workspace, snapshot=name)
            ):
                self._compare(workspace, name, allowed.get(name, {ABSENT}))

    def _compare(self, workspace: str, snapshot: str, allowed: set[str]) -> None:
        command = f"cat seed && if [ -e f ]; then cat f; else printf '{ABSENT}'; fi"
        found: list[str] = []

        def run() -> None:
            found.append(self._pyro.exec_workspace(workspace, command=command, timeout_seconds=300).stdout)

        self._attempt(workspace, f"exec after {snapshot or 'the cut'}", run)
        self.examined += len(found)
        wanted = sorted(f"seed\n{each}" for each in allowed)
        self.faults += [
            f"{workspace} {snapshot}: {text!r} is in it, not one of {wanted}" for text in found if text not in wanted
        ]

    def _attempt(self, workspace: str, what: str, verb: Callable[[], object]) -> bool:
        try:
            verb()
        except PyroError as error:
            self.faults.append(f"{workspace} {what}: {error.code.value}: {error.message}")
            return False
        return True


def main() -> None:
    """Mount the image, and print what is wrong."""
    image, place, position, seed, *journals = sys.argv[1:]
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    worlds: dict[str, list[World]] = {}
    for journal in journals:
        worlds |= worlds_at(read_journal(Path(journal)), int(position))
    state = Path(os.environ["PYRO_STATE_DIR"])
    with Pyro() as pyro:
        judge = _Judge(pyro, worlds, random.Random(int(seed)))
        judge.examine()
    aside = sorted(path.name for place in ("quarantine/*", "*.unusable-*") for path in state.glob(place))
    print(json.dumps({"faults": judge.faults, "aside": aside, "examined": judge.examined}))


if __name__ == "__main__":
    main()
