"""Write an initramfs archive in cpio's "newc" format.

The output is reproducible: sorted, owned by root, time zero. It is not compressed: the kernel unpacks an uncompressed
archive fastest, and the page cache is shared by all guests.

The format is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from pyro_mcp.errors import ErrorCode, PyroError

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_MAX_FILE_BYTES = 0xFFFFFFFF
# Boot loaders and the kernel expect an initramfs to end on a block boundary.
_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: a directory, file, symbolic link or device node, owned by root."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, mode: int = 0o755) -> Entry:
    """Return a directory entry."""
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """Return a regular file entry."""
    return Entry(path, stat.S_IFREG | mode, data)


def symlink(path: str, target: str) -> Entry:
    """Return a symbolic link entry."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """Return a character device entry. Writing it to an archive needs no privileges."""
    return Entry(path, stat.S_IFCHR | mode, device=(major, minor))


def write_archive(out: BinaryIO, entries: Iterable[Entry]) -> int:
    """Write `entries`, sorted, with their parent directories, and return the size in bytes.

    Raises:
        PyroError: INVALID for a path that is absolute, contains `..` or occurs twice, or a file over 4 GiB.
    """
    written = 0
    for number, entry in enumerate(_complete(entries), start=1):
        written += _write_entry(out, entry, number)
    written += _write_entry(out, Entry(_TRAILER, 0), 0)
    padding = -written % _BLOCK_BYTES
    out.write(bytes(padding))
    return written + padding


def _complete(entries: Iterable[Entry]) -> list[Entry]:
    by_path: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.path.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in entry.path:
            raise PyroError(ErrorCode.INVALID, f"{entry.path!r} can't be a member of an initramfs")
        if entry.path in by_path:
            raise PyroError(ErrorCode.INVALID, f"{entry.path!r} is twice in the initramfs")
        if len(entry.data) > _MAX_FILE_BYTES:
            raise PyroError(ErrorCode.INVALID, f"{entry.path!r} is too big for an initramfs")
        by_path[entry.path] = entry
    for path in tuple(by_path):
        for index, character in enumerate(path):
            if character == "/":
                by_path.setdefault(path[:index], directory(path[:index]))
    # By components, so that a directory always precedes its contents.
    return sorted(by_path.values(), key=lambda entry: entry.path.split("/"))


def _write_entry(out: BinaryIO, entry: Entry, number: int) -> int:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number,
        entry.mode,
        0,  # uid
        0,  # gid
        links,
        0,  # mtime
        len(entry.data),
        0,  # the device that the file itself is on
        0,
        *entry.device,
        len(name),
        0,  # check: used by another variant of the format only
    )
    header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    header += bytes(-len(header) % 4)
    padding = bytes(-len(entry.data) % 4)
    out.write(header)
    out.write(entry.data)
    out.write(padding)
    return len(header) + len(entry.data) + len(padding)
