"""Write a tar stream: POSIX pax, with ustar headers wherever these suffice.

Sparse files are written like GNU tar's (pax, version 1.0), which any current tar can read. Names and sizes are not
checked. Owners are root. Times are whole seconds, unless the member needs an extended header anyway.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
_ZEROES = bytes(BLOCK_BYTES)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAX_OCTAL = 8**11 - 1
_FILE, _LINK, _SYMLINK, _DIRECTORY, _PAX = b"0", b"1", b"2", b"5", b"x"
_SPECIAL = {stat.S_IFIFO: b"6", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4"}
_MAGIC = b"ustar\x0000"
_ROOT_ID = b"0000000\0"


def padding(size: int) -> bytes:
    """Return the padding that follows content of this size."""
    return _ZEROES[: -size % BLOCK_BYTES]


def directory_header(path: bytes, mode: int, mtime_ns: int) -> bytes:
    """Return the header of a directory; the root of the tree is `./`."""
    return _header(path + b"/" if path else b"./", _DIRECTORY, mode, mtime_ns)


def file_header(path: bytes, mode: int, mtime_ns: int, size: int) -> bytes:
    """Return the header of a file; `size` bytes of content and their padding follow."""
    return _header(path, _FILE, mode, mtime_ns, size=size)


def sparse_header(path: bytes, mode: int, mtime_ns: int, size: int, segments: Sequence[tuple[int, int]]) -> bytes:
    """Return the header of a sparse file; the content of its segments, one after the other, and the padding follow."""
    # An empty last part tells readers that the file ends with a hole.
    parts = [*segments] if segments and sum(segments[-1]) == size else [*segments, (size, 0)]
    listed = b"".join([b"%d\n" % len(parts), *(b"%d\n%d\n" % part for part in parts)])
    listed += padding(len(listed))
    stored = len(listed) + sum(length for _, length in segments)
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": path,
        b"GNU.sparse.realsize": b"%d" % size,
    }
    return _header(path, _FILE, mode, mtime_ns, size=stored, records=records) + listed


def symlink_header(path: bytes, target: bytes, mtime_ns: int) -> bytes:
    """Return the header of a symbolic link."""
    return _header(path, _SYMLINK, 0o777, mtime_ns, target=target)


def link_header(path: bytes, target: bytes, mode: int, mtime_ns: int) -> bytes:
    """Return the header of a hard link to an earlier member."""
    return _header(path, _LINK, mode, mtime_ns, target=target)


def special_header(path: bytes, mode: int, mtime_ns: int) -> bytes:
    """Return the header of a fifo or a device, without device numbers: readers must not create one from it."""
    kind = _SPECIAL.get(stat.S_IFMT(mode), b"6")
    return _header(path, kind, stat.S_IMODE(mode), mtime_ns)


def _header(
    path: bytes,
    kind: bytes,
    mode: int,
    mtime_ns: int,
    *,
    size: int = 0,
    target: bytes = b"",
    records: dict[bytes, bytes] | None = None,
) -> bytes:
    records = dict(records or {})
    seconds = mtime_ns // 1_000_000_000
    if len(path) > 100 and b"GNU.sparse.name" not in records:
        records[b"path"] = path
    if len(target) > 100:
        records[b"linkpath"] = target
    if size > _MAX_OCTAL:
        records[b"size"] = b"%d" % size
    if not 0 <= seconds <= _MAX_OCTAL or records:
        records[b"mtime"] = _time(mtime_ns)
    extended = b""
    if records:
        data = b"".join(_record(key, value) for key, value in records.items())
        extended = _block(b"././@PaxHeader", _PAX, 0o644, 0, len(data), b"") + data + padding(len(data))
    seconds = min(max(seconds, 0), _MAX_OCTAL)
    return extended + _block(path[:100], kind, mode, seconds, min(size, _MAX_OCTAL), target[:100])


def _block(name: bytes, kind: bytes, mode: int, seconds: int, size: int, target: bytes) -> bytes:
    parts = (
        name, b"%07o\0" % mode, _ROOT_ID, _ROOT_ID, b"%011o\0" % size, b"%011o\0" % seconds, b"        ", kind,
        target, _MAGIC, b"root", b"root", _ROOT_ID, _ROOT_ID, b"",
    )  # fmt: skip
    block = _HEADER.pack(*parts)
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE` and a newline; the length includes its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _time(mtime_ns: int) -> bytes:
    sign = b"-" if mtime_ns < 0 else b""
    seconds, fraction = divmod(abs(mtime_ns), 1_000_000_000)
    return b"%b%d.%09d" % (sign, seconds, fraction)


def data_segments(fd: int, size: int, *, most: int) -> tuple[tuple[int, int], ...] | None:
    """Return offset and length of a file's data segments, at most `most` + 1; the last one covers the rest.

    Returns None for a file without holes, and on a file system that can't report them.
    """
    parts: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                break
            return None
        end = size if len(parts) == most else min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if end <= start:
            break
        parts.append((start, end - start))
    return None if parts == [(0, size)] else tuple(parts)
