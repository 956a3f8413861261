"""Host compat: the agent that runs in guests, as a plain process under the same keeper.

Templates, networks and drives need a guest, and are refused.
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
#: The private directory in the machine's state directory that stands for the guest.
ROOT = "host-root"

# Says the pid that the agent will have, and becomes it.
_SAY_PID = 'printf \'{"child-pid": %d}\' "$$" >"/proc/self/fd/$0"; exec "$@"'


class CompatMachine(KeptMachine):
    """A running, or ended, agent on this host."""

    # Processes that a command left running have no namespace that ends with the agent.
    has_tree = True


class CompatDriver:
    """Runs the agent on this host."""

    kind = VmmKind.HOST
    features = Features(templates=False, network=False, drives=False)

    def probe(self) -> DriverProbe:
        """Say what there always is: Python itself."""
        return DriverProbe(
            self.kind,
            found=True,
            path=sys.executable,
            version=platform.python_version(),
            accelerators=(Accelerator.NONE,),
        )

    def identity(self) -> VmmIdentity:
        """Return which Python runs the agent."""
        return VmmIdentity(sys.executable, platform.python_version(), "")

    def boot(self, plan: BootPlan) -> Machine:
        """Start the agent. Kernel, initramfs and memory file have no meaning here."""
        spec = plan.spec
        if spec.drives or spec.network_fd is not None:
            raise _needs_a_guest("drives and no network")
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
        """Refuse: there is no machine whose state could be saved. The agent is ended."""
        del directory
        machine.kill()
        raise _needs_a_guest("templates")

    def restore(self, plan: RestorePlan) -> Machine:
        """Refuse: there is no machine to be restored."""
        del plan
        raise _needs_a_guest("templates")

    def attach(self, record: MachineRecord) -> Machine:
        """Take up an agent by its record."""
        return CompatMachine(record)


def _prepare(spec: MachineSpec, info_fd: int, inherited: ExitStack) -> Command:
    root = spec.state_dir / ROOT if spec.host_tree is None else spec.host_tree.workspace
    with os_errors(f"make the directories of {spec.vm_id}"):
        os.makedirs(root, 0o700, exist_ok=True)
        (listener,) = listen_lanes(spec.runtime_dir, 1)
        inherited.enter_context(listener)
        listener.listen(LANES)
        # One listening socket takes all connections, under the names that lanes have.
        for lane in range(1, LANES):
            os.symlink(lane_path(spec.runtime_dir, 0).name, lane_path(spec.runtime_dir, lane))
    agent = [
        # Of this very package, so that host and agent are of one version.
        *own_python("pyro_mcp.guest.main:serve_host"),
        *("--listen-fd", str(listener.fileno()), "--root", os.fspath(root)),
        *(() if spec.host_tree is None else ("--baseline", os.fspath(spec.host_tree.baseline))),
    ]
    # timeout(1) is the parent: if it is killed, the agent must not go on without its bound.
    bound = [os.fspath(programs.find_program("setpriv")), "--pdeathsig", "KILL", "--"]
    return Command([*bound, "/bin/sh", "-c", _SAY_PID, str(info_fd), *agent], [listener.fileno()])


def _needs_a_guest(what: str) -> PyroError:
    return PyroError(
        ErrorCode.UNSUPPORTED,
        f"host compat has no {what}: that needs a guest",
        hint="Leave out `--allow-host-compat`; `pyro doctor` says what a guest needs.",
    )
