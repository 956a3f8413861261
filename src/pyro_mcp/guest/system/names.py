"""Set the identity of a guest: names, clock, random numbers.

The files with the names are on the root disk. A new disk gets them from the host; a used disk keeps its own, including
the user's changes, and only missing ones are added.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import struct
import time
from contextlib import suppress
from typing import cast

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import Document

_FILES = ("hostname", "hosts", "machine-id", "resolv.conf")
# linux/random.h
_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_NO_ID = b"0" * 32
_HOSTS = b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 "
# As long as the names given by the host, so that naming a guest changes no file size.
_UNNAMED = b"guest-noname"
_HOSTNAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_MACHINE_ID = re.compile(rb"[0-9a-f]{32}\n?")
# The extended attribute with the content we wrote to resolv.conf: any other content is the user's.
_WRITTEN = "trusted.pyro"
_MOST_BYTES = 65536


class Names:
    """The guest's names. On a new root disk, their files are already opened in the template, and filled in later."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._random = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
        self.forget()

    def place(self, root: str) -> None:
        """Create the files in /etc of a new root, with placeholder names."""
        etc = _open_etc(root)
        for name in _FILES:
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(name, dir_fd=etc, follow_symlinks=False).st_mode):
                    # For example, a link to a resolver's file in /run.
                    os.unlink(name, dir_fd=etc)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._files[name] = os.open(name, flags, 0o644, dir_fd=etc)
            self._sizes[name] = 0
        os.close(etc)
        os.setxattr(self._files["resolv.conf"], _WRITTEN, b"")
        self.forget()

    def reseed(self, entropy: bytes) -> None:
        """Add entropy that only this guest was given, and make the kernel use it from the next random number on.

        Without the reseed, all clones of a template would have the same random numbers for up to a minute.
        """
        fcntl.ioctl(self._random, _RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(self._random, _RNDRESEEDCRNG)

    def become(self, hostname: bytes, machine_id: bytes, resolvers: list[str]) -> None:
        """Name a guest with a new root disk. Without `resolvers` there is no name resolution."""
        socket.sethostname(hostname.decode("ascii"))
        self._fill_in(hostname, machine_id)
        if resolvers:
            content = _resolv_conf(resolvers)
            self._write("resolv.conf", content)
            os.setxattr(self._files["resolv.conf"], _WRITTEN, content)

    def forget(self) -> None:
        """Restore the placeholder names, after a rehearsal has set others."""
        socket.sethostname(_UNNAMED.decode())
        if self._files:
            self._fill_in(_UNNAMED, _NO_ID)

    def adopt(self, root: str, hostname: bytes, machine_id: bytes, resolvers: list[str]) -> None:
        """Use the names on a used root disk, and add missing ones."""
        etc = _open_etc(root)
        found, _ = _read(etc, "hostname")
        line = found.split(b"\n", 1)[0].strip()
        if _HOSTNAME.fullmatch(line):
            hostname = line
        else:
            _add(etc, "hostname", hostname + b"\n")
        socket.sethostname(hostname.decode("ascii"))
        if not _read(etc, "hosts")[0]:
            _add(etc, "hosts", _HOSTS + hostname + b"\n")
        if not _MACHINE_ID.fullmatch(_read(etc, "machine-id")[0]):
            _add(etc, "machine-id", machine_id + b"\n")
        found, written = _read(etc, "resolv.conf")
        content = _resolv_conf(resolvers)
        if found == written and found != content:
            _add(etc, "resolv.conf", content, written=content)
        os.close(etc)

    def close(self) -> None:
        """Close the files, which would keep the root disk from being unmounted."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _fill_in(self, hostname: bytes, machine_id: bytes) -> None:
        self._write("hostname", hostname + b"\n")
        self._write("hosts", _HOSTS + hostname + b"\n")
        self._write("machine-id", machine_id + b"\n")

    def _write(self, name: str, data: bytes) -> None:
        fd = self._files[name]
        os.pwrite(fd, data, 0)
        if len(data) != self._sizes[name]:
            os.ftruncate(fd, len(data))
            self._sizes[name] = len(data)


def _resolv_conf(addresses: list[str]) -> bytes:
    return "".join(f"nameserver {address}\n" for address in addresses).encode()


def _open_etc(root: str) -> int:
    """Open /etc of an environment. The workload may have replaced it by a link, which is resolved inside."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileExistsError):
            os.mkdir("etc", 0o755, dir_fd=top)
        return syscalls.openat2(top, b"etc", os.O_RDONLY | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    finally:
        os.close(top)


def _read(etc: int, name: str) -> tuple[bytes, bytes]:
    """Return a file's content, and the content that we wrote; anything but a regular file counts as the user's."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=etc)
    except FileNotFoundError:
        return b"", b""
    except OSError:
        return b"\0", b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b"\0", b""
        try:
            written = os.getxattr(fd, _WRITTEN)
        except OSError:
            written = b"\0"
        return os.read(fd, _MOST_BYTES), written
    finally:
        os.close(fd)


def _add(etc: int, name: str, content: bytes, *, written: bytes | None = None) -> None:
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=etc)
    except OSError:
        # A link or a directory, so the user's own.
        return
    try:
        os.write(fd, content)
        if written is not None:
            os.setxattr(fd, _WRITTEN, written)
    finally:
        os.close(fd)


def set_clock(clock_ns: int) -> None:
    """Set the clock to `clock_ns` nanoseconds since the epoch."""
    time.clock_settime_ns(time.CLOCK_REALTIME, clock_ns)


def text_of(document: Document, name: str) -> str:
    """Return a text field of a request."""
    value = document.get(name)
    if not isinstance(value, str):
        raise RefusalError(wire.BAD_REQUEST, f"{name} is not a string")
    return value


def texts_of(document: Document, name: str) -> list[str]:
    """Return a field of a request that is a list of strings, by default an empty one."""
    value = cast("list[object]", document.get(name) or [])
    if type(value) is not list or not all(isinstance(item, str) for item in value):
        raise RefusalError(wire.BAD_REQUEST, f"{name} is not a list of strings")
    return cast("list[str]", value)
