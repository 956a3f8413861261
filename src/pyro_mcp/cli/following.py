"""`logs -f`: go on showing what is written, until it ends or Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.failures import INTERRUPTED
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import put_alone
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.validation import check_request

if TYPE_CHECKING:
    from pyro_mcp.cli.parsing import Parsed
    from pyro_mcp.operations.operation import Operation

_LOOK_S = 0.5
_FOREVER_S = 365 * 86_400.0


def follow(operation: Operation[Any, Any], parsed: Parsed) -> int:
    """Show a log and all that comes to it; return the exit status.

    Raises:
        UsageError: with --json, which is one document.
    """
    if parsed.json:
        raise UsageError("-f can't be combined with --json", hint="Leave out one of them.")
    try:
        with interruptible():
            return _follow_service(parsed.request) if operation.name == "service_logs" else _follow_commands(parsed)
    except KeyboardInterrupt:
        return INTERRUPTED


def _follow_service(request: Any) -> int:  # noqa: ANN401 - its row says what it is
    from pyro_mcp.workspace.services.follow import follow_service

    check_request(request)
    tail_lines = None if request.all else request.tail_lines

    def show(text: str) -> None:
        if text:
            put_alone(text, ends_line=False)

    with engine(Runner().call()) as using:
        follow_service(using, request.workspace_id, request.service_name, show, tail_lines=tail_lines)
    return 0


def _follow_commands(parsed: Parsed) -> int:
    """Show each command of a workspace when it has ended."""
    from pyro_mcp.cli.output.workspaces import show_commands
    from pyro_mcp.operations.workspaces.commands import WORKSPACE_LOGS

    if parsed.request.sequence is not None:
        raise UsageError("-f can't be combined with --sequence", hint="Leave out one of them.")
    shown: set[int] = set()

    def look() -> None:
        found = Runner().run(WORKSPACE_LOGS, parsed.request)
        ended = [each for each in found.entries if each.exit_code is not None or each.error]
        show_commands(found.workspace_id, [each for each in ended if each.sequence not in shown])
        shown.update(each.sequence for each in ended)

    wait_until(look, timeout_s=_FOREVER_S, what="commands", interval_s=_LOOK_S)
    return 0
