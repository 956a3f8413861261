"""Protocols of the session and the lane of a request, as far as commands, shells and services need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pyro_mcp.guest.refusal import RefusalError


class Typed(Protocol):
    """Where what the host sends to something goes."""

    def write(self, data: bytes) -> None:
        """Take more of it."""
        ...

    def end(self) -> None:
        """Take note that there is no more."""
        ...


class Ongoing(Protocol):
    """A request that a session has begun and not answered yet."""

    @property
    def stdin(self) -> Typed:
        """Return where DATA goes."""
        ...

    def credit(self, stream: int, count: int) -> None:
        """Take note that the host can take more of one stream."""
        ...

    def cancel(self) -> None:
        """End it, and answer."""
        ...

    def abandon(self) -> None:
        """End it: nobody is left to answer."""
        ...


class Watcher(Protocol):
    """Someone who follows a shell's output."""

    def on_change(self) -> None:
        """Send what can be sent: there is new output, or the program has exited."""
        ...


class Outlet(Protocol):
    """A lane, as what answers a request uses it."""

    @property
    def is_congested(self) -> bool:
        """Say whether the host is so slow that no more should be queued for it."""
        ...

    def send(self, data: bytes) -> None:
        """Queue bytes; they are written when the events at hand are dealt with."""
        ...

    def call_when_drained(self, call: Callable[[], None]) -> None:
        """Call `call` once, when the lane is not congested any more."""
        ...


class Conversation(Protocol):
    """A session, as what answers a request uses it."""

    @property
    def lane(self) -> Outlet:
        """Return the lane that frames go out on."""
        ...

    def begin(self, ident: int, ongoing: Ongoing) -> None:
        """Pass what the host sends about a request that is not answered yet to `ongoing`."""
        ...

    def reply(self, ident: int, result: Mapping[str, object]) -> None:
        """Send the result of a request."""
        ...

    def fail(self, ident: int, refusal: RefusalError) -> None:
        """Send why a request could not be done."""
        ...

    def answered(self, ident: int) -> None:
        """Forget a request: it is answered."""
        ...

    def forget(self, ident: int, *, expect_more: bool, is_task: bool = False) -> None:
        """Forget a command or a task: it is over. Prepare a process for the next one if one is expected."""
        ...

    def execute_again(self, ident: int, body: bytes) -> None:
        """Restart a command whose process never received it."""
        ...
