"""An event loop for one thread: descriptors, deadlines, and work that waits until the answers are written.

There is no periodic timer: an idle loop costs nothing. In a restored guest each piece of code that runs for the first
time is translated first, so the agent's first command is faster for plain loops and few kinds of objects here.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR
ON_EDGE = select.EPOLLET
# How many events are taken at once; the default makes Python clear a kilobyte table at each wait.
_EVENTS = 32


class Deadline:
    """A point in time at which something is called once, unless it is cancelled."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call


class Loop:
    """Waits for descriptors and deadlines and calls what was registered for them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._handlers: dict[int, Callable[[int], None]] = {}
        # Added since the events at hand were taken: those are of an earlier owner of the number.
        self._added: set[int] = set()
        self._deadlines: list[Deadline] = []
        self._flushes: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []
        self.running = True

    def add(self, fd: int, handler: Callable[[int], None], mask: int = READABLE) -> None:
        """Call `handler` with what happened whenever something of `mask` happens on `fd`."""
        self._handlers[fd] = handler
        self._added.add(fd)
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Wait for something else on `fd`."""
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forget `fd`, which must still be open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, delay_s: float, call: Callable[[], None]) -> Deadline:
        """Call `call` once, in `delay_s` seconds."""
        deadline = Deadline(time.monotonic() + delay_s, call)
        self._deadlines.append(deadline)
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Forget a deadline, whether it has passed or not."""
        if deadline in self._deadlines:
            self._deadlines.remove(deadline)

    def flush_soon(self, call: Callable[[], None]) -> None:
        """Call `call` when the events at hand are dealt with: answers are collected and written at once."""
        self._flushes.append(call)

    def later(self, call: Callable[[], None]) -> None:
        """Call `call` after the answers are written: nobody waits for it."""
        self._later.append(call)

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()

    def run(self) -> None:
        """Work until `running` is false."""
        while self.running:
            self.step()

    def step(self) -> None:
        """Wait for the next events, and deal with them, the answers, and what was put off."""
        events = self._poll(self._timeout_s(), _EVENTS)
        self._added.clear()
        for fd, mask in events:
            handler = self._handlers.get(fd)
            if handler is not None and fd not in self._added:
                handler(mask)
        if self._deadlines:
            self._expire()
        if self._flushes:
            flushes, self._flushes = self._flushes, []
            for flush in flushes:
                flush()
        if self._later:
            later, self._later = self._later, []
            for call in later:
                call()

    def _timeout_s(self) -> float | None:
        if self._flushes or self._later:
            return 0.0
        if not self._deadlines:
            return None
        first = self._deadlines[0].when
        for deadline in self._deadlines:
            if deadline.when < first:
                first = deadline.when
        left = first - time.monotonic()
        return left if left > 0.0 else 0.0

    def _expire(self) -> None:
        now = time.monotonic()
        for deadline in self._deadlines:
            if deadline.when <= now:
                break
        else:
            return
        for deadline in self._deadlines.copy():
            # One that is called may cancel others.
            if deadline.when <= now and deadline in self._deadlines:
                self._deadlines.remove(deadline)
                deadline.call()
