"""Run a command in a workspace at the user's own terminal.

It is journaled like any other, but without its output. After detaching, it continues as a shell.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.model.workspace import CommandRecord
from pyro_mcp.state.journal import begin_command, end_command
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.shells.attach import DETACH_KEY, Attached, attach_shell
from pyro_mcp.workspace.shells.shell import ShellSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.machines.command import GuestCommand
    from pyro_mcp.workspace.shells.person import PersonTerminal


def exec_at_terminal(
    engine: Engine,
    handle: str,
    command: GuestCommand,
    terminal: PersonTerminal,
    *,
    secret_env: Mapping[str, str] | None = None,
    detach_key: int = DETACH_KEY,
    on_begin: Callable[[str], None] | None = None,
) -> Attached:
    """Run a command at the user's terminal until it exits or the user detaches. It has no time limit.

    Raises:
        PyroError: as `attach_shell`; NOT_FOUND, PERMISSION, INVALID if the command can't run.
    """
    workspace = find_workspace(engine, handle)
    shown = command.command
    if workspace.secrets:
        from pyro_mcp.workspace.secrets.keeping import redactor_for

        shown = redactor_for(engine.paths, workspace).command(shown)
    began_s = engine.clock.wall_s()
    record = CommandRecord(seq=0, command=shown, cwd=command.cwd, started_at=began_s, owner=this_process())
    record = replace(record, seq=begin_command(engine.store, workspace.id, record))

    def end(error: str = "", exit_code: int | None = None) -> None:
        took_ms = max(0, int((engine.clock.wall_s() - began_s) * 1000))
        ended = replace(record, error=error, exit_code=exit_code, duration_ms=took_ms, owner=None)
        end_command(engine.store, engine.clock, workspace.id, ended)

    spec = ShellSpec(command.cwd, secret_env=secret_env, env=command.env, user=command.user, command=command)
    try:
        done = attach_shell(engine, workspace.id, None, terminal, detach_key=detach_key, on_begin=on_begin, spec=spec)
    except BaseException as error:
        with suppress(PyroError):
            end(error.message if isinstance(error, PyroError) else "the call was interrupted")
        raise
    end(
        "" if done.exit_code is not None else f"detached: it keeps running in the shell {done.shell_id}", done.exit_code
    )
    return done
