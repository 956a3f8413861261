"""`logs -f`: follow a log until it ends or Ctrl-C."""

from __future__ import annotations

from codecs import getincrementaldecoder
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyro_mcp.agent import Stream
from pyro_mcp.cli.failures import INTERRUPTED
from pyro_mcp.cli.output.workspaces import command_line, show_commands
from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import put, put_alone
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.validation import check_request
from pyro_mcp.operations.workspaces.commands import WORKSPACE_LOGS
from pyro_mcp.workspace.commands.output import output_from
from pyro_mcp.workspace.lifecycle.lookup import find_workspace

if TYPE_CHECKING:
    from pyro_mcp.cli.parsing import Parsed
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.operations.operation import Operation
    from pyro_mcp.operations.workspaces.commands import LoggedCommand
    from pyro_mcp.workspace.engine import Engine

_LOOK_S = 0.5
_FOREVER_S = 365 * 86_400.0


def follow(operation: Operation[Any, Any], parsed: Parsed) -> int:
    """Show a log and follow it; return the exit status.

    Raises:
        UsageError: with --json, which is one document.
    """
    if parsed.json:
        raise UsageError("-f can't be combined with --json", hint="Omit one of them.")
    try:
        with interruptible():
            if operation.name == "service_logs":
                return _follow_service(parsed.request)
            return (
                _follow_network(parsed.request) if operation.name.endswith("_network_log") else _follow_commands(parsed)
            )
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


def _follow_network(request: Any) -> int:  # noqa: ANN401 - its row says what it is
    from pyro_mcp.cli.output.network import show_attempts
    from pyro_mcp.operations.workspaces.network import WORKSPACE_NETWORK_LOG

    def look() -> None:
        nonlocal request
        found = Runner().run(WORKSPACE_NETWORK_LOG, request)
        show_attempts(found.entries)
        request = replace(request, since=found.offset)

    wait_until(look, timeout_s=_FOREVER_S, what="attempts to reach hosts", interval_s=_LOOK_S)
    return 0


class _Running:
    """A command that runs, and what was shown of it."""

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence
        self._begun = {stream: (0, getincrementaldecoder("utf-8")("replace")) for stream in Stream}
        self._shown = dict.fromkeys(Stream, 0)

    def show_more(self, using: Engine, workspace: Workspace) -> None:
        """Show what was written since."""
        for stream, (start, decoder) in self._begun.items():
            data = output_from(using, workspace, self._sequence, stream, start)
            self._begun[stream] = start + len(data), decoder
            self._put(stream, decoder.decode(data))

    def show_rest(self, using: Engine, workspace: Workspace, ended: LoggedCommand) -> None:
        """Show what is left of a command that has ended, and how it ended."""
        self.show_more(using, workspace)
        for stream, text, truncated in (
            (Stream.STDOUT, ended.stdout, ended.stdout_truncated),
            (Stream.STDERR, ended.stderr, ended.stderr_truncated),
        ):
            if not truncated:
                self._put(stream, text[self._shown[stream] :])
        put(command_line(ended))

    def _put(self, stream: Stream, text: str) -> None:
        self._shown[stream] += len(text)
        if text:
            put_alone(text, ends_line=False)


def _follow_commands(parsed: Parsed) -> int:
    """Show each command of a workspace, and what it writes while it runs."""
    if parsed.request.sequence is not None:
        raise UsageError("-f can't be combined with --sequence", hint="Omit one of them.")
    shown: set[int] = set()
    running: dict[int, _Running] = {}
    with engine(Runner().call()) as using:

        def look() -> None:
            found = Runner().run(WORKSPACE_LOGS, parsed.request)
            workspace = find_workspace(using, found.workspace_id)
            for each in found.entries:
                has_ended = each.exit_code is not None or bool(each.error)
                if each.sequence in shown:
                    continue
                if has_ended:
                    shown.add(each.sequence)
                if not has_ended and each.sequence not in running:
                    running[each.sequence] = _Running(each.sequence)
                    put(command_line(each))
                if each.sequence not in running:
                    show_commands(found.workspace_id, [each])
                elif has_ended:
                    running.pop(each.sequence).show_rest(using, workspace, each)
                else:
                    running[each.sequence].show_more(using, workspace)

        wait_until(look, timeout_s=_FOREVER_S, what="commands", interval_s=_LOOK_S)
    return 0
