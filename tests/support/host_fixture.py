"""The verbs in directories of a test's own, and the check that those are clean."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.agent import AgentSession, ExecRequest
from pyro_mcp.errors import PyroError
from pyro_mcp.host.process.identity import all_processes
from pyro_mcp.model.states import VmState
from pyro_mcp.state.filenames import VmFiles, WorkspaceFiles
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.lifecycle.create import create_workspace
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec
from pyro_mcp.workspace.machines.command import CommandStreams, GuestCommand
from pyro_mcp.workspace.machines.ephemeral import delete_if_there
from pyro_mcp.workspace.vms.create import VmSpec, create_vm
from pyro_mcp.workspace.vms.run import exec_vm, run_in_vm
from pyro_mcp.workspace.vms.start import start_vm
from tests.support.fake_driver import FakeDrivers
from tests.support.tiny_images import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.model.vm import Vm
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.workspace.drivers import Drivers
    from pyro_mcp.workspace.machines.command import Execution


@dataclass
class RecordedProgress:
    """Progress that records its phases."""

    phases: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def phase(self, name: str, message: str = "") -> None:
        self.phases.append((name, message))

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        pass

    @property
    def notices(self) -> list[str]:
        return [message for name, message in self.phases if name == "notice"]


class HostFixture:
    """An engine, its directories, and the check that those are clean."""

    def __init__(self, paths: Paths, drivers: Drivers | None = None, environment: str = ENVIRONMENT) -> None:
        """Open an engine; without `drivers` it boots real guests."""
        self.paths = paths
        self.said = RecordedProgress()
        self.drivers = drivers
        self.environment = environment
        self._engines = ExitStack()
        self.engine = self.another_engine()

    def another_engine(self) -> Engine:
        """Open a second engine on the same directories, as another process has one."""
        return self._engines.enter_context(Engine(self.paths, progress=self.said, drivers=self.drivers))

    def close(self) -> None:
        """Delete the recorded workspaces and VMs; the census finds anything else."""
        for workspace in self.engine.store.workspaces.all()[0]:
            with suppress(PyroError):
                delete_workspace(self.engine, workspace.id)
        for vm in self.engine.store.vms.all()[0]:
            delete_if_there(self.engine, vm.id)
        self._engines.close()

    @property
    def fakes(self) -> FakeDrivers:
        """Return the fake drivers; there must be some."""
        assert isinstance(self.drivers, FakeDrivers)
        return self.drivers

    def forget(self) -> None:
        """Forget the recorded phases and the calls of the fake drivers."""
        self.said.phases.clear()
        self.fakes.fake.calls.clear()

    def spec(self, **changes: Any) -> VmSpec:
        return VmSpec(self.environment, **changes)

    def create(self, **changes: Any) -> Vm:
        return create_vm(self.engine, self.spec(**changes))

    def started(self, **changes: Any) -> Vm:
        vm = start_vm(self.engine, self.create(**changes).id)
        assert vm.state is VmState.STARTED
        return vm

    def exec(self, vm: Vm, command: str | tuple[str, ...] = "true", timeout_s: int = 30, **streams: Any) -> Execution:
        return exec_vm(self.engine, vm.id, GuestCommand(command, timeout_s), CommandStreams(**streams))

    def run(self, command: str | tuple[str, ...] = "true", timeout_s: int = 30, **streams: Any) -> Execution:
        return run_in_vm(self.engine, self.spec(), GuestCommand(command, timeout_s), CommandStreams(**streams))

    def inside(self, vm: Vm, command: str, timeout_s: int = 30) -> str:
        """Run a command in a started VM without ending it, and return the command's stdout."""
        assert vm.machine is not None
        machine = self.engine.drivers.of(vm.machine.kind).attach(vm.machine)
        output = bytearray()
        with AgentSession.open(machine.transport, timeout_s=10) as session:
            request = ExecRequest(("/bin/sh", "-c", command), timeout_s=timeout_s, env=vm.variables)
            result = session.exec(request, on_output=lambda _, data: output.extend(data))
        assert result.exit_code == 0, output
        return output.decode()

    def workspace(self, seed: Path | None = None, **changes: Any) -> Workspace:
        """Create a workspace; it is started."""
        return create_workspace(self.engine, WorkspaceSpec(self.environment, seed=seed, **changes))

    def do(self, workspace: Workspace, command: str, timeout_s: int = 30, **streams: Any) -> str:
        """Run a command in a workspace, which must succeed, and return its stdout."""
        done = exec_workspace(self.engine, workspace.id, GuestCommand(command, timeout_s), CommandStreams(**streams))
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def disks(self, workspace: Workspace) -> WorkspaceFiles:
        return WorkspaceFiles(self.paths, workspace.id)

    def files(self, vm: Vm) -> VmFiles:
        return VmFiles(self.paths, vm.id)

    def remains(self) -> list[str]:
        """Return the rows, files and processes that any VM or workspace left."""
        vms, damaged = self.engine.store.vms.all()
        left = [f"row {vm.id} {vm.state}" for vm in vms] + [f"damaged row {vm_id}" for vm_id in damaged]
        workspaces, damaged = self.engine.store.workspaces.all()
        left += [f"row {each.id} {each.state}" for each in workspaces] + [f"damaged row {each}" for each in damaged]
        left += self.records()
        for place in (self.paths.vms, self.paths.runtime_vms, self.paths.workspaces, *self._staging()):
            if place.exists():
                left += [f"file {path}" for path in place.rglob("*")]
        return left + self.processes()

    def records(self) -> list[str]:
        """Return the rows of workspaces that do not exist."""
        queries = {
            table: f"SELECT workspace_id FROM {table} WHERE workspace_id NOT IN (SELECT id FROM workspaces)"
            for table in ("snapshots", "commands", "events")
        }
        found: list[str] = []
        for table, query in queries.items():
            rows = self.engine.store.database.read(lambda connection, query=query: connection.execute(query).fetchall())
            found += [f"row of {table} for {row['workspace_id']}" for row in rows]
        return found

    def _staging(self) -> list[Path]:
        # Of images that are shared with others, somebody else may be staging some.
        return [self.paths.tmp] if isinstance(self.drivers, FakeDrivers) else []

    def processes(self) -> list[str]:
        """Return the processes of VMs in these directories."""
        marks = {str(self.paths.vms).encode(), str(self.paths.runtime_vms).encode(), f"\0{self.paths.state}\0".encode()}
        found: list[str] = []
        for each in all_processes():
            try:
                with open(f"/proc/{each.pid}/cmdline", "rb") as file:
                    line = file.read()
            except OSError:
                continue
            if any(mark in line for mark in marks):
                found.append(f"process {each.pid} {line.replace(bytes(1), b' ').decode('utf-8', 'replace')}")
        return found
