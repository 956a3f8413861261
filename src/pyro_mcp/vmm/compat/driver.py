"""Host compat: run the guest agent as a plain process, under the same keeper as a VMM.

Templates, networks and drives require a VM and are not supported.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import ExitStack
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import programs
from pyro_mcp.host.process.own_python import own_python
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.driver import LANES, BootPlan, DriverProbe, Features, Machine, MachineSpec, RestorePlan
from pyro_mcp.vmm.machine import KeptMachine
from pyro_mcp.vmm.start import Command, started
from pyro_mcp.vmm.template import VmmIdentity
from pyro_mcp.vmm.transport import lane_path, listen_lanes

START_TIMEOUT_S = 30.0
#: The private directory, in the machine's state directory, that replaces the guest's disks.
ROOT = "host-root"

# Reports the pid, then executes the agent under it.
_REPORT_PID = 'printf \'{"child-pid": %d}\' "$$" >"/proc/self/fd/$0"; exec "$@"'


class CompatMachine(KeptMachine):
    """An agent on this host, running or ended."""

    # Without a PID namespace, processes that a command left running don't end with the agent.
    has_tree = True


class CompatDriver:
    """Runs the agent on this host."""

    kind = VmmKind.HOST
    features = Features(templates=False, network=False, drives=False)

    def probe(self) -> DriverProbe:
        """Return the Python interpreter, which is always available."""
        return DriverProbe(
            self.kind,
            found=True,
            path=sys.executable,
            version=platform.python_version(),
            accelerators=(Accelerator.NONE,),
        )

    def identity(self) -> VmmIdentity:
        """Return the identity of the Python interpreter."""
        return VmmIdentity(sys.executable, platform.python_version(), "")

    def boot(self, plan: BootPlan) -> Machine:
        """Start the agent. Kernel, initramfs and memory file are ignored."""
        spec = plan.spec
        if spec.drives or spec.network_fd is not None:
            raise _unsupported("drives or networks")
        with started(
            spec,
            CompatMachine,
            lambda info_fd, inherited: _prepare(spec, info_fd, inherited),
            kind=self.kind,
            accelerator=Accelerator.NONE,
            facts={},
            deadline=Deadline(START_TIMEOUT_S, "the agent to start"),
        ) as machine:
            return machine

    def save(self, machine: Machine, directory: Path) -> None:
        """Refuse: there is no VM whose state could be saved. The agent is killed."""
        del directory
        machine.kill()
        raise _unsupported("templates")

    def restore(self, plan: RestorePlan) -> Machine:
        """Refuse: there is no VM to restore."""
        del plan
        raise _unsupported("templates")

    def attach(self, record: MachineRecord) -> Machine:
        """Attach to an agent by its record."""
        return CompatMachine(record)


def _prepare(spec: MachineSpec, info_fd: int, inherited: ExitStack) -> Command:
    root = spec.state_dir / ROOT if spec.host_tree is None else spec.host_tree.workspace
    with os_errors(f"create the directories of {spec.vm_id}"):
        os.makedirs(root, 0o700, exist_ok=True)
        (listener,) = listen_lanes(spec.runtime_dir, 1)
        inherited.enter_context(listener)
        listener.listen(LANES)
        # A single socket accepts all connections, under the names of all lanes.
        for lane in range(1, LANES):
            os.symlink(lane_path(spec.runtime_dir, 0).name, lane_path(spec.runtime_dir, lane))
    agent = [
        # From this package, so that host and agent have the same version.
        *own_python("pyro_mcp.guest.main:serve_host"),
        *("--listen-fd", str(listener.fileno()), "--root", os.fspath(root)),
        *(() if spec.host_tree is None else ("--baseline", os.fspath(spec.host_tree.baseline))),
    ]
    # timeout(1) is the parent: if it is killed, the agent must not outlive its time limit.
    bound = [os.fspath(programs.find_program("setpriv")), "--pdeathsig", "KILL", "--"]
    return Command([*bound, "/bin/sh", "-c", _REPORT_PID, str(info_fd), *agent], [listener.fileno()])


def _unsupported(what: str) -> PyroError:
    return PyroError(
        ErrorCode.UNSUPPORTED,
        f"host compat does not support {what}: they require a VM",
        hint="Omit `--allow-host-compat`; `pyro doctor` shows what a VM requires.",
    )
