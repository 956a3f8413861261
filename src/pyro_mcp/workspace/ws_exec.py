"""Running a command in a workspace, which goes on afterwards.

Owns that each command is in the journal, from before it begins until how it ended. Refuses to make commands wait for
each other.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyro_mcp.agent import ExecRequest, Stream
from pyro_mcp.errors import PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.model.workspace import CommandRecord
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.guest_command import CommandStreams, Execution
from pyro_mcp.workspace.in_guest import Output
from pyro_mcp.workspace.ws_guest import guest_of
from pyro_mcp.workspace.ws_journal import begin_command, end_command
from pyro_mcp.workspace.ws_output import CommandOutput, keep_recent_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.agent import ExecResult
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.guest_command import GuestCommand
    from pyro_mcp.workspace.ws_guest import GuestUse


@dataclass(frozen=True, slots=True)
class WorkspaceExecution(Execution):
    """What came of a command in a workspace; `seq` is its number in the journal."""

    workspace_id: str
    seq: int


def exec_workspace(
    engine: Engine,
    handle: str,
    command: GuestCommand,
    streams: CommandStreams | None = None,
    *,
    variables: Mapping[str, str] | None = None,
) -> WorkspaceExecution:
    """Run a command in a workspace, starting it if it is stopped. `variables` are added to the environment's own.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is being created, reset or deleted; what keeps it from starting; NOT_FOUND,
            PERMISSION, INVALID if the command can't run; CANCELLED; GUEST_LOST if the guest ends meanwhile, saying why.
    """
    streams = streams or CommandStreams()
    streams.check()
    # The journal's own note moves the last activity.
    with guest_of(engine, handle, activity=False) as use:
        record = CommandRecord(
            seq=0,
            command=command.command,
            cwd=command.cwd,
            started_at=engine.clock.wall_s(),
            owner=this_process(),
        )
        record = replace(record, seq=begin_command(engine, use.workspace.id, record))
        fault_point("ws_exec.begun")
        return _run(engine, use, command, streams, record, variables or {})


def _run(
    engine: Engine,
    use: GuestUse,
    command: GuestCommand,
    streams: CommandStreams,
    record: CommandRecord,
    variables: Mapping[str, str],
) -> WorkspaceExecution:
    directory = WorkspaceFiles(engine.paths, use.workspace.id).commands(use.workspace.life)
    output = Output(streams)
    request = ExecRequest(
        command.argv, timeout_s=command.timeout_s, cwd=command.cwd, env={**use.vm.variables, **variables}
    )
    with CommandOutput(directory, record.seq, output.take) as kept:
        try:
            with use.session() as session:
                result = session.exec(request, stdin=streams.stdin, on_output=kept.take, cancel=streams.cancel)
        except BaseException as error:
            message = error.message if isinstance(error, PyroError) else "the call was interrupted"
            with suppress(PyroError):
                end_command(engine, use.workspace.id, _ended(record, kept, error=message))
            raise
    fault_point("ws_exec.ended")
    if any(kept.file_bytes(stream) for stream in Stream):
        keep_recent_output(directory)
    end_command(engine, use.workspace.id, _ended(record, kept, result=result))
    fault_point("ws_exec.recorded")
    return _execution(use, command, record.seq, result, output)


def _ended(
    record: CommandRecord, kept: CommandOutput, *, result: ExecResult | None = None, error: str = ""
) -> CommandRecord:
    ended = replace(
        record,
        stdout=kept.text(Stream.STDOUT),
        stderr=kept.text(Stream.STDERR),
        stdout_bytes=kept.total_bytes(Stream.STDOUT),
        stderr_bytes=kept.total_bytes(Stream.STDERR),
        stdout_truncated=kept.is_truncated(Stream.STDOUT),
        stderr_truncated=kept.is_truncated(Stream.STDERR),
        stdout_file_bytes=kept.file_bytes(Stream.STDOUT),
        stderr_file_bytes=kept.file_bytes(Stream.STDERR),
        error=error,
        owner=None,
    )
    if result is None:
        return ended
    return replace(
        ended,
        exit_code=result.exit_code,
        timed_out=result.timed_out,
        oom_killed=result.oom_killed,
        duration_ms=result.duration_ms,
    )


def _execution(
    use: GuestUse, command: GuestCommand, seq: int, result: ExecResult, output: Output
) -> WorkspaceExecution:
    machine = use.machine.record
    return WorkspaceExecution(
        vm_id=use.vm.id,
        environment=use.workspace.environment,
        command=command.command,
        execution_mode=use.vm.execution_mode or ExecutionMode.of(machine.kind),
        isolation=use.vm.isolation or Isolation.of(machine.accelerator),
        exit_code=result.exit_code,
        timed_out=result.timed_out,
        oom_killed=result.oom_killed,
        duration_ms=result.duration_ms,
        stdout=output.text(Stream.STDOUT),
        stderr=output.text(Stream.STDERR),
        stdout_bytes=result.stdout_bytes,
        stderr_bytes=result.stderr_bytes,
        stdout_truncated=output.is_truncated(Stream.STDOUT),
        stderr_truncated=output.is_truncated(Stream.STDERR),
        workspace_id=use.workspace.id,
        seq=seq,
    )
