"""What the client needs of a way to a guest's agent.

Owns the two protocols that drivers keep. Refuses to know how a lane is claimed or what carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812 - the property takes the module's name
    from types import TracebackType
    from typing import Self


class Connection(Protocol):
    """A byte stream to the agent, ours alone until it is closed."""

    @property
    def socket(self) -> Socket:
        """Return the connected stream socket."""
        ...

    def close(self) -> None:
        """Disconnect and give the lane back; may be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Transport(Protocol):
    """The way to one guest's agent."""

    def connect(self, *, timeout_s: float) -> Connection:
        """Claim a lane and connect.

        Raises:
            PyroError: BUSY, GUEST_LOST, TIMEOUT.
        """
        ...
