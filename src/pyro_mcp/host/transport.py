"""The way to a guest's agent, as protocols: drivers offer it, `agent` talks over it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Self


class LaneUse(StrEnum):
    """The use that a lane is claimed for. Each has lanes that the others do not take."""

    #: May last as long as a command: there are as many as commands may run at once, and more wait in order.
    COMMAND = "command"
    SHORT = "short"
    STOP = "stop"


class Connection(Protocol):
    """A byte stream to the guest's agent. A context manager; leaving it gives the lane back."""

    @property
    def socket(self) -> socket.socket:
        """Return the connected, blocking stream socket. Closing the connection closes it."""
        ...

    def close(self) -> None:
        """Give the lane back; may be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object, /) -> None: ...


class Transport(Protocol):
    """The way to a machine's agent, for as many callers at once as there are lanes."""

    def connect(
        self, *, timeout_s: float, use: LaneUse = LaneUse.SHORT, while_waiting: Callable[[], None] | None = None
    ) -> Connection:
        """Claim a lane and connect. The agent need not be there yet: bytes wait for it.

        `while_waiting` is called again and again until a lane is free, and may raise.

        Raises:
            PyroError: BUSY if every lane stays taken for `timeout_s`; GUEST_LOST if the machine has ended; TIMEOUT.
        """
        ...
