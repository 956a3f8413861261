"""A driver that boots nothing: each machine is the agent as a plain process, under the real keeper.

It replaces a VMM that would take seconds to boot. Processes, sockets, files and templates are real, so tests can kill,
stop and leak them.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import programs
from pyro_mcp.host.durable import fsync_dir
from pyro_mcp.host.files import open_regular
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.vmm.driver import LANES, DriverProbe, Features
from pyro_mcp.vmm.machine import KeptMachine
from pyro_mcp.vmm.qemu.driver import create_memory, save_memory
from pyro_mcp.vmm.selection import Selection
from pyro_mcp.vmm.start import Command, started
from pyro_mcp.vmm.template import DEVICE_STATE, RAM, VmmIdentity
from pyro_mcp.vmm.transport import lane_path, listen_lanes

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import ExitStack
    from pathlib import Path

    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.vmm.driver import BootPlan, Machine, MachineSpec, RestorePlan

START_TIMEOUT_S = 30.0
_SAY_PID = 'printf \'{"child-pid": %d}\' $$ >/proc/self/fd/"$0"; exec "$@"'
_RAM_BYTES = 64 * 1024


@dataclass
class FakeDriver:
    """Runs agents, and records its calls in `calls`."""

    kind: VmmKind = VmmKind.QEMU
    features: Features = field(default_factory=lambda: Features(templates=True, network=False, drives=True))
    version: str = "1"
    calls: list[str] = field(default_factory=list[str])
    #: What a call raises, and how often it does.
    refusals: dict[str, PyroError] = field(default_factory=dict[str, PyroError])
    refusals_left: int = 1000

    def probe(self) -> DriverProbe:
        return DriverProbe(self.kind, found=True, version=self.version, accelerators=(Accelerator.TCG,))

    def identity(self) -> VmmIdentity:
        return VmmIdentity("/nowhere/fake", self.version, "fingerprint")

    def boot(self, plan: BootPlan) -> Machine:
        self._note("boot")
        facts: dict[str, object] = {} if plan.ram_file is None else {"ram_file": os.fspath(plan.ram_file)}
        return self._start(plan.spec, plan.accelerator, facts)

    def save(self, machine: Machine, directory: Path) -> None:
        self._note("save")
        machine.kill()
        (directory / DEVICE_STATE).write_bytes(b"state of the devices")
        memory_fd = create_memory(_RAM_BYTES)
        try:
            save_memory(memory_fd, directory / RAM)
        finally:
            os.close(memory_fd)
        fsync_dir(directory)

    def restore(self, plan: RestorePlan) -> Machine:
        if self._refuses("restore"):
            # As a VMM that fails does it: its keeper removes what was to go with it.
            self._start(plan.spec, plan.accelerator, {}).kill()
        self._note("restore")
        for name in (RAM, DEVICE_STATE):
            os.close(plan.template.open(name))
        return self._start(plan.spec, plan.accelerator, {})

    def attach(self, record: MachineRecord) -> Machine:
        return KeptMachine(record)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self._refuses(call):
            self.refusals_left -= 1
            raise self.refusals[call]

    def _refuses(self, call: str) -> bool:
        return call in self.refusals and self.refusals_left > 0

    def _start(self, spec: MachineSpec, accelerator: Accelerator, facts: dict[str, object]) -> Machine:
        with _started(self.kind, spec, accelerator, facts) as machine:
            return machine


@contextmanager
def _started(
    kind: VmmKind, spec: MachineSpec, accelerator: Accelerator, facts: dict[str, object]
) -> Generator[KeptMachine]:
    def prepare(info_fd: int, inherited: ExitStack) -> Command:
        for drive in spec.drives:
            os.close(open_regular(drive.path, "the disk", writable=not drive.read_only))
        (listener,) = listen_lanes(spec.runtime_dir, 1)
        inherited.enter_context(listener)
        listener.listen(LANES)
        for lane in range(1, LANES):
            lane_path(spec.runtime_dir, lane).symlink_to(lane_path(spec.runtime_dir, 0).name)
        root = _root(spec)
        root.mkdir(exist_ok=True)
        agent = [sys.executable, "-m", "pyro_mcp.guest", "--listen-fd", str(listener.fileno()), "--root", str(root)]
        # timeout(1) is the parent, and what it starts must not outlive it.
        bound = [os.fspath(programs.find_program("setpriv")), "--pdeathsig", "KILL", "--"]
        return Command([*bound, "/bin/sh", "-c", _SAY_PID, str(info_fd), *agent], [listener.fileno()])

    with started(
        spec,
        KeptMachine,
        prepare,
        kind=kind,
        accelerator=accelerator,
        facts=facts,
        explain=_nothing_known,
        deadline=Deadline(START_TIMEOUT_S, "the agent to start"),
    ) as machine:
        yield machine


def _root(spec: MachineSpec) -> Path:
    """Return the directory that replaces `/workspace`: beside the disk that would hold it, so that it lasts as long."""
    for drive in spec.drives:
        if drive.path.name == "workspace.img" and drive.path.parent.parent.name == "lives":
            return drive.path.with_name("home")
    return spec.state_dir / "home"


def _nothing_known(_words: str) -> None:
    return None


@dataclass
class FakeDrivers:
    """A source of drivers with one for guests and one for the host; `no_guest` says why there is none."""

    fake: FakeDriver = field(default_factory=FakeDriver)
    compat: FakeDriver = field(
        default_factory=lambda: FakeDriver(VmmKind.HOST, Features(templates=False, network=False, drives=False))
    )
    no_guest: PyroError | None = None
    accelerator: Accelerator = Accelerator.TCG

    def guest(self, *, require_kvm: bool) -> Selection:
        if self.no_guest is not None:
            raise self.no_guest
        if require_kvm and self.accelerator is not Accelerator.KVM:
            raise PyroError(ErrorCode.UNAVAILABLE, "KVM is required and not usable here", hint="Run pyro doctor.")
        return Selection(self.fake, self.accelerator)

    def host(self) -> FakeDriver:
        return self.compat

    def of(self, kind: VmmKind) -> FakeDriver:
        return self.compat if kind is VmmKind.HOST else self.fake
