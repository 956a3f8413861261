"""Keep the end of a service's output in the agent's memory. It may be secret, so it is never written to a disk."""

from __future__ import annotations

import os
import time

from pyro_mcp.guest.processes.process import Pipes
from pyro_mcp.protocol import services
from pyro_mcp.protocol.loop import Loop

_READ_BYTES = 65536
# Output that arrives faster than this is collected for this long: otherwise each piece would wake the agent, and a
# flood would keep it busy.
_REST_S = 0.004
# Old output is dropped in steps of at least this size.
_SLACK_BYTES = 256 * 1024
# When the service has ended, no more than the capacity of the pipes is left to read.
_DRAINS = 32


class ServiceLog:
    """The end of the output of two pipes. `start` and `end` are byte offsets; output before `start` was dropped."""

    def __init__(self, loop: Loop) -> None:
        self.start = 0
        self._loop = loop
        self._kept = bytearray()
        self._open: dict[int, bool] = {}
        self._read_s = 0.0

    @property
    def end(self) -> int:
        """Return the total number of bytes written so far."""
        return self.start + len(self._kept)

    def part(self, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on, as far as they are still kept."""
        first = max(start - self.start, 0)
        return bytes(self._kept[first : first + count])

    def follow(self, pipes: Pipes) -> None:
        """Record the output of a command from now on."""
        for fd in (pipes.stdout, pipes.stderr):
            self._open[fd] = True
            self._loop.add(fd, lambda mask, fd=fd: self._on_event(fd))  # noqa: ARG005

    def finish(self) -> None:
        """Read the remaining output, then stop. The caller may close the pipes afterwards."""
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
            self._loop.at(_REST_S, lambda: self._end_rest(fd))

    def _end_rest(self, fd: int) -> None:
        # The number may belong to another service's pipe by now.
        if self._open.get(fd) is False:
            self._open[fd] = True
            self._loop.add(fd, lambda mask: self._on_event(fd))  # noqa: ARG005

    def _read(self, fd: int) -> bool:
        """Read once; return whether there may be more."""
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
