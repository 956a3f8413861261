"""One command in a guest: its request, streams and result, and the session with the agent that runs it.

An error shows the end of the guest's console log. The VM keeps running: its verbs end it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pyro_mcp.agent import AgentSession, CancelToken, ExecRequest, ExecResult, GuestConfig, OutputBuffer, Stream
from pyro_mcp.agent.exchange import Input
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.model.command import Captured
from pyro_mcp.model.kinds import ExecutionMode, Isolation, NetworkPolicy
from pyro_mcp.model.limits import (
    CONNECT_TIMEOUT_S,
    DEFAULT_STREAM_BYTES,
    DEFAULT_TIMEOUT_S,
    MAX_TIMEOUT_S,
    check_timeout,
)
from pyro_mcp.model.vm import Vm
from pyro_mcp.protocol.names import WORKSPACE
from pyro_mcp.vmm.driver import Machine
from pyro_mcp.vmm.paused import continued
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.machines.boot import explained

if TYPE_CHECKING:
    from pyro_mcp.workspace.machines.network import RefusalWatch


def check_variables(env: Mapping[str, str]) -> None:
    """Check that a process can have these variables.

    Raises:
        PyroError: INVALID. The value is not shown: it may be a secret.
    """
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise PyroError(
                ErrorCode.INVALID,
                f"the variable {name[:100]!r} can't be set",
                hint="A name must not be empty or contain =; neither name nor value may contain a NUL character.",
            )


@dataclass(frozen=True, slots=True)
class GuestCommand:
    """A command: a line for the guest's shell (`str`), or a program and its arguments.

    `env` is added to the environment's own variables. Its values are not recorded. Without `timeout_s` there is no time
    limit; without `user` the command runs as root.
    """

    command: str | tuple[str, ...]
    timeout_s: float | None = DEFAULT_TIMEOUT_S
    cwd: str = WORKSPACE
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    user: str = ""
    merge_stderr: bool = False

    def __post_init__(self) -> None:
        """Check that a guest could run it.

        Raises:
            PyroError: INVALID.
        """
        if self.timeout_s is not None:
            check_timeout(self.timeout_s)
        if not self.command or not self.argv[0]:
            raise PyroError(ErrorCode.INVALID, "the command is empty", hint="Give a command to run.")
        if any("\0" in part for part in self.argv):
            raise PyroError(
                ErrorCode.INVALID,
                "the command contains a NUL character, which no argument may contain",
                hint="Pass binary data on stdin.",
            )
        check_variables(self.env)

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the argument vector; a line runs in `sh`, for a guest without bash."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command

    @property
    def patience_s(self) -> float:
        """Return how long it may wait in the queue."""
        return MAX_TIMEOUT_S if self.timeout_s is None else max(CONNECT_TIMEOUT_S, self.timeout_s)

    @property
    def is_line(self) -> bool:
        """Return whether it is a line for the guest's shell."""
        return isinstance(self.command, str)

    def request(self, variables: Mapping[str, str]) -> ExecRequest:
        """Return the request to the guest's agent."""
        return ExecRequest(
            self.argv,
            timeout_s=self.timeout_s,
            cwd=self.cwd,
            env={**variables, **self.env},
            is_line=self.is_line,
            user=self.user,
            merge_stderr=self.merge_stderr,
        )


@dataclass(frozen=True, slots=True)
class CommandStreams:
    """A command's streams while it runs, and its cancellation.

    `on_output` gets output as it arrives. `stdin` is a descriptor, a file, bytes, or None for an empty input. The
    result keeps `stream_bytes` of each stream, half from its beginning and half from its end, or all from its end.
    """

    on_output: Callable[[Stream, bytes], None] | None = None
    stdin: Input = None
    cancel: CancelToken | None = None
    stream_bytes: int = DEFAULT_STREAM_BYTES
    keep_tail: bool = False

    def check(self) -> None:
        """Raise CANCELLED if the command was cancelled before it began."""
        if self.cancel is not None:
            self.cancel.check()


@dataclass(frozen=True, slots=True)
class Execution(Captured):
    """The result of a command in a VM. `…_data` are the stored bytes of a stream.

    `network_refused` are the hosts that its network refused meanwhile, because of `network_policy`.
    """

    vm_id: str
    environment: str
    command: str | tuple[str, ...]
    execution_mode: ExecutionMode
    isolation: Isolation
    exit_code: int = field(kw_only=True)
    stdout_data: bytes = field(default=b"", kw_only=True, repr=False)
    stderr_data: bytes = field(default=b"", kw_only=True, repr=False)
    network_policy: NetworkPolicy = field(default=NetworkPolicy.OFF, kw_only=True)
    network_refused: tuple[str, ...] = field(default=(), kw_only=True)


class Output:
    """A command's output: passed on as it arrives, with its beginning and end stored."""

    def __init__(self, streams: CommandStreams) -> None:
        half = streams.stream_bytes if streams.keep_tail else streams.stream_bytes // 2
        self._pass_on = streams.on_output
        self._kept = {stream: OutputBuffer(streams.stream_bytes - half, half) for stream in Stream}

    def take(self, stream: Stream, data: bytes) -> None:
        """Store output and pass it on."""
        self._kept[stream].add(data)
        if self._pass_on is not None:
            self._pass_on(stream, data)

    def captured(self, result: ExecResult) -> dict[str, Any]:
        """Return the fields of `Captured` for this result."""
        stdout, stderr = self._kept[Stream.STDOUT], self._kept[Stream.STDERR]
        return {
            **{each.name: getattr(result, each.name) for each in fields(result)},
            "stdout": stdout.text(),
            "stderr": stderr.text(),
            "stdout_data": stdout.data(),
            "stderr_data": stderr.data(),
            "stdout_truncated": stdout.truncated,
            "stderr_truncated": stderr.truncated,
        }


def run_command(
    engine: Engine,
    vm: Vm,
    machine: Machine,
    command: GuestCommand,
    streams: CommandStreams,
    *,
    execution_mode: ExecutionMode,
    isolation: Isolation,
    config: GuestConfig | None = None,
) -> Execution:
    """Run a command to its end; with `config`, configure the guest first, in the same round trip.

    Raises:
        PyroError: any error of the agent client; that of a lost guest shows the end of its console log.
    """
    output = Output(streams)
    request = command.request(vm.variables)
    watch = refusal_watch(engine, vm)
    try:
        with (
            continued(machine),
            AgentSession.open(machine.transport, timeout_s=command.patience_s, use=LaneUse.COMMAND) as session,
        ):
            result = session.exec(
                request, config=config, stdin=streams.stdin, on_output=output.take, cancel=streams.cancel
            )
    except PyroError as error:
        raise _explained(error, engine, vm, machine) from error
    captured = output.captured(result)
    captured |= {"network_policy": vm.network_policy, "network_refused": watch.refused() if watch else ()}
    return Execution(vm.id, vm.environment, command.command, execution_mode, isolation, **captured)


def _explained(error: PyroError, engine: Engine, vm: Vm, machine: Machine) -> PyroError:
    if error.code is ErrorCode.GUEST_LOST and engine.clock.remaining_s(vm.lease) <= 0:
        return PyroError(
            ErrorCode.TIMEOUT,
            f"the time to live of {vm.id}, {vm.lease.ttl_s} seconds, ran out while the command ran",
            hint="Create another one with a longer `--ttl`.",
            details={"vm_id": vm.id, "ttl_seconds": vm.lease.ttl_s},
        )
    return explained(error, machine, f"the command in {vm.id} has no result")


def refusal_watch(engine: Engine, vm: Vm) -> RefusalWatch | None:
    """Return a watch over what the VM's network refuses; None if it refuses nothing by name."""
    # The record of a VM for one command has no `network` while that command runs.
    if not vm.network_policy.takes_allowed and not vm.deny_hosts:
        return None
    # Most commands need none of this.
    from pyro_mcp.workspace.machines.network import RefusalWatch

    return RefusalWatch(engine.paths, vm)
