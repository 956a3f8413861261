"""The last output of a service, in the agent's memory: never on a disk, since it may be secret."""

from __future__ import annotations

import os
import time

from pyro_mcp.guest.processes.process import Pipes
from pyro_mcp.protocol import services
from pyro_mcp.protocol.loop import Loop

_READ_BYTES = 65536
# Output that comes faster than this is collected for so long: each piece would wake the agent, and a flood keep it.
_REST_S = 0.004
# Dropping from the front is done in steps.
_SLACK_BYTES = 256 * 1024
# When the service has ended, no more than the pipes hold is left to read.
_DRAINS = 32


class ServiceLog:
    """The last output of two pipes. `start` and `end` count bytes; output before `start` is gone."""

    def __init__(self, loop: Loop) -> None:
        self.start = 0
        self._loop = loop
        self._kept = bytearray()
        self._open: dict[int, bool] = {}
        self._read_s = 0.0

    @property
    def end(self) -> int:
        """Return how much was written."""
        return self.start + len(self._kept)

    def part(self, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on, as far as they are kept."""
        first = max(start - self.start, 0)
        return bytes(self._kept[first : first + count])

    def follow(self, pipes: Pipes) -> None:
        """Take what comes out of a command's streams from now on."""
        for fd in (pipes.stdout, pipes.stderr):
            self._open[fd] = True
            self._loop.add(fd, lambda mask, fd=fd: self._on_event(fd))  # noqa: ARG005

    def finish(self) -> None:
        """Take what is there, and no more: the pipes are closed after this."""
        for fd in tuple(self._open):
            for _ in range(_DRAINS):
                if not self._read(fd):
                    break
            self._forget(fd)

    def _on_event(self, fd: int) -> None:
        now = time.monotonic()
        is_fast, self._read_s = now - self._read_s < _REST_S, now
        if self._read(fd) and is_fast and fd in self._open:
            self._loop.remove(fd)
            self._open[fd] = False
            self._loop.at(_REST_S, lambda: self._rise(fd))

    def _rise(self, fd: int) -> None:
        # Another service's pipe may have the number by now; that one is not resting here.
        if self._open.get(fd) is False:
            self._open[fd] = True
            self._loop.add(fd, lambda mask: self._on_event(fd))  # noqa: ARG005

    def _read(self, fd: int) -> bool:
        """Take what one read gives; say whether there may be more."""
        if fd not in self._open:
            return False
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._forget(fd)
            return False
        self._kept += data
        surplus = len(self._kept) - services.KEPT_BYTES
        if surplus > _SLACK_BYTES:
            del self._kept[:surplus]
            self.start += surplus
        return True

    def _forget(self, fd: int) -> None:
        if self._open.pop(fd, False):
            self._loop.remove(fd)
