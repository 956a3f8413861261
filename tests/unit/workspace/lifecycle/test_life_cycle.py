"""Any order of verbs and accidents leaves workspaces in the states that a model of their life says."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.paths import Paths
from pyro_mcp.model.ids import new_workspace_id
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.commands.logs import logs_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.expire import expire
from pyro_mcp.workspace.lifecycle.lookup import list_workspaces
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.snapshots import create_snapshot, delete_snapshot, list_snapshots
from pyro_mcp.workspace.lifecycle.start import start_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import GuestCommand
from tests.support.fake_driver import FakeDrivers
from tests.support.host_fixture import HostFixture
from tests.support.thorough import examples
from tests.support.tiny_images import install_tiny_images

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

STARTED, STOPPED = WorkspaceState.STARTED, WorkspaceState.STOPPED
MAX_WORKSPACES = 2
WHICH = st.integers(0, MAX_WORKSPACES)


@dataclass
class Expected:
    """What a workspace must be."""

    state: WorkspaceState
    resets: int = 0
    commands: int = 0
    snapshots: list[str] = field(default_factory=list[str])


class Lives(RuleBasedStateMachine):
    """Workspaces, and the model of them."""

    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        root = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        # One cache for all examples, so that its templates are made once.
        cache = Path(tempfile.gettempdir()) / "ws-lives-cache"
        paths = Paths(cache, root / "state", root / "run")
        if not cache.exists():
            install_tiny_images(paths)
        self.yard = HostFixture(paths, FakeDrivers())
        self.model: dict[str, Expected] = {}
        self.gone: list[str] = []

    def teardown(self) -> None:
        self.yard.close()
        assert self.yard.processes() == []
        self._resources.close()

    def pick(self, which: int) -> str:
        """Return one of the workspaces, gone ones included, or one that never was."""
        ids = [*self.model, *self.gone[-1:], new_workspace_id()]
        return ids[which % len(ids)]

    def expect(self, workspace_id: str, verb: Callable[[], object], error: ErrorCode | None = None) -> Expected | None:
        """Do it; return what the workspace was before, or None if there is none or the verb must fail."""
        before = self.model.get(workspace_id)
        error = error if before is not None else ErrorCode.NOT_FOUND
        if error is None:
            verb()
            return before
        with pytest.raises(PyroError) as caught:
            verb()
        assert caught.value.code is error
        return None

    @rule()
    def create(self) -> None:
        if len(self.model) < MAX_WORKSPACES:
            self.model[self.yard.workspace().id] = Expected(STARTED)

    @rule(which=WHICH)
    def start(self, which: int) -> None:
        workspace_id = self.pick(which)
        if known := self.expect(workspace_id, lambda: start_workspace(self.yard.engine, workspace_id)):
            known.state = STARTED

    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        workspace_id = self.pick(which)
        if known := self.expect(workspace_id, lambda: stop_workspace(self.yard.engine, workspace_id)):
            known.state = STOPPED

    @rule(which=WHICH)
    def execute(self, which: int) -> None:
        workspace_id = self.pick(which)

        def verb() -> None:
            # What a life has seen is there until the next one begins.
            before = self.model[workspace_id].commands if workspace_id in self.model else 0
            done = exec_workspace(self.yard.engine, workspace_id, GuestCommand("echo >> seen; wc -l < seen"))
            assert int(done.stdout) == before + 1

        if known := self.expect(workspace_id, verb):
            known.state, known.commands = STARTED, known.commands + 1

    @rule(which=WHICH)
    def reset(self, which: int) -> None:
        workspace_id = self.pick(which)
        if known := self.expect(workspace_id, lambda: reset_workspace(self.yard.engine, workspace_id)):
            known.state, known.commands, known.resets = STARTED, 0, known.resets + 1

    @rule(which=WHICH, name=st.sampled_from(["one", "two"]))
    def take_snapshot(self, which: int, name: str) -> None:
        workspace_id = self.pick(which)
        known = self.model.get(workspace_id)
        taken = ErrorCode.CONFLICT if known is not None and name in known.snapshots else None
        if known := self.expect(workspace_id, lambda: create_snapshot(self.yard.engine, workspace_id, name), taken):
            known.snapshots.append(name)

    @rule(which=WHICH, name=st.sampled_from(["one", "two"]))
    def drop_snapshot(self, which: int, name: str) -> None:
        workspace_id = self.pick(which)
        known = self.model.get(workspace_id)
        missing = ErrorCode.NOT_FOUND if known is not None and name not in known.snapshots else None
        if known := self.expect(workspace_id, lambda: delete_snapshot(self.yard.engine, workspace_id, name), missing):
            known.snapshots.remove(name)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        workspace_id = self.pick(which)
        if self.expect(workspace_id, lambda: delete_workspace(self.yard.engine, workspace_id)):
            del self.model[workspace_id]
            self.gone.append(workspace_id)

    @rule(which=WHICH)
    def lose_the_machine(self, which: int) -> None:
        known = self.model.get(workspace_id := self.pick(which))
        if known is not None and known.state is STARTED:
            vm_id = self.yard.engine.store.workspaces.get(workspace_id).vm_id
            machine = self.yard.engine.store.vms.get(vm_id).machine
            assert machine is not None
            process.kill(machine.vmm_pid, machine.vmm_start_time)
            known.state = STOPPED

    @rule(which=WHICH)
    def let_time_run_out(self, which: int) -> None:
        known = self.model.get(workspace_id := self.pick(which))
        if known is not None and known.state is STARTED:
            workspace = self.yard.engine.store.workspaces.get(workspace_id)
            machine = self.yard.engine.store.vms.get(workspace.vm_id).machine
            assert machine is not None
            # This is what the watcher does, which would end by itself then.
            process.kill(*machine.remover, tree=True)
            self.yard.engine.store.workspaces.update(workspace_id, lambda now: replace(now, deadline_boottime_s=1.0))
            assert expire(self.yard.engine, workspace_id, workspace.vm_id) == 0
            known.state = STOPPED

    @rule()
    def lose_the_database(self) -> None:
        self.yard.engine.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.yard.paths.database}{suffix}").unlink(missing_ok=True)

    @rule()
    def be_another_process(self) -> None:
        self.yard.engine.close()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        found = {each.id: each for each in list_workspaces(self.yard.engine)}
        assert {key: (each.state, each.reset_count) for key, each in found.items()} == {
            key: (each.state, each.resets) for key, each in self.model.items()
        }
        vms, _ = self.yard.engine.store.vms.all()
        assert {vm.id for vm in vms} == {each.vm_id for each in found.values() if each.state is STARTED}
        for key, each in self.model.items():
            names = [snapshot.name for snapshot in list_snapshots(self.yard.engine, key)]
            assert sorted(names) == sorted(["baseline", *each.snapshots])
            # With the database the journal is lost, and nothing else.
            assert len(logs_workspace(self.yard.engine, key)) <= each.commands
        for place, expected in (
            (self.yard.paths.workspaces, set(found)),
            (self.yard.paths.vms, {vm.id for vm in vms}),
            (self.yard.paths.runtime_vms, {vm.id for vm in vms}),
        ):
            assert set(os.listdir(place) if place.exists() else ()) == expected


@pytest.fixture(autouse=True)
def no_cache_left() -> object:
    yield
    remove_tree(Path(tempfile.gettempdir()) / "ws-lives-cache")


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=int(os.environ.get("PYRO_TEST_EXAMPLES", examples(25))),
    stateful_step_count=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
