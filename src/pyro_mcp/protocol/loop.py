"""A single-threaded event loop: descriptors, deadlines, and work deferred until replies are written.

There is no periodic timer, so an idle loop costs nothing. In a restored guest, code that runs for the first time must
be translated by the emulator first: plain loops and few object types here make the agent's first command faster.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR
ON_EDGE = select.EPOLLET
# The maximum number of events per poll; with the default, Python clears a table of kilobytes at each wait.
_EVENTS = 32


class Deadline:
    """A callback to be called once at a given time, unless it is cancelled."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call


class Loop:
    """Waits for descriptors and deadlines, and calls their handlers."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._handlers: dict[int, Callable[[int], None]] = {}
        # Descriptors added since the last poll: pending events for them belong to an earlier owner of the number.
        self._added: set[int] = set()
        self._deadlines: list[Deadline] = []
        self._flushes: list[Callable[[], None]] = []
        self._later: list[Callable[[], None]] = []
        self.running = True

    def add(self, fd: int, handler: Callable[[int], None], mask: int = READABLE) -> None:
        """Call `handler` with the event mask whenever an event in `mask` occurs on `fd`."""
        self._handlers[fd] = handler
        self._added.add(fd)
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Change the events to wait for on `fd`."""
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`, which must still be open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, delay_s: float, call: Callable[[], None]) -> Deadline:
        """Call `call` once, in `delay_s` seconds."""
        deadline = Deadline(time.monotonic() + delay_s, call)
        self._deadlines.append(deadline)
        return deadline

    def cancel(self, deadline: Deadline) -> None:
        """Cancel a deadline, whether or not it has passed."""
        if deadline in self._deadlines:
            self._deadlines.remove(deadline)

    def flush_soon(self, call: Callable[[], None]) -> None:
        """Call `call` after the current events are handled, so that replies are collected and written together."""
        self._flushes.append(call)

    def later(self, call: Callable[[], None]) -> None:
        """Call `call` after the replies are written, for work that no caller waits for."""
        self._later.append(call)

    def close(self) -> None:
        """Close the epoll descriptor."""
        self._epoll.close()

    def run(self) -> None:
        """Handle events until `running` is false."""
        while self.running:
            self.step()

    def step(self) -> None:
        """Wait for the next events, handle them, write the replies, and do the deferred work."""
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
            # A callback may cancel other deadlines.
            if deadline.when <= now and deadline in self._deadlines:
                self._deadlines.remove(deadline)
                deadline.call()
