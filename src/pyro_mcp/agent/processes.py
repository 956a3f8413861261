"""List the processes of a guest, as claimed by its agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pyro_mcp.agent.answers import number, text
from pyro_mcp.agent.messages import TaskRequest, breach
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document

TIMEOUT_S = 15.0
MAX_PROCESSES = 500
_MAX_COMMAND_CHARS = 500


@dataclass(frozen=True, slots=True)
class GuestProcess:
    """One process. Pids are those in the workload's namespace; a `parent` of 0 is outside it."""

    pid: int
    parent: int
    uid: int
    state: str
    cpu_ms: int
    memory_kib: int
    age_ms: int
    command: str


def list_processes(session: AgentSession) -> tuple[GuestProcess, ...]:
    """List at most MAX_PROCESSES processes of a guest, sorted by CPU time used, descending.

    Raises:
        PyroError: UNSUPPORTED without a VM, or with an older agent; TIMEOUT, GUEST_LOST, PROTOCOL.
    """
    request = TaskRequest(
        tasks.PROCESSES, "list its processes", TIMEOUT_S, {"area": tasks.WORKSPACE, "most": MAX_PROCESSES}
    )
    found = session.task(request).get("processes")
    if not isinstance(found, list) or len(cast("list[object]", found)) > MAX_PROCESSES:
        raise breach("an invalid list of processes")
    return tuple(_process(each) for each in cast("list[object]", found))


def _process(value: object) -> GuestProcess:
    if not isinstance(value, dict):
        raise breach("an invalid process")
    document = cast("Document", value)
    pid, parent, uid, cpu_ms, memory_kib, age_ms = (
        number(document, name) for name in ("pid", "parent", "uid", "cpu_ms", "memory_kib", "age_ms")
    )
    state, command = text(document, "state"), text(document, "command", most=_MAX_COMMAND_CHARS)
    return GuestProcess(pid, parent, uid, state, cpu_ms, memory_kib, age_ms, command)
