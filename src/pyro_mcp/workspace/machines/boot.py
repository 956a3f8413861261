"""Boot a guest from its kernel, for a template or where templates are not available.

A guest is returned only after its agent has answered.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.agent import AgentSession, Flavour, GuestConfig
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.limits import CONNECT_TIMEOUT_S
from pyro_mcp.vmm.driver import BootFiles, BootPlan
from pyro_mcp.vmm.paused import is_stuck, stuck_error

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.vmm.driver import Machine, MachineSpec
    from pyro_mcp.vmm.selection import Selection
    from pyro_mcp.workspace.machines.images import Images

# A single boot takes 2 to 4 seconds; the limit is for twenty at once on a slow machine.
BOOT_TIMEOUT_S = 90.0
_CONFIGURE_TIMEOUT_S = 30.0
_LAST_WORDS_TIMEOUT_S = 2.0


def boot(
    choice: Selection,
    spec: MachineSpec,
    images: Images | None,
    flavour: Flavour | None,
    *,
    ram_file: Path | None = None,
) -> Machine:
    """Boot a machine, wait for its agent, and prepare it for the flavour (None: nothing to prepare).

    Raises:
        PyroError: UNAVAILABLE, with the end of the console log, if the guest does not come up; any error of the driver.
    """
    files = None if images is None else BootFiles(images.boot.vmlinux, images.boot.initramfs)
    with ExitStack() as stack:
        machine = choice.driver.boot(BootPlan(spec, choice.accelerator, files, ram_file))
        stack.callback(machine.kill)
        fault_point("boot.machine_started")
        try:
            with AgentSession.open(machine.transport, timeout_s=CONNECT_TIMEOUT_S) as session:
                session.ready(timeout_s=BOOT_TIMEOUT_S)
                if flavour is not None:
                    session.prepare(flavour)
        except PyroError as error:
            raise explained(error, machine, "the guest did not come up") from error
        fault_point("boot.prepared")
        stack.pop_all()
        return machine


@contextmanager
def configured(machine: Machine, config: GuestConfig, what: str) -> Generator[AgentSession]:
    """Configure a guest, and yield a session with it. Errors, those of the block too, say `what` failed.

    Raises:
        PyroError: any error of the agent client; that of a lost guest shows the end of its console log.
    """
    try:
        with AgentSession.open(machine.transport, timeout_s=CONNECT_TIMEOUT_S) as session:
            session.configure(config, timeout_s=_CONFIGURE_TIMEOUT_S)
            yield session
    except PyroError as error:
        raise explained(error, machine, what) from error


def explained(error: PyroError, machine: Machine, what: str) -> PyroError:
    """End the machine of a lost or silent guest, and add the end of its console log to the error."""
    if error.code not in {ErrorCode.GUEST_LOST, ErrorCode.TIMEOUT, ErrorCode.PROTOCOL}:
        return error
    if error.code is ErrorCode.TIMEOUT and is_stuck(machine):
        machine.kill()
        return stuck_error(f"{what}: its guest", machine)
    machine.wait_for_end(_LAST_WORDS_TIMEOUT_S if error.code is ErrorCode.GUEST_LOST else 0.0)
    machine.kill()
    tail = machine.console_tail()
    shown = f"; the end of its console log:\n{tail}" if tail else ""
    return PyroError(
        error.code, f"{what}: {error.message}{shown}", hint=error.hint, details={**error.details, "console": tail}
    )
