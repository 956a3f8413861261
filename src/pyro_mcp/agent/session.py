"""A session with a guest agent, for use by one thread.

The agent is not trusted, and every wait for it is bounded.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.channel import Bound, Channel
from pyro_mcp.agent.exchange import Exchange, HeldInput, Input, OnOutput
from pyro_mcp.agent.failures import failure_error
from pyro_mcp.agent.messages import (
    DocumentRequest,
    ExecRequest,
    ExecResult,
    Flavour,
    GuestConfig,
    GuestInfo,
    Request,
    TaskRequest,
    breach,
    decode,
    guest_info,
)
from pyro_mcp.agent.tasks import TaskOutput
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.closing import Closing
from pyro_mcp.host.transport import Connection, LaneUse, Transport
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document, encode_document
from pyro_mcp.protocol.frames import Frame, encode
from pyro_mcp.protocol.names import WORKSPACE

_T = TypeVar("_T")

CONFIGURE_TIMEOUT_S = 10.0
PREPARE_TIMEOUT_S = 60.0
SYNC_TIMEOUT_S = 30.0
POWEROFF_TIMEOUT_S = 10.0


class AgentSession(Closing):
    """A session, also as a context manager. Closing it ends everything that it started in the guest."""

    def __init__(self, channel: Channel, expected_generation: int) -> None:
        self._channel = channel
        self._expected_generation = expected_generation
        self._info: GuestInfo | None = None
        self._last_id = 0

    @classmethod
    def open(
        cls,
        transport: Transport,
        *,
        timeout_s: float,
        use: LaneUse = LaneUse.SHORT,
        while_waiting: Callable[[], None] | None = None,
        expected_generation: int = wire.GENERATION,
    ) -> AgentSession:
        """Connect and greet the agent, which may still be booting: the first operation waits for its answer.

        `timeout_s` bounds the wait for a lane; `while_waiting` is called repeatedly during it.

        Raises:
            PyroError: BUSY, GUEST_LOST, TIMEOUT.
        """
        connection = transport.connect(timeout_s=timeout_s, use=use, while_waiting=while_waiting)
        try:
            nonce = os.urandom(wire.NONCE_BYTES)
            channel = Channel(connection, nonce)
        except BaseException:
            connection.close()
            raise
        hello = struct.pack(wire.HELLO_FORMAT, nonce, expected_generation, time.time_ns())
        channel.queue(wire.LANE_MAGIC + encode(0, wire.HELLO, hello))
        return cls(channel, expected_generation)

    def close(self) -> None:
        """Close the session; the agent kills its commands that still run. May be called repeatedly."""
        self._channel.close()

    def ready(self, *, timeout_s: float) -> GuestInfo:
        """Wait for the agent's answer to the greeting, and return its description of itself.

        Raises:
            PyroError: UNSUPPORTED if its protocol generation differs; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        return self._within(lambda: self._await_ready(Bound(timeout_s, "the guest's agent to answer")))

    def hand_over(self, *, timeout_s: float) -> Connection:
        """Wait for the agent's answer to the greeting, and return the connection for use by the caller.

        Raises:
            PyroError: UNSUPPORTED, TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self.ready(timeout_s=timeout_s)
        return self._within(self._channel.hand_over)

    def ping(self, *, timeout_s: float = CONFIGURE_TIMEOUT_S) -> None:
        """Check that the agent answers.

        Raises:
            PyroError: TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self._request({"op": wire.PING}, "answer a ping", timeout_s)

    def prepare(self, flavour: Flavour, *, timeout_s: float = PREPARE_TIMEOUT_S) -> None:
        """Prepare a booted guest as a template: do everything that its clones have in common.

        Raises:
            PyroError: CONFLICT, UNAVAILABLE; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self._request({"op": wire.PREPARE, "flavour": flavour.value}, "prepare", timeout_s)

    def configure(self, config: GuestConfig, *, timeout_s: float = CONFIGURE_TIMEOUT_S) -> None:
        """Give a guest its identity. No command can run before.

        Raises:
            PyroError: CONFLICT, UNAVAILABLE, UNSUPPORTED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self._check_config(config)
        self._call(wire.CONFIGURE, config.body(), "be configured", timeout_s)

    def sync(self, *, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """Flush the guest's file systems.

        Raises:
            PyroError: UNAVAILABLE; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self._request({"op": wire.SYNC}, "flush its disks", timeout_s)

    def keep_secret(self, name: str, value: str, *, timeout_s: float = CONFIGURE_TIMEOUT_S) -> None:
        """Store a secret in the memory of a configured guest.

        Raises:
            PyroError: UNSUPPORTED; UNAVAILABLE, TIMEOUT, GUEST_LOST, PROTOCOL. None of them contains the value.
        """
        self._request({"op": wire.KEEP, "name": name, "value": value}, f"store the secret {name}", timeout_s)

    def poweroff(self, *, timeout_s: float = POWEROFF_TIMEOUT_S) -> None:
        """Make the guest end all processes and power off, which is in progress when this returns.

        Raises:
            PyroError: UNAVAILABLE; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        self._request({"op": wire.POWEROFF}, "power off", timeout_s)
        self.close()

    def exec(
        self,
        request: ExecRequest,
        *,
        config: GuestConfig | None = None,
        stdin: Input = None,
        on_output: OnOutput | None = None,
        cancel: CancelToken | None = None,
    ) -> ExecResult:
        """Run a command to its end, passing its output to `on_output` as it arrives.

        With `config` the guest is configured first; the command is sent without waiting for that. `stdin` is a
        descriptor, a binary file, bytes, or None for an empty one. Time spent in `on_output` does not count against the
        guest; if it raises, the command is killed and the exception propagates.

        Raises:
            PyroError: NOT_FOUND, PERMISSION, INVALID if the command can't run (`details["exit_code"]` is what a shell
                would return); CANCELLED; TIMEOUT if the agent does not answer even after the command's own timeout;
                GUEST_LOST, PROTOCOL.
        """
        self._check_features(request)
        if config is not None:
            self._check_config(config)
        return self._exec(config, request, stdin, on_output, cancel)

    def _check_features(self, request: ExecRequest) -> None:
        """Refuse options that an older agent, or one on a host, would ignore."""
        wanted = {
            wire.USERS: (bool(request.user), "run as another user"),
            wire.MERGE: (request.merge_stderr, "run with one stream for stdout and stderr"),
        }
        for feature, (is_wanted, what) in wanted.items():
            if is_wanted:
                self.require(feature, what)

    def _check_config(self, config: GuestConfig) -> None:
        """Refuse certificates that an older agent would ignore. Without any, the agent's answer is not waited for."""
        if config.certificates:
            self.require(wire.CERTIFICATES, "run with further certificates")

    def require(self, feature: str, what: str) -> None:
        """Check that the agent has a feature, without which it would ignore an option.

        Raises:
            PyroError: UNSUPPORTED; TIMEOUT, GUEST_LOST, PROTOCOL.
        """
        if feature not in self.ready(timeout_s=CONFIGURE_TIMEOUT_S).features:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"commands can't be {what} here",
                hint="This requires a VM started by this version of pyro: stop and start it, or create another.",
            )

    def task(
        self,
        request: TaskRequest,
        *,
        stdin: Input = None,
        on_data: Callable[[bytes], None] | None = None,
        root: str = WORKSPACE,
        cancel: CancelToken | None = None,
    ) -> Document:
        """Run a task of the agent, and return its answer. Paths in errors are shown below `root`.

        Raises:
            PyroError: the failure of the task; CANCELLED; TIMEOUT, UNAVAILABLE, GUEST_LOST, PROTOCOL.
        """
        output = TaskOutput(request, on_data, root)
        return output.outcome(self._exec(None, request, stdin, output.take, cancel))

    def ask(self, request: DocumentRequest) -> Document:
        """Send a request without streams, and return the agent's answer, not validated.

        Raises:
            PyroError: the agent's refusal; TIMEOUT, UNAVAILABLE, GUEST_LOST, PROTOCOL.
        """
        return self._call(request.kind, request.body(), request.what, request.timeout_s)

    def stream(
        self,
        request: Request,
        *,
        stdin: Input = None,
        on_output: OnOutput | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Carry the streams of a request whose result has no content.

        Raises:
            PyroError: the agent's refusal; CANCELLED; TIMEOUT, UNAVAILABLE, GUEST_LOST, PROTOCOL.
        """
        self._exec(None, request, stdin, on_output, cancel)

    @contextmanager
    def held_task(
        self,
        request: TaskRequest,
        *,
        until: Callable[[], bool],
        on_data: Callable[[bytes], None],
        root: str = WORKSPACE,
        cancel: CancelToken | None = None,
    ) -> Generator[None]:
        """Run a task for the duration of the block, which is entered once `until` returns True.

        Raises:
            PyroError: as `task`, before or after the block. An exception from the block takes precedence.
        """
        output, stdin = TaskOutput(request, on_data, root), HeldInput()
        exchange = Exchange(self._channel, request, stdin=stdin, on_output=output.take, cancel=cancel)

        def begin() -> None:
            exchange.ask(self._next_id())
            self._await_ready(Bound(CONFIGURE_TIMEOUT_S, "the guest's agent to answer"))
            exchange.begin()
            exchange.carry(until)

        def finish() -> Document:
            stdin.release()
            return output.outcome(self._within(exchange.finish))

        self._within(begin)
        if not until():
            finish()
            raise breach("a task that ended too early")
        try:
            yield
        except BaseException:
            try:
                finish()
            except PyroError:
                # The session is closed, or the task has ended in another way: in both cases the guest continues.
                self.close()
            raise
        finish()

    def _exec(
        self,
        config: GuestConfig | None,
        request: Request,
        stdin: Input,
        on_output: OnOutput | None,
        cancel: CancelToken | None,
    ) -> ExecResult:
        if cancel is not None:
            cancel.check()
        exchange = Exchange(self._channel, request, stdin=stdin, on_output=on_output, cancel=cancel)

        def converse() -> ExecResult:
            bound = Bound(CONFIGURE_TIMEOUT_S, "the guest's agent to answer")
            configuring = None if config is None else self._ask(wire.CONFIGURE, config.body())
            exchange.ask(self._next_id())
            self._await_ready(bound)
            if configuring is not None:
                self._configured(configuring, bound)
            return exchange.run()

        result = self._within(converse)
        if exchange.was_cancelled and cancel is not None:
            raise cancel.error()
        return result

    def _within(self, converse: Callable[[], _T]) -> _T:
        """Run a part of the session, and close the session if it is interrupted: later frames would be out of sync."""
        try:
            return converse()
        except PyroError as error:
            if "agent_code" not in error.details:
                self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _request(self, document: Document, what: str, timeout_s: float) -> Document:
        return self._call(wire.REQUEST, encode_document(document), what, timeout_s)

    def _call(self, kind: int, body: bytes, what: str, timeout_s: float) -> Document:
        def converse() -> Document:
            bound = Bound(timeout_s, f"the guest's agent to {what}")
            ident = self._ask(kind, body)
            self._await_ready(bound)
            return self._answer(ident, what, bound)

        return self._within(converse)

    def _configured(self, ident: int, bound: Bound) -> None:
        try:
            self._answer(ident, "be configured", bound)
        except PyroError:
            # The command was already sent, and its refusal is in transit.
            self.close()
            raise

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ask(self, kind: int, body: bytes) -> int:
        ident = self._next_id()
        self._channel.queue(encode(ident, kind, body))
        return ident

    def _await_ready(self, bound: Bound) -> GuestInfo:
        if self._info is not None:
            return self._info
        ident, kind, body = self._channel.frame(bound)
        if ident or kind != wire.READY:
            raise breach("a first frame other than READY")
        info = guest_info(decode(body))
        if info.generation != self._expected_generation:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                f"the guest agent uses protocol generation {info.generation}, but this version of pyro requires"
                f" {self._expected_generation}",
                hint="The guest was started by another version of pyro: stop and start it, or create another.",
            )
        self._info = info
        return info

    def _answer(self, ident: int, what: str, bound: Bound) -> Document:
        frame: Frame = self._channel.frame(bound)
        if frame[0] != ident:
            raise breach(f"an answer to the unknown request {frame[0]}")
        match frame[1]:
            case wire.RESULT:
                return decode(frame[2])
            case wire.FAILURE:
                raise failure_error(decode(frame[2]), what)
            case kind:
                raise breach(f"a frame of kind {kind} instead of an answer")
