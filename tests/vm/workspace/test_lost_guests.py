"""A VMM is killed some time after a call that wrote: what the call returned for is there, whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Event

import pytest

from pyro_mcp import Pyro
from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from pyro_mcp.workspace.engine import Engine
from tests.support.thorough import is_thorough

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

ENVIRONMENT = "debian:12"
# The guest writes back what is dirty, and commits its journal, within these.
MOMENTS_S = range(16) if is_thorough() else (0, 2, 6)
LINES = 2000
OLD, NEW = (f"an {word} line of the file\n" * LINES for word in ("old", "new"))
NAMES = ("written", "patched", "pushed", "synced")
_MINUS, _PLUS = (text.replace("an ", f"{sign}an ") for sign, text in (("-", OLD), ("+", NEW)))
PATCH = f"--- a/patched\n+++ b/patched\n@@ -1,{LINES} +1,{LINES} @@\n{_MINUS}{_PLUS}"
EXPECTED = "".join(f"{sha256(NEW.encode()).hexdigest()}  {name}\n" for name in NAMES)


class Loser:
    """A user whose VMMs are killed."""

    def __init__(self, home: Path) -> None:
        paths = Paths(cache=Paths.from_environment().cache, state=home / "state", runtime=home / "run")
        self.user, self._engine = Pyro(paths=paths), Engine(paths)
        self.seed, self._source = home / "seed", home / "source"
        for directory, names, text in ((self.seed, NAMES, OLD), (self._source, ("pushed",), NEW)):
            directory.mkdir()
            for name in names:
                (directory / name).write_text(text)

    def close(self) -> None:
        """Delete what was made."""
        for each in self.user.list_workspaces().workspaces:
            self.user.delete_workspace(each.workspace_id)
        self._engine.close()
        self.user.close()

    def lose(self, ident: str, *, after_s: float) -> None:
        """Kill the VMM of a workspace some time from now."""
        workspace = self._engine.store.workspaces.find(ident)
        assert workspace is not None
        machine = self._engine.store.vms.get(workspace.vm_id).machine
        assert machine is not None
        Event().wait(after_s)
        process.kill(machine.vmm_pid, machine.vmm_start_time)

    def write_in_every_way(self, ident: str) -> None:
        """Write the new content with each call that writes, and make a snapshot of it."""
        self.user.write_workspace_file(ident, "written", text=NEW)
        self.user.apply_workspace_patch(ident, patch=PATCH)
        self.user.push_workspace_sync(ident, self._source)
        assert self.user.exec_workspace(ident, command="cp written synced && sync synced").exit_code == 0
        self.user.create_snapshot(ident, "new")

    def digests(self, ident: str) -> str:
        """Return what its files hold. The next guest is started for that."""
        return str(self.user.exec_workspace(ident, command=["sha256sum", *NAMES], timeout_seconds=60).stdout)

    def life(self, after_s: float) -> tuple[str, str]:
        """Return what is there after the loss of a guest that had written, and after that of one that was reset."""
        ident = self.user.create_workspace(ENVIRONMENT, seed_path=self.seed).workspace_id
        self.write_in_every_way(ident)
        self.lose(ident, after_s=after_s)
        written = self.digests(ident)
        self.user.exec_workspace(ident, command="rm written patched; echo other > pushed")
        self.user.reset_workspace(ident, snapshot="new")
        self.lose(ident, after_s=after_s)
        return written, self.digests(ident)


def test_what_each_call_wrote_is_there_whole_whenever_the_vmm_is_killed_afterwards(tmp_path: Path) -> None:
    loser = Loser(tmp_path)
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            for moment_s, found in zip(MOMENTS_S, pool.map(loser.life, MOMENTS_S), strict=True):
                assert found == (EXPECTED, EXPECTED), f"killed after {moment_s} s"
    finally:
        loser.close()
