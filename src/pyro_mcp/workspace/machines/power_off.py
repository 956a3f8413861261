"""Power a machine off: ask its guest, then kill the VMM. It never keeps running."""

from __future__ import annotations

from pathlib import Path

from pyro_mcp.agent import AgentSession
from pyro_mcp.errors import PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.state.unclean import Flush, note_flush
from pyro_mcp.vmm.paused import is_stuck
from pyro_mcp.vmm.transport import LaneTransport
from pyro_mcp.workspace.engine import Engine

_CONNECT_TIMEOUT_S = 2.0
_READY_TIMEOUT_S = 5.0
POWEROFF_TIMEOUT_S = 10.0


def power_off(engine: Engine, record: MachineRecord, *, timeout_s: float = POWEROFF_TIMEOUT_S) -> bool:
    """Have the guest flush its disks and power off; kill the machine if it does not. Return whether it did.

    Raises:
        PyroError: TIMEOUT if the VMM survives SIGKILL.
    """
    machine = engine.drivers.of(record.kind).attach(record)
    try:
        if is_stuck(machine):
            # It can neither answer nor write: there is nothing to wait for.
            machine.shutdown(0.0)
            return False
        try:
            with AgentSession.open(machine.transport, timeout_s=_CONNECT_TIMEOUT_S, use=LaneUse.STOP) as session:
                # A silent agent does not get the time that flushing a full cache may take.
                session.ready(timeout_s=_READY_TIMEOUT_S)
                session.poweroff(timeout_s=timeout_s)
        except PyroError:
            # Silent, broken or already gone: escalate without it.
            machine.shutdown(0.0)
            return False
        machine.shutdown(timeout_s)
        return True
    finally:
        machine.close()


def flush(arguments: list[str]) -> None:
    """Have the guest of a runtime directory flush its disks and power off. A VM's keeper runs this.

    `arguments` are the runtime directory and the path of the note that records the progress.

    Raises:
        PyroError: GUEST_LOST, TIMEOUT and others.
    """
    runtime_dir, note = arguments
    note_flush(Path(note), Flush.BEGUN)
    transport = LaneTransport(Path(runtime_dir))
    with AgentSession.open(transport, timeout_s=_CONNECT_TIMEOUT_S, use=LaneUse.STOP) as session:
        session.poweroff(timeout_s=POWEROFF_TIMEOUT_S)
    note_flush(Path(note), Flush.DONE)
