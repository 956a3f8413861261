"""A session with one host process over one lane. It begins with HELLO, and everything it started ends with it."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document, DocumentError, decode_trusted, encode_document
from pyro_mcp.protocol.frames import FrameError, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyro_mcp.guest.conversation import Outlet, PendingRequest
    from pyro_mcp.guest.operations import Operations
    from pyro_mcp.guest.processes.execution import Execution
    from pyro_mcp.protocol.loop import Loop

_HELLO = struct.Struct(wire.HELLO_FORMAT)
_CREDIT = struct.Struct(wire.CREDIT_FORMAT)


class Session:
    """One session. Every method is called from the loop."""

    def __init__(self, lane: Outlet, loop: Loop, operations: Operations) -> None:
        self.lane = lane
        self.loop = loop
        self._operations = operations
        self._greeted = False
        self._executions: dict[int, PendingRequest] = {}

    def receive(self, ident: int, kind: int, body: bytes) -> None:
        """Handle one frame.

        Raises:
            FrameError: if it is not permitted in the current state; the caller must end the session.
        """
        if kind == wire.EXEC and self._greeted:
            self._perform(ident, self._execute, body)
        elif kind == wire.TASK and self._greeted:
            self._perform(ident, self._begin_task, body)
        elif kind == wire.CONFIGURE and self._greeted:
            self._perform(ident, self._configure, body)
        elif kind == wire.REQUEST and self._greeted:
            self._perform(ident, self._request, body)
        elif kind == wire.SHELL and self._greeted:
            self._perform(ident, self._shell, body)
        elif kind == wire.SERVICE and self._greeted:
            self._perform(ident, self._service, body)
        elif kind == wire.HELLO and not self._greeted:
            self._hello(body)
        elif not self._greeted or kind == wire.HELLO:
            raise FrameError(f"unexpected frame of kind {kind} {'after' if self._greeted else 'before'} HELLO")
        else:
            execution = self._executions.get(ident)
            # A frame for a command that has just ended is late, not an error.
            if execution is not None:
                self._control(execution, kind, body)

    def reply(self, ident: int, result: Mapping[str, object]) -> None:
        """Send the result of a request."""
        self.lane.send(encode(ident, wire.RESULT, encode_document(result)))

    def fail(self, ident: int, refusal: RefusalError) -> None:
        """Send the failure of a request."""
        document: Document = {"code": refusal.code, "message": refusal.message[:4096]}
        if refusal.exit_code is not None:
            document["exit_code"] = refusal.exit_code
        self.lane.send(encode(ident, wire.FAILURE, encode_document(document)))

    def begin(self, ident: int, pending: PendingRequest) -> None:
        """Pass the host's further frames for an unanswered request to `pending`."""
        self._executions[ident] = pending

    def answered(self, ident: int) -> None:
        """Drop a request that has been answered."""
        self._executions.pop(ident, None)

    def forget(self, ident: int, *, expect_more: bool, is_task: bool = False) -> None:
        """Drop a command or task that is finished. Prepare a process for the next one if one is expected."""
        self._executions.pop(ident, None)
        if expect_more:
            machine = self._operations.machine
            self.loop.later((machine.task_intake.standby if is_task else machine.standby).replenish)

    def execute_again(self, ident: int, body: bytes) -> None:
        """Restart a command whose process never received it."""
        self._executions.pop(ident, None)
        self._perform(ident, self._execute, body)

    def close(self) -> None:
        """Kill everything that the session started."""
        executions, self._executions = self._executions, {}
        for execution in executions.values():
            execution.abandon()

    def _hello(self, body: bytes) -> None:
        if len(body) < _HELLO.size:
            raise FrameError("HELLO is too short")
        nonce, _, clock_ns = _HELLO.unpack_from(body)
        self._operations.greet(clock_ns)
        self._greeted = True
        # The host searches for its nonce, since an earlier session may have left data in the lane.
        self.lane.send(nonce + encode(0, wire.READY, self._operations.ready()))

    def _perform(self, ident: int, operation: Callable[[int, bytes], None], body: bytes) -> None:
        try:
            if ident in self._executions:
                raise RefusalError(wire.BAD_REQUEST, f"request id {ident} is already in use")
            operation(ident, body)
        except RefusalError as refusal:
            self.fail(ident, refusal)
        except (DocumentError, struct.error) as error:
            self.fail(ident, RefusalError(wire.BAD_REQUEST, str(error)))
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "?")
            self.fail(ident, RefusalError(wire.SYSTEM, f"{name}: {error}"))

    def _request(self, ident: int, body: bytes) -> None:
        self.reply(ident, self._operations.perform(decode_trusted(body)))

    def _require(self, before: str, inspecting: str = "") -> Operations:
        """Return the operations of a configured guest; `inspecting` names what an inspected guest can't do."""
        operations = self._operations
        if not operations.configured:
            raise RefusalError(wire.NOT_CONFIGURED, f"no {before} before configure")
        if inspecting and operations.inspecting:
            raise RefusalError(wire.CONFLICT, f"no {inspecting} in a guest that is being inspected")
        return operations

    def _shell(self, ident: int, body: bytes) -> None:
        operations = self._require("shell can be opened", "shell is opened")
        operations.shells.perform(self, ident, decode_trusted(body))

    def _service(self, ident: int, body: bytes) -> None:
        operations = self._require("service can be started", "service runs")
        operations.services.perform(self, ident, decode_trusted(body))

    def _configure(self, ident: int, body: bytes) -> None:
        self._operations.configure(body)
        self.lane.send(encode(ident, wire.RESULT, b"{}"))

    def _execute(self, ident: int, body: bytes) -> None:
        standby = self._require("command can run", "command runs").machine.standby
        self._start(ident, standby.take, lambda execution: execution.begin(self, ident, body))

    def _begin_task(self, ident: int, body: bytes) -> None:
        task_intake = self._require("task can be done").machine.task_intake
        self._start(ident, lambda: task_intake.take(body), lambda execution: execution.begin_task(self, ident, body))

    def _start(self, ident: int, take: Callable[[], Execution], begin: Callable[[Execution], None]) -> None:
        for is_last_attempt in (False, True):
            execution = take()
            self._executions[ident] = execution
            try:
                begin(execution)
            except (RefusalError, OSError, struct.error) as error:
                del self._executions[ident]
                execution.abandon()
                # The prepared process may have been killed by the workload, or by the kernel when memory ran out.
                if is_last_attempt or not isinstance(error, BrokenPipeError):
                    raise
            else:
                return

    def _control(self, execution: PendingRequest, kind: int, body: bytes) -> None:
        if kind == wire.DATA:
            execution.stdin.write(body)
        elif kind == wire.EOF:
            execution.stdin.end()
        elif kind == wire.CANCEL:
            execution.cancel()
        elif kind == wire.CREDIT and len(body) == wire.CREDIT_BODY_BYTES:
            stream, count = _CREDIT.unpack(body)
            execution.credit(stream, count)
        else:
            raise FrameError(f"unexpected frame of kind {kind}")
