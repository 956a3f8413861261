"""Pseudoterminals: open one, keep the end of its output, and queue input that has not been read yet."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
import time
from collections.abc import Callable

from pyro_mcp.guest.processes.spawner import send_signal
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import shells, wire
from pyro_mcp.protocol.loop import READABLE, WRITABLE, Loop

# asm-generic/ioctls.h
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
# asm-generic/termbits.h: erase deletes a whole character, however many bytes it has.
_IUTF8 = 0o040000
_PTMX = os.makedev(5, 2)
# The maximum that a terminal returns per read.
_READ_BYTES = 4096
_READS = 16
# More than the kernel buffers of unread output.
_DRAINS = 4
# Output that arrives faster than this is collected for this long: otherwise each piece would wake the agent.
_REST_S = 0.004
_WRITE_BYTES = 4096
_KEPT_BYTES = shells.KEPT_BYTES + shells.CONTEXT_BYTES
# Old output is dropped in steps of at least this size.
_SLACK_BYTES = 64 * 1024
_BLANK = ord(" ")
# xterm's mode 2004, bracketed paste.
_PASTES_ON, _PASTES_OFF = b"\x1b[?2004h", b"\x1b[?2004l"


def open_controlling_end(name: str, directory: int | None) -> int:
    """Open the controlling end of a new pseudoterminal: `name` in the directory of a devpts file system.

    The workload may have replaced it, so anything but the ptmx device is rejected.
    """
    place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(place)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, "not a ptmx device")
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    fcntl.ioctl(fd, _TIOCSPTLCK, bytes(4))
    return fd


def name_of(controlling: int) -> str:
    """Return the path of the other end, as the workload sees it."""
    (number,) = struct.unpack("I", fcntl.ioctl(controlling, _TIOCGPTN, bytes(4)))
    return f"/dev/pts/{number}"


class Terminal:
    """The controlling end of a pseudoterminal, and the end of its output.

    `start` and `end` are byte offsets since the beginning; output before `start` was dropped. `on_output` is called
    when there is new output, and when the terminal is closed.
    """

    def __init__(self, loop: Loop, controlling: int, cols: int, rows: int) -> None:
        self.start = 0
        self.sizes: list[tuple[int, int, int]] = []
        self.output_s = self.input_s = time.monotonic()
        #: Whether a program has enabled bracketed paste.
        self.takes_pastes = False
        #: Whether there was any output besides the echo of the input.
        self.has_output = False
        self._echo_bytes = 0
        self.on_output: Callable[[], None] | None = None
        self._loop = loop
        self._fd = controlling
        self._kept = bytearray()
        self._pending = bytearray()
        self._resting = False
        attributes = termios.tcgetattr(controlling)
        attributes[0] |= _IUTF8
        termios.tcsetattr(controlling, termios.TCSANOW, attributes)
        self.resize(cols, rows)
        loop.add(controlling, self._on_event)

    @property
    def end(self) -> int:
        """Return the total number of bytes of output so far."""
        return self.start + len(self._kept)

    @property
    def readable_start(self) -> int:
        """Return the offset from which output can be read together with its full context."""
        return self.start + shells.CONTEXT_BYTES if self.start else 0

    @property
    def is_closed(self) -> bool:
        """Return whether there can be no more output."""
        return self._fd < 0

    def bytes_between(self, start: int, end: int) -> bytes:
        """Return a range of the output, as far as it is still kept."""
        return bytes(self._kept[max(start - self.start, 0) : max(end - self.start, 0)])

    def sizes_for(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return the sizes in effect during a range of the output, each as (first byte, columns, rows)."""
        first = 0
        for number, (since, _, _) in enumerate(self.sizes):
            if since <= start:
                first = number
        return [size for size in self.sizes[first:] if size[0] <= end]

    def resize(self, cols: int, rows: int) -> None:
        """Change the size; the kernel sends SIGWINCH to the foreground processes."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        if self.sizes and self.sizes[-1][0] == self.end:
            self.sizes.pop()
        self.sizes.append((self.end, cols, rows))
        del self.sizes[: -shells.MAX_SIZES]

    def write(self, data: bytes) -> None:
        """Send input. Input that no program reads yet is queued.

        Raises:
            RefusalError: if too much is queued, or the terminal is closed.
        """
        if self._fd < 0:
            raise RefusalError(wire.SHELL_EXITED, "the terminal is closed")
        if len(self._pending) + len(data) > shells.MAX_PENDING_BYTES:
            raise RefusalError(wire.SHELL_FULL, "too much unread input")
        self.input_s = time.monotonic()
        was_waiting = bool(self._pending)
        self._pending += data
        # A control character is echoed as two characters.
        self._echo_bytes += len(data) + sum(byte < _BLANK for byte in data) if not self.has_output else 0
        if not was_waiting:
            self._type()

    def signal_foreground(self, number: int) -> None:
        """Signal the foreground process group, if there is one."""
        if self._fd < 0:
            return
        (group,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCGPGRP, bytes(4)))
        if group > 1:
            try:
                send_signal(-group, number)
            except ProcessLookupError:
                return

    def drain(self) -> bool:
        """Read the available output without calling `on_output`; return whether there was any."""
        since = self.end
        for _ in range(_DRAINS):
            if self.is_closed or not self._read():
                break
        return self.end > since

    def close(self) -> None:
        """Hang up; the kernel sends SIGHUP to the processes of the terminal."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            if not self._resting:
                self._loop.remove(fd)
            os.close(fd)
            self._pending.clear()

    def _on_event(self, mask: int) -> None:
        if mask & WRITABLE:
            self._type()
        if self.is_closed or not mask & ~WRITABLE:
            return
        is_fast = time.monotonic() - self.output_s < _REST_S
        if self._read() and is_fast and not self.is_closed:
            self._resting = True
            self._loop.remove(self._fd)
            self._loop.at(_REST_S, self._end_rest)
        self._notify()

    def _end_rest(self) -> None:
        if self._resting:
            self._resting = False
            if not self.is_closed:
                self._loop.add(self._fd, self._on_event, self._mask())

    def _read(self) -> bool:
        """Read available output, up to a limit; return whether there was any. Close the terminal at its end."""
        count = 0
        for _ in range(_READS):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # EIO: no process has the other end open.
                data = b""
            if not data:
                self.close()
                break
            count += len(data)
            self._kept += data
        if count:
            self.output_s = time.monotonic()
            self._scan(count)
            if len(self._kept) > _KEPT_BYTES + _SLACK_BYTES:
                surplus = len(self._kept) - _KEPT_BYTES
                del self._kept[:surplus]
                self.start += surplus
        return count > 0

    def _scan(self, count: int) -> None:
        """Update `has_output` and `takes_pastes` from the last `count` bytes of output."""
        self.has_output = self.has_output or self.end > self._echo_bytes
        since = max(0, len(self._kept) - count - len(_PASTES_ON) + 1)
        on, off = self._kept.rfind(_PASTES_ON, since), self._kept.rfind(_PASTES_OFF, since)
        if on != off:
            self.takes_pastes = on > off

    def _notify(self) -> None:
        if self.on_output is not None:
            self.on_output()

    def _type(self) -> None:
        had = bool(self._pending)
        try:
            while self._pending:
                count = os.write(self._fd, self._pending[:_WRITE_BYTES])
                del self._pending[:count]
        except BlockingIOError:
            pass
        except OSError:
            self._pending.clear()
        if had and not self._resting and not self.is_closed:
            self._loop.change(self._fd, self._mask())

    def _mask(self) -> int:
        return READABLE | WRITABLE if self._pending else READABLE
