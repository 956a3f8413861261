"""Interfaces of the transport to a guest's agent: drivers implement them, `agent` uses them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Self


class LaneUse(StrEnum):
    """The purpose for which a lane is claimed."""

    #: May last as long as a command. Their number is the limit for concurrent commands; further ones wait in order.
    COMMAND = "command"
    SHORT = "short"
    STOP = "stop"


class Connection(Protocol):
    """A byte stream to the guest's agent. As a context manager it releases its lane at the end of the block."""

    @property
    def socket(self) -> socket.socket:
        """Return the connected, blocking stream socket. Closing the connection closes it."""
        ...

    def close(self) -> None:
        """Release the lane. May be called repeatedly."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object, /) -> None: ...


class Transport(Protocol):
    """Connects to a machine's agent, for as many concurrent callers as there are lanes."""

    def connect(
        self, *, timeout_s: float, use: LaneUse = LaneUse.SHORT, while_waiting: Callable[[], None] | None = None
    ) -> Connection:
        """Claim a lane and connect. The agent may still be booting: data is buffered until it reads.

        `while_waiting` is called repeatedly until a lane is free, and may raise.

        Raises:
            PyroError: BUSY if no lane becomes free within `timeout_s`; GUEST_LOST if the machine has ended; TIMEOUT.
        """
        ...
