"""What makes one guest different from every other: names, clock, random numbers.

Owns the files that say so, which lie in the agent's memory and are mounted into the environment, and the kernel's
random state. Refuses to run before `configure`: a template has none of it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.protocol import wire

if TYPE_CHECKING:
    from pyro_mcp.protocol.documents import Document

FILES = "/run/names"
BOUND_FILES = ("hostname", "hosts", "machine-id", "resolv.conf")

# linux/random.h
_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_MAPPED_BYTES = mmap.PAGESIZE
_NO_ID = b"0" * 32
_HOSTS = b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 "
# As long as the names that the host gives, so that those fit where it was.
_UNNAMED = b"guest-noname"


class Names:
    """The guest's names. Their files are mapped from the template on, so that naming a guest is copying a few bytes."""

    def __init__(self) -> None:
        os.mkdir(FILES, 0o755)
        self._files = {name: MappedFile(f"{FILES}/{name}") for name in BOUND_FILES}
        self._random = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
        self.forget()

    def forget(self) -> None:
        """Be nobody in particular."""
        self.set_hostname(_UNNAMED)
        self.set_machine_id(_NO_ID)
        self.set_resolvers([])

    def reseed(self, entropy: bytes) -> None:
        """Mix in what only this guest was given, and have the kernel use it from the next number on.

        Adding alone leaves all clones of a template with the same numbers for up to a minute.
        """
        fcntl.ioctl(self._random, _RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(self._random, _RNDRESEEDCRNG)

    def set_hostname(self, name: bytes) -> None:
        """Set the host's name, and let it resolve to the guest itself."""
        socket.sethostname(name.decode("ascii"))
        self._files["hostname"].write(name + b"\n")
        self._files["hosts"].write(_HOSTS + name + b"\n")

    def set_machine_id(self, machine_id: bytes) -> None:
        """Set /etc/machine-id: 32 hexadecimal digits."""
        self._files["machine-id"].write(machine_id + b"\n")

    def set_resolvers(self, addresses: list[str]) -> None:
        """Set the addresses of the name servers, none for no name service."""
        self._files["resolv.conf"].write("".join(f"nameserver {address}\n" for address in addresses).encode())


class MappedFile:
    """A small file in memory. A text as long as the one before is written without asking the kernel."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = 0
        # The mapping has to be as long as anything that is written through it; what is beyond the file is not touched.
        os.ftruncate(self._fd, _MAPPED_BYTES)
        self._map = mmap.mmap(self._fd, _MAPPED_BYTES)
        os.ftruncate(self._fd, 0)

    def write(self, data: bytes) -> None:
        """Make `data` the file's content."""
        size = len(data)
        if size == self._size:
            self._map[:size] = data
            return
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, data, 0)
        # Only what fits into the mapping can be written through it later; the first time costs a page fault, now.
        self._size = size if size <= _MAPPED_BYTES else -1
        if self._size > 0:
            self._map[:size] = data


def set_clock(clock_ns: int) -> None:
    """Set the clock to so many nanoseconds since the epoch."""
    time.clock_settime_ns(time.CLOCK_REALTIME, clock_ns)


def text_of(document: Document, name: str) -> str:
    """Return a text field of a request."""
    value = document.get(name)
    if not isinstance(value, str):
        raise RefusalError(wire.BAD_REQUEST, f"{name} is not a text")
    return value


def texts_of(document: Document, name: str) -> list[str]:
    """Return a field of a request that is a list of texts; none is an empty one."""
    value = cast("list[object]", document.get(name) or [])
    if type(value) is not list or not all(isinstance(item, str) for item in value):
        raise RefusalError(wire.BAD_REQUEST, f"{name} is not a list of texts")
    return cast("list[str]", value)
