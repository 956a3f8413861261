"""A mounted file system whose every write is logged, so that the disk can be had as it was at any moment.

qemu-storage-daemon exports an image file over FUSE and appends each write, discard and flush to a log, in the order in
which it got them (the format of the kernel's dm-log-writes). A loop device on that export carries the file system.

What is a valid cut? A disk may lose any write that no completed flush came after, and must keep all others. So the disk
at entry N of the log is: every write up to the last flush before N, and of the writes between that flush and N either
all (a disk without a volatile cache) or any subset. Copying the image file while it is written to is no valid cut: the
copy may hold a late write and lack an early one that was flushed before it.

Something that was acknowledged when the log was S bytes long had its flushes logged before S: it must be found on the
disk at every entry that begins at S or later.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Iterator
    from pathlib import Path

_SECTOR = 512
_MAGIC = 0x6A736677736872
_FLUSH, _FUA, _DISCARD = 1, 2, 4
_TIMEOUT_S = 60.0
_COPY_BYTES = 1 << 20


def missing() -> str:
    """Return what keeps this machine from having such a disk, or "" if nothing does."""
    if os.geteuid() != 0:
        return "only root may mount a file system"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "this kernel has no FUSE or no loop devices"
    return ""


@dataclass(frozen=True, slots=True)
class LoggedDisk:
    """A file system at `place`, and the log of what its disk was given."""

    place: Path
    log: Path
    size_bytes: int

    def position(self) -> int:
        """Return how long the log is by now."""
        return self.log.stat().st_size


@contextmanager
def logged_disk(directory: Path, size_bytes: int, *, place: Path | None = None) -> Generator[LoggedDisk]:
    """Mount an ext4 file system with a log, by default an empty one; afterwards it is unmounted and the log complete.

    If `directory` holds an `image`, for example of a cut, that is mounted.
    """
    names = {name: directory / name for name in ("image", "log", "export", "pid", "place")}
    names["place"] = place or names["place"]
    is_empty = not names["image"].exists()
    for name in ("image", "log", "export"):
        names[name].touch(0o600)
    os.truncate(names["image"], size_bytes)
    names["place"].mkdir(0o700, exist_ok=True)
    with ExitStack() as stack:
        daemon = stack.enter_context(
            process.start(
                [
                    "qemu-storage-daemon",
                    *("--blockdev", f"file,node-name=image,filename={names['image']},discard=unmap"),
                    *("--blockdev", f"file,node-name=log,filename={names['log']}"),
                    *("--blockdev", "blklogwrites,node-name=logged,file=image,log=log,log-sector-size=512"),
                    *("--export", f"fuse,id=export,node-name=logged,mountpoint={names['export']},writable=on"),
                    *("--pidfile", names["pid"]),
                ],
                env={"PATH": os.environ["PATH"]},
            )
        )
        stack.callback(daemon.kill, grace_s=_TIMEOUT_S)
        wait_until(names["pid"].exists, timeout_s=_TIMEOUT_S, what="the logging disk")
        if is_empty:
            _run("mkfs.ext4", "-q", "-F", "-m", "0", names["export"])
        _run("mount", "-o", "loop", names["export"], names["place"])
        stack.callback(_run, "umount", names["place"])
        names["place"].chmod(0o700)
        yield LoggedDisk(names["place"], names["log"], size_bytes)


@dataclass(frozen=True, slots=True)
class Entry:
    """One write, discard or flush of the log, `begin` to `end` in it; `at` is where its data begins."""

    begin: int
    end: int
    flags: int
    offset: int
    length: int
    at: int


class Replay:
    """The disk as it was, later and later. `base` is the image that it began with, if it was not empty."""

    def __init__(self, disk: LoggedDisk, directory: Path, *, base: Path | None = None) -> None:
        self._log = open(disk.log, "rb")  # noqa: SIM115 - closed by close()
        self.entries = list(_entries(self._log.fileno(), disk.position()))
        self._flushed = directory / "flushed"
        if base is None:
            self._flushed.touch(0o600)
        else:
            base.rename(self._flushed)
        os.truncate(self._flushed, disk.size_bytes)
        self._done = 0
        self._directory = directory

    def close(self) -> None:
        """Close the log, and remove what was made of it."""
        self._log.close()
        self._flushed.unlink()

    def cut(self, number: int, choice: random.Random | None) -> Path:
        """Return an image of the disk when the first `number` entries were there; `number` may not go down.

        With `choice`, every write since the last flush is there or not, at random; otherwise all of them are.
        """
        flush = max((n for n in range(number) if self.entries[n].flags & _FLUSH), default=0)
        with open(self._flushed, "r+b") as file:
            for entry in self.entries[self._done : flush]:
                self._apply(entry, file.fileno())
        self._done = max(self._done, flush)
        image = self._directory / "cut"
        copy_disk(self._flushed, image)
        with open(image, "r+b") as file:
            for entry in self.entries[self._done : number]:
                if choice is None or entry.flags & _FUA or choice.random() < 0.5:
                    self._apply(entry, file.fileno())
        return image

    def _apply(self, entry: Entry, fd: int) -> None:
        done = 0
        while done < entry.length:
            count = min(_COPY_BYTES, entry.length - done)
            data = bytes(count) if entry.flags & _DISCARD else os.pread(self._log.fileno(), count, entry.at + done)
            os.pwrite(fd, data, entry.offset + done)
            done += count


def _entries(fd: int, end: int) -> Iterator[Entry]:
    magic, version, _, sector = struct.unpack("<QQQI", os.pread(fd, 28, 0))
    assert (magic, version, sector) == (_MAGIC, 1, _SECTOR)
    begin = _SECTOR
    while begin + _SECTOR <= end:
        first, count, flags, _ = struct.unpack("<QQQQ", os.pread(fd, 32, begin))
        at = begin + _SECTOR
        after = at if flags & _DISCARD else at + count * _SECTOR
        if after > end:
            return
        yield Entry(begin, after, flags, first * _SECTOR, count * _SECTOR, at)
        begin = after


def copy_disk(source: Path, target: Path) -> None:
    """Copy an image, leaving its holes."""
    _run("cp", "--sparse=always", source, target)


def _run(*argv: str | Path) -> None:
    process.run(argv, timeout_s=_TIMEOUT_S)
