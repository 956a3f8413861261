"""Pseudo terminals: making one, keeping the end of its output, and what was typed and not read yet."""

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
# asm-generic/termbits.h: erasing takes away a whole character, however many bytes it has.
_IUTF8 = 0o040000
_PTMX = os.makedev(5, 2)
# A terminal gives so much at once at most.
_READ_BYTES = 4096
_READS = 16
# More than the kernel keeps of what nobody has taken.
_DRAINS = 4
# Output that comes faster than this is collected for so long: each piece would wake the agent.
_REST_S = 0.004
_WRITE_BYTES = 4096
_KEPT_BYTES = shells.KEPT_BYTES + shells.CONTEXT_BYTES
# Dropping from the front is done in steps.
_SLACK_BYTES = 64 * 1024
_BLANK = ord(" ")
# xterm's mode 2004, bracketed paste.
_PASTES_ON, _PASTES_OFF = b"\x1b[?2004h", b"\x1b[?2004l"


def open_controlling_end(name: str, directory: int | None) -> int:
    """Open the controlling end of a new pseudo terminal: `name` in the directory of a terminal file system.

    The workload may have put something else there: nothing but the one device is opened.
    """
    place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(place)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, "no terminals are to be had here")
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    fcntl.ioctl(fd, _TIOCSPTLCK, bytes(4))
    return fd


def name_of(controlling: int) -> str:
    """Return the path at which the workload finds the other end."""
    (number,) = struct.unpack("I", fcntl.ioctl(controlling, _TIOCGPTN, bytes(4)))
    return f"/dev/pts/{number}"


class Terminal:
    """The controlling end of a pseudo terminal, and the last of what came out of it.

    `start` and `end` count bytes since the beginning; output before `start` is gone. `on_output` is called when there
    is more, or when there can be no more.
    """

    def __init__(self, loop: Loop, controlling: int, cols: int, rows: int) -> None:
        self.start = 0
        self.sizes: list[tuple[int, int, int]] = []
        self.output_s = self.input_s = time.monotonic()
        #: Whether a program has asked for pasted text to be marked as such.
        self.takes_pastes = False
        #: Whether more has come out than the echo of what was typed.
        self.has_spoken = False
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
        """Return how much has come out."""
        return self.start + len(self._kept)

    @property
    def readable_start(self) -> int:
        """Return from where on all that came out can be read: from there, what came before is known as well."""
        return self.start + shells.CONTEXT_BYTES if self.start else 0

    @property
    def is_closed(self) -> bool:
        """Say whether nothing can come out any more."""
        return self._fd < 0

    def bytes_between(self, start: int, end: int) -> bytes:
        """Return a part of the output, as far as it is kept."""
        return bytes(self._kept[max(start - self.start, 0) : max(end - self.start, 0)])

    def sizes_for(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return which sizes it had while a part of the output came: from which byte on, columns, rows."""
        first = 0
        for number, (since, _, _) in enumerate(self.sizes):
            if since <= start:
                first = number
        return [size for size in self.sizes[first:] if size[0] <= end]

    def resize(self, cols: int, rows: int) -> None:
        """Change its size; the kernel signals the programs at it."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        if self.sizes and self.sizes[-1][0] == self.end:
            self.sizes.pop()
        self.sizes.append((self.end, cols, rows))
        del self.sizes[: -shells.MAX_SIZES]

    def write(self, data: bytes) -> None:
        """Type. Input that nobody reads yet waits.

        Raises:
            RefusalError: if too much waits already, or nobody is there any more.
        """
        if self._fd < 0:
            raise RefusalError(wire.SHELL_EXITED, "nobody sits at the terminal any more")
        if len(self._pending) + len(data) > shells.MAX_PENDING_BYTES:
            raise RefusalError(wire.SHELL_FULL, "too much was typed that no program has read")
        self.input_s = time.monotonic()
        was_waiting = bool(self._pending)
        self._pending += data
        # A control character is echoed as two.
        self._echo_bytes += len(data) + sum(byte < _BLANK for byte in data) if not self.has_spoken else 0
        if not was_waiting:
            self._type()

    def signal_foreground(self, number: int) -> None:
        """Signal the group of processes in the foreground, if there is one."""
        if self._fd < 0:
            return
        (group,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCGPGRP, bytes(4)))
        if group > 1:
            try:
                send_signal(-group, number)
            except ProcessLookupError:
                return

    def drain(self) -> bool:
        """Take what is there now, without calling `on_output`; return whether there was anything."""
        since = self.end
        for _ in range(_DRAINS):
            if self.is_closed or not self._read():
                break
        return self.end > since

    def close(self) -> None:
        """Hang up: the kernel signals the programs at it."""
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
            self._loop.at(_REST_S, self._rise)
        self._tell()

    def _rise(self) -> None:
        if self._resting:
            self._resting = False
            if not self.is_closed:
                self._loop.add(self._fd, self._on_event, self._mask())

    def _read(self) -> bool:
        """Take what is there, up to a bound; say whether there was anything. A terminal that nobody has is closed."""
        count = 0
        for _ in range(_READS):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # EIO: the last one who had it open is gone.
                data = b""
            if not data:
                self.close()
                break
            count += len(data)
            self._kept += data
        if count:
            self.output_s = time.monotonic()
            self._notice(count)
            if len(self._kept) > _KEPT_BYTES + _SLACK_BYTES:
                surplus = len(self._kept) - _KEPT_BYTES
                del self._kept[:surplus]
                self.start += surplus
        return count > 0

    def _notice(self, count: int) -> None:
        """Look at the last `count` bytes that have come out."""
        self.has_spoken = self.has_spoken or self.end > self._echo_bytes
        since = max(0, len(self._kept) - count - len(_PASTES_ON) + 1)
        on, off = self._kept.rfind(_PASTES_ON, since), self._kept.rfind(_PASTES_OFF, since)
        if on != off:
            self.takes_pastes = on > off

    def _tell(self) -> None:
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
