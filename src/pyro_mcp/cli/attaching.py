"""The user's own terminal in a workspace: `pyro workspace shell attach`, `pyro workspace exec -it`.

The exit status is that of the shell or the program, or 0 if it keeps running.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli.signals import interruptible
from pyro_mcp.cli.streams import STDIN, STDOUT, say
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.model.limits import DEFAULT_TIMEOUT_S
from pyro_mcp.operations.operation import engine
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from pyro_mcp.cli.parsing import Parsed
    from pyro_mcp.workspace.shells.attach import Attached
    from pyro_mcp.workspace.shells.person import PersonTerminal

_CONTROL_BITS = 0x1F


def attach(workspace_id: str, shell_id: str | None, detach_key: str) -> int:
    """Attach this process's terminal to a shell; return the exit status."""
    terminal = _own_terminal("Without a terminal use: pyro workspace shell open, write and read.")
    from pyro_mcp.workspace.shells.attach import attach_shell

    key = ord(detach_key[-1].upper()) & _CONTROL_BITS

    def begin(shell: str) -> None:
        say(f"[attach] shell_id={shell}; {detach_key.capitalize()} detaches")

    with interruptible(), engine(Runner().call()) as using:
        ended = attach_shell(using, workspace_id, shell_id, terminal, detach_key=key, on_begin=begin)
    return _status(ended, workspace_id, "attach", quiet=False)


def exec_attached(parsed: Parsed) -> int:
    """Run a command at this process's terminal; return the exit status."""
    request: Any = parsed.request
    if parsed.json or request.timeout_seconds != DEFAULT_TIMEOUT_S:
        option = "--json" if parsed.json else "a time limit"
        raise UsageError(f"-t can't be combined with {option}", hint="You end a command at a terminal yourself.")
    terminal = _own_terminal("Omit -t: pyro workspace exec -i passes stdin to the command.")
    from pyro_mcp.operations.guest_commands import guest_command
    from pyro_mcp.operations.validation import check_request
    from pyro_mcp.workspace.shells.command import exec_at_terminal

    check_request(request)
    with engine(Runner().call()) as using:
        ended = exec_at_terminal(
            using, request.workspace_id, guest_command(request), terminal, secret_env=request.secret_env
        )
    return _status(ended, request.workspace_id, "exec", quiet=True)


def _own_terminal(hint: str) -> PersonTerminal:
    """Return this process's terminal.

    Raises:
        UsageError: it has none.
    """
    if not os.isatty(STDIN) or not os.isatty(STDOUT):
        raise UsageError("stdin and stdout must be a terminal", hint=hint)
    from pyro_mcp.workspace.shells.person import PersonTerminal

    return PersonTerminal(STDIN, STDOUT)


def _status(ended: Attached, workspace: str, label: str, *, quiet: bool) -> int:
    if ended.exit_code is None:
        say(f"[{label}] detached; to reattach: pyro workspace shell attach {workspace} {ended.shell_id}")
        return 0
    if not quiet:
        say(f"[{label}] {ended.shell_id} has exited with {ended.exit_code}")
    return ended.exit_code
