"""The common parts of operations that run a command in a guest: requests, streams and results."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeVar

from pyro_mcp.model import limits
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Request
from pyro_mcp.operations.operation import Call, Result, result_of
from pyro_mcp.protocol.names import WORKSPACE

if TYPE_CHECKING:
    from pyro_mcp.workspace.machines.command import CommandStreams, Execution, GuestCommand


class CommandRequest(Request):
    """Ask for one command."""

    command: str | tuple[str, ...] = field(metadata=parameters.COMMAND)
    timeout_seconds: float | None = field(default=limits.DEFAULT_TIMEOUT_S, metadata=parameters.TIMEOUT_SECONDS)
    env: dict[str, str] | None = field(default=None, metadata=parameters.ENV)
    cwd: str = field(default=WORKSPACE, metadata=parameters.CWD)
    user: str | None = field(default=None, metadata=parameters.USER)
    stdin: str | None = field(default=None, metadata=parameters.STDIN)
    merge_stderr: bool = field(default=False, metadata=parameters.MERGE_STDERR)
    max_output_bytes: int = field(default=limits.DEFAULT_STREAM_BYTES, metadata=parameters.MAX_OUTPUT_BYTES)
    keep: str = field(default="ends", metadata=parameters.KEEP)


class CommandResult(Result):
    """The base of results of a command. The raw bytes of its output are attributes, not part of the JSON mapping."""

    @property
    def stdout_bytes(self) -> bytes:
        """Return its stdout as bytes, without the line that replaces omitted output in the text."""
        return self.__dict__.get("_stdout", b"")

    @property
    def stderr_bytes(self) -> bytes:
        """Return its stderr as bytes."""
        return self.__dict__.get("_stderr", b"")


_SHOWN_HOSTS = 5
_Command = TypeVar("_Command", bound=CommandResult)


def command_result(kind: type[_Command], done: Execution, **given: object) -> _Command:
    """Return the result of a finished command."""
    sizes = {"stdout_size_bytes": done.stdout_bytes, "stderr_size_bytes": done.stderr_bytes}
    result = result_of(kind, done, **sizes, **given, network_hint=refusal_hint(done))
    result.__dict__.update(_stdout=done.stdout_data, _stderr=done.stderr_data)
    return result


def refusal_hint(done: Execution) -> str:
    """Return what was refused to a command, and how to allow it, or ""."""
    if not done.network_refused:
        return ""
    import shlex

    hosts = done.network_refused
    shown = ", ".join(hosts[:_SHOWN_HOSTS]) + (f" and {len(hosts) - _SHOWN_HOSTS} more" * (len(hosts) > _SHOWN_HOSTS))
    named = " ".join(map(shlex.quote, hosts[:_SHOWN_HOSTS]))
    workspace_id = getattr(done, "workspace_id", "")
    if not done.network_policy.takes_allowed:
        remedy = "they are denied" if len(hosts) > 1 else "it is denied"
    elif workspace_id:
        remedy = f"allow it with: `pyro workspace network allow {workspace_id} {named}`"
    else:
        options = " ".join(f"--allow-host {shlex.quote(each)}" for each in hosts[:_SHOWN_HOSTS])
        remedy = f"allow it with: `{options}`"
    return f"network refused: {shown} (policy {done.network_policy.value}); {remedy}"


def time_limit(request: CommandRequest) -> float | None:
    """Return the time limit of a command, in seconds: the default is longer for a one-shot VM with a network."""
    asked = request.timeout_seconds
    has_network = getattr(request, "network", False) or getattr(request, "network_policy", None) not in {None, "off"}
    return limits.NETWORK_TIMEOUT_S if isinstance(asked, limits.NoneGiven) and has_network else asked


def guest_command(request: CommandRequest) -> GuestCommand:
    """Return the command that a request describes; a relative `cwd` is below /workspace."""
    from pyro_mcp.workspace.machines.command import GuestCommand

    return GuestCommand(
        request.command,
        time_limit(request),
        parameters.working_directory(request.cwd),
        request.env or {},
        request.user or "",
        request.merge_stderr,
    )


def command_streams(call: Call, request: CommandRequest) -> CommandStreams:
    """Return the streams of a command in this call."""
    from pyro_mcp.workspace.machines.command import CommandStreams

    stdin = call.stdin if request.stdin is None else request.stdin.encode("utf-8", "surrogateescape")
    stream_bytes = min(call.stream_bytes, request.max_output_bytes)
    return CommandStreams(call.on_output, stdin, call.cancel, stream_bytes, request.keep == "tail")
