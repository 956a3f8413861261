"""Run a command in a workspace, which keeps running afterwards.

Each command is journaled before it starts. Commands run concurrently.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.agent import Stream
from pyro_mcp.errors import PyroError
from pyro_mcp.host.faults import fault_point
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.model.workspace import CommandRecord
from pyro_mcp.state.filenames import WorkspaceFiles
from pyro_mcp.state.journal import begin_command, end_command
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.commands.output import CommandOutput, keep_recent_output
from pyro_mcp.workspace.guest import guest_of
from pyro_mcp.workspace.machines.command import CommandStreams, Execution, Output, refusal_watch

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from pyro_mcp.agent import ExecResult
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.guest import GuestUse
    from pyro_mcp.workspace.machines.command import GuestCommand
    from pyro_mcp.workspace.secrets.redactor import Redactor


@dataclass(frozen=True, slots=True)
class WorkspaceExecution(Execution):
    """The result of a command in a workspace; `seq` is its number in the journal."""

    workspace_id: str
    seq: int


def exec_workspace(
    engine: Engine,
    handle: str,
    command: GuestCommand,
    streams: CommandStreams | None = None,
    *,
    variables: Mapping[str, str] | None = None,
    secret_env: Mapping[str, str] | None = None,
    redactors: MutableMapping[str, Redactor] | None = None,
) -> WorkspaceExecution:
    """Run a command in a workspace, starting it if it is stopped. `variables` are added to the environment's own.

    `secret_env` maps each secret's name to the variable that holds it. No secret value appears in output, in the
    journal or in the result. If the workspace has secrets, its redactor is added to `redactors`.

    Raises:
        PyroError: NOT_FOUND; CONFLICT if it is being created, reset or deleted; any reason why it can't start;
            NOT_FOUND, PERMISSION, INVALID if the command can't run; CANCELLED; GUEST_LOST, with the reason, if the
            guest ends meanwhile.
    """
    streams = streams or CommandStreams()
    streams.check()
    added = dict(variables or {})
    # The journal entry itself updates the last activity.
    with guest_of(engine, handle, activity=False) as use:
        if not use.workspace.secrets and not secret_env:
            return _begin(_Job(engine, use, command, streams, added))
        from pyro_mcp.workspace.secrets.keeping import secret_variables, secrets_of
        from pyro_mcp.workspace.secrets.redactor import Redactor

        secrets = secrets_of(engine.paths, use.workspace)
        redactor = Redactor(each.value for each in secrets)
        if redactors is not None and secrets:
            redactors[use.workspace.id] = redactor
        try:
            added |= secret_variables(use.workspace, secrets, secret_env or {})
            return _begin(_Job(engine, use, command, streams, added, redactor))
        except PyroError as error:
            raise redactor.error(error) from None


class _Job(NamedTuple):
    """A command and everything needed to run it."""

    engine: Engine
    use: GuestUse
    command: GuestCommand
    streams: CommandStreams
    variables: Mapping[str, str]
    redactor: Redactor | None = None

    def shown(self, text: str) -> str:
        """Return a text with secret values redacted."""
        return text if self.redactor is None else self.redactor.text(text)

    @property
    def command_shown(self) -> str | tuple[str, ...]:
        """Return the command with secret values redacted, as it may be stored and shown."""
        command = self.command.command
        return command if self.redactor is None else self.redactor.command(command)


def _begin(job: _Job) -> WorkspaceExecution:
    record = CommandRecord(
        seq=0,
        command=job.command_shown,
        cwd=job.shown(job.command.cwd),
        started_at=job.engine.clock.wall_s(),
        owner=this_process(),
    )
    record = replace(record, seq=begin_command(job.engine.store, job.use.workspace.id, record))
    fault_point("ws_exec.begun")
    return _run(job, record)


def _run(job: _Job, record: CommandRecord) -> WorkspaceExecution:
    engine, use = job.engine, job.use
    directory = WorkspaceFiles(engine.paths, use.workspace.id).commands(use.workspace.life)
    output = Output(job.streams)
    watch = refusal_watch(engine, use.vm)
    with CommandOutput(directory, record.seq, output.take) as kept:
        try:
            result = _converse(job, kept)
        except BaseException as error:
            message = job.shown(error.message) if isinstance(error, PyroError) else "the call was interrupted"
            with suppress(PyroError):
                end_command(engine.store, engine.clock, use.workspace.id, _ended(record, kept, error=message))
            raise
    fault_point("ws_exec.ended")
    refused = tuple(job.shown(host) for host in watch.refused()) if watch else ()
    if any(kept.file_bytes(stream) for stream in Stream):
        keep_recent_output(directory)
    ended = _ended(record, kept, result=result)
    end_command(engine.store, engine.clock, use.workspace.id, ended)
    fault_point("ws_exec.recorded")
    return replace(_execution(job, ended, result, output), network_refused=refused)


def _converse(job: _Job, kept: CommandOutput) -> ExecResult:
    command, streams = job.command, job.streams
    request = command.request({**job.use.vm.variables, **job.variables})
    with job.use.command_session(job.engine, timeout_s=command.patience_s, cancel=streams.cancel) as session:
        if job.redactor is None:
            return session.exec(request, stdin=streams.stdin, on_output=kept.take, cancel=streams.cancel)
        from pyro_mcp.workspace.secrets.output import RedactedOutput

        redacted = RedactedOutput(job.redactor, kept.take)
        result = session.exec(request, stdin=streams.stdin, on_output=redacted.take, cancel=streams.cancel)
        redacted.finish()
        return result


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


def _execution(job: _Job, record: CommandRecord, result: ExecResult, output: Output) -> WorkspaceExecution:
    use, machine = job.use, job.use.machine.record
    # Counted on the host, after redaction.
    counted: dict[str, Any] = {"stdout_bytes": record.stdout_bytes, "stderr_bytes": record.stderr_bytes}
    return WorkspaceExecution(
        use.vm.id,
        use.workspace.environment,
        record.command,
        use.vm.execution_mode or ExecutionMode.of(machine.kind),
        use.vm.isolation or Isolation.of(machine.accelerator),
        use.workspace.id,
        record.seq,
        **{**output.captured(result), **counted},
        network_policy=use.vm.network_policy,
    )
