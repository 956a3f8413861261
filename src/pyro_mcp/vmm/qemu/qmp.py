"""A minimal client for the QEMU Machine Protocol.

The guest may have taken over QEMU, so time and sizes are bounded.
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.closing import Closing
from pyro_mcp.host.waiting import Deadline

_MAX_LINE_BYTES = 256 * 1024
# Between two answers QEMU sends a handful of events; if it sends many, it is broken or hostile.
_MAX_EVENTS = 256
_READ_BYTES = 65536

Message = dict[str, object]


class ConnectionLostError(PyroError):
    """QEMU closed its monitor, so it has ended."""


class QmpClient(Closing):
    """One connection to a monitor. QEMU serves one at a time; others wait in its backlog."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = bytearray()
        self._events: list[Message] = []

    def close(self) -> None:
        """Disconnect; the VMM keeps running."""
        self._socket.close()

    def negotiate(self, deadline: Deadline) -> None:
        """Read the greeting and leave capability negotiation mode."""
        self._receive(deadline)
        self.execute("qmp_capabilities", deadline)

    def execute(self, command: str, deadline: Deadline, *, fd: int | None = None, **arguments: object) -> object:
        """Run one command and return its result. `fd` is passed along with it.

        Raises:
            PyroError: PROGRAM_FAILED if QEMU reports an error; GUEST_LOST if it has ended; TIMEOUT; PROTOCOL.
        """
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        # Compact, since QEMU reads its monitor byte by byte, with a system call each.
        message = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        self._send(message, fd, deadline)
        while True:
            answer = self._receive(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise _refusal(command, answer["error"])
            self._keep(answer)

    def quit(self, deadline: Deadline) -> None:
        """Make QEMU exit. It may do so before its answer arrives."""
        with suppress(ConnectionLostError):
            self.execute("quit", deadline)

    def wait_for_event(self, name: str, accept: Callable[[Message], bool], deadline: Deadline) -> Message:
        """Return the data of the first event with that name that `accept` accepts, including earlier events."""
        while True:
            for event in self._events:
                if event.get("event") == name:
                    found = event.get("data", {})
                    data = cast("Message", found) if isinstance(found, dict) else {}
                    if accept(data):
                        self._events.remove(event)
                        return data
            self._keep(self._receive(deadline))

    def _keep(self, message: Message) -> None:
        if "event" in message:
            self._events.append(message)
            if len(self._events) > _MAX_EVENTS:
                raise PyroError(ErrorCode.PROTOCOL, "QEMU's monitor sent too many events")

    def _send(self, message: bytes, fd: int | None, deadline: Deadline) -> None:
        self._socket.settimeout(max(deadline.remaining_s(), 0.001))
        # QEMU accepts a descriptor only together with the command that names it (SCM_RIGHTS, unix(7)).
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            sent = self._socket.sendmsg([message], ancillary)
            if sent < len(message):
                self._socket.sendall(message[sent:])
        except TimeoutError:
            raise deadline.error() from None
        except OSError as error:
            raise _lost() from error

    def _receive(self, deadline: Deadline) -> Message:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise PyroError(ErrorCode.PROTOCOL, "QEMU's monitor sent a line that is too long")
            self._socket.settimeout(max(deadline.remaining_s(), 0.001))
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                raise deadline.error() from None
            except OSError as error:
                raise _lost() from error
            if not data:
                raise _lost()
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        deadline.check()
        try:
            message: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise PyroError(ErrorCode.PROTOCOL, f"QEMU's monitor sent invalid JSON: {line[:80]!r}") from error
        if not isinstance(message, dict):
            raise PyroError(ErrorCode.PROTOCOL, f"QEMU's monitor sent something other than an object: {line[:80]!r}")
        return cast("Message", message)


def _lost() -> ConnectionLostError:
    return ConnectionLostError(ErrorCode.GUEST_LOST, "QEMU has ended", hint="The end of its console shows why.")


def _refusal(command: str, error: object) -> PyroError:
    reason = cast("Message", error).get("desc", "") if isinstance(error, dict) else error
    return PyroError(
        ErrorCode.PROGRAM_FAILED, f"QEMU refused {command}: {str(reason)[:500]}", details={"command": command}
    )
