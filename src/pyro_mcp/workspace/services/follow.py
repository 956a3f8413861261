"""Follow a service's log while it is written."""

from __future__ import annotations

from collections.abc import Callable

from pyro_mcp.agent.services import GuestServices
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.service import Service
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.secrets.keeping import redactor_for
from pyro_mcp.workspace.services.inspect import guest_session, logs_service, status_service

_PART_BYTES = 256 * 1024
_LOOK_S = 0.5
_FOREVER_S = 365 * 86_400.0


def follow_service(
    engine: Engine, handle: str, name: str, on_text: Callable[[str], None], *, tail_lines: int | None
) -> Service:
    """Pass on a service's last lines and then its output until it ends, with secret values redacted.

    Raises:
        PyroError: NOT_FOUND; GUEST_LOST, TIMEOUT, PROTOCOL.
    """
    begun = logs_service(engine, handle, name, tail_lines=tail_lines)
    on_text(begun.text)
    workspace, _ = status_service(engine, handle, name)
    redacted: Callable[[bytes], bytes] = bytes
    if workspace.secrets:
        stream = redactor_for(engine.paths, workspace).stream()

        redacted = lambda data: stream.feed(data) + stream.settle()  # noqa: E731
    cursor, run = begun.total_bytes, ""

    def ended() -> bool:
        nonlocal cursor, run
        with guest_session(engine, workspace) as session:
            part = GuestServices(session).logs(name, cursor, count=_PART_BYTES)
        if run and part.report.run != run:
            # It was restarted, with a new log.
            cursor = 0
        else:
            cursor = part.start + len(part.data)
            on_text(redacted(part.data).decode("utf-8", "replace"))
        run = part.report.run
        return not part.report.state.is_live and cursor >= part.report.end

    wait_until(ended, timeout_s=_FOREVER_S, what=f"the service {name} to end", interval_s=_LOOK_S)
    return status_service(engine, handle, name)[1]
