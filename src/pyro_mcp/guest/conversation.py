"""Interfaces of session and lane, as commands, shells and services use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pyro_mcp.guest.refusal import RefusalError


class InputSink(Protocol):
    """The destination of a request's DATA frames."""

    def write(self, data: bytes) -> None:
        """Handle more data."""
        ...

    def end(self) -> None:
        """Handle the end of the data."""
        ...


class PendingRequest(Protocol):
    """A request that has not been answered yet."""

    @property
    def stdin(self) -> InputSink:
        """Return the destination of DATA."""
        ...

    def credit(self, stream: int, count: int) -> None:
        """Record that the host accepts `count` more bytes of one stream."""
        ...

    def cancel(self) -> None:
        """Stop it, and answer."""
        ...

    def abandon(self) -> None:
        """Stop it without answering: the session has ended."""
        ...


class Watcher(Protocol):
    """An observer of a shell's output."""

    def on_change(self) -> None:
        """Handle new output, or the exit of the program."""
        ...


class Outlet(Protocol):
    """The sending side of a lane."""

    @property
    def is_congested(self) -> bool:
        """Return whether the host is so slow that no more data should be queued for it."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes; they are written once the current events are handled."""
        ...

    def call_when_drained(self, call: Callable[[], None]) -> None:
        """Call `call` once, when the lane is no longer congested."""
        ...


class Conversation(Protocol):
    """The interface of a session for whatever answers a request."""

    @property
    def lane(self) -> Outlet:
        """Return the lane on which frames are sent."""
        ...

    def begin(self, ident: int, pending: PendingRequest) -> None:
        """Pass the host's further frames for an unanswered request to `pending`."""
        ...

    def reply(self, ident: int, result: Mapping[str, object]) -> None:
        """Send the result of a request."""
        ...

    def fail(self, ident: int, refusal: RefusalError) -> None:
        """Send the failure of a request."""
        ...

    def answered(self, ident: int) -> None:
        """Drop a request that has been answered."""
        ...

    def forget(self, ident: int, *, expect_more: bool, is_task: bool = False) -> None:
        """Drop a command or task that is finished. Prepare a process for the next one if one is expected."""
        ...

    def execute_again(self, ident: int, body: bytes) -> None:
        """Restart a command whose process never received it."""
        ...
