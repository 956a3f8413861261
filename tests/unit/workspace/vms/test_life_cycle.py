"""Any order of verbs and accidents leaves VMs in the states that a model of their life says."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
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
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.states import VmState
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms, status_vm
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.fake_driver import FakeDrivers
from tests.support.host_fixture import HostFixture
from tests.support.thorough import examples
from tests.support.tiny_images import install_tiny_images

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MAX_VMS = 3
WHICH = st.integers(0, MAX_VMS)


class Lives(RuleBasedStateMachine):
    """VMs, and the model: the state in which each must be, or that it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        root = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        # One cache for all examples, so that its template is made once.
        cache = Path(tempfile.gettempdir()) / "lives-cache"
        paths = Paths(cache, root / "state", root / "run")
        if not cache.exists():
            install_tiny_images(paths)
        self.yard = HostFixture(paths, FakeDrivers())
        self.model: dict[str, VmState | None] = {}

    def teardown(self) -> None:
        self.yard.close()
        assert self.yard.processes() == []
        self._resources.close()

    def pick(self, which: int) -> str:
        """Return one of the VMs, gone ones included, or one that never was."""
        ids = [*self.model, new_vm_id()]
        return ids[which % len(ids)]

    def state(self, vm_id: str) -> VmState | None:
        return self.model.get(vm_id)

    def expect(self, vm_id: str, verb: Callable[[], object], after: VmState | None, error: ErrorCode | None) -> None:
        if self.state(vm_id) is None:
            error, after = ErrorCode.NOT_FOUND, None
        if error is None:
            verb()
        else:
            with pytest.raises(PyroError) as caught:
                verb()
            assert caught.value.code is error
        if vm_id in self.model:
            self.model[vm_id] = after

    @rule()
    def create(self) -> None:
        if sum(state is not None for state in self.model.values()) < MAX_VMS:
            self.model[self.yard.create().id] = VmState.CREATED

    @rule(which=WHICH)
    def start(self, which: int) -> None:
        vm_id = self.pick(which)
        self.expect(vm_id, lambda: start_vm(self.yard.engine, vm_id), VmState.STARTED, None)

    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        vm_id = self.pick(which)
        before = self.state(vm_id)
        after = VmState.STOPPED if before is VmState.STARTED else before
        self.expect(vm_id, lambda: stop_vm(self.yard.engine, vm_id), after, None)

    @rule(which=WHICH)
    def execute(self, which: int) -> None:
        vm_id = self.pick(which)
        before = self.state(vm_id)
        runs = before is VmState.STARTED

        def verb() -> None:
            vm = status_vm(self.yard.engine, vm_id)
            assert self.yard.exec(vm, "echo hello").stdout == "hello\n"

        self.expect(vm_id, verb, None if runs else before, None if runs else ErrorCode.CONFLICT)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        vm_id = self.pick(which)
        self.expect(vm_id, lambda: delete_vm(self.yard.engine, vm_id), None, None)

    @rule(which=WHICH)
    def lose_the_machine(self, which: int) -> None:
        vm_id = self.pick(which)
        if self.state(vm_id) is VmState.STARTED:
            machine = self.yard.engine.store.vms.get(vm_id).machine
            assert machine is not None
            process.kill(machine.vmm_pid, machine.vmm_start_time)
            self.model[vm_id] = VmState.STOPPED

    @rule(which=WHICH)
    def let_time_run_out(self, which: int) -> None:
        vm_id = self.pick(which)
        if self.state(vm_id) is not None:
            self.yard.engine.store.vms.update(
                vm_id, lambda now: replace(now, lease=replace(now.lease, expires_boottime_s=0.0))
            )
            self.model[vm_id] = None

    @rule()
    def lose_the_database(self) -> None:
        self.yard.engine.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.yard.paths.database}{suffix}").unlink(missing_ok=True)
        for vm_id, state in self.model.items():
            # What never ran is in the database alone.
            if state is VmState.CREATED:
                self.model[vm_id] = None

    @rule()
    def be_another_process(self) -> None:
        self.yard.engine.close()

    @invariant()
    def the_states_are_those_of_the_model(self) -> None:
        found = {vm.id: vm.state for vm in list_vms(self.yard.engine)}
        assert found == {vm_id: state for vm_id, state in self.model.items() if state is not None}
        # Only what runs or ran has files, and only what runs has sockets.
        for vm_id, state in self.model.items():
            has_files = (self.yard.paths.vms / vm_id).exists()
            assert has_files is (state in {VmState.STARTED, VmState.STOPPED})
            assert (self.yard.paths.runtime_vms / vm_id).exists() is (state is VmState.STARTED)


@pytest.fixture(autouse=True)
def no_cache_left() -> object:
    yield
    remove_tree(Path(tempfile.gettempdir()) / "lives-cache")


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=int(os.environ.get("PYRO_TEST_EXAMPLES", examples(60))),
    stateful_step_count=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
