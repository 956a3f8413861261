"""A read lock that keeps SQLite from deleting its log whenever the last process closes the database.

There is one descriptor per database and process, which must not be closed while a connection of this process is open.

When SQLite's last connection closes, it checkpoints and deletes the write-ahead log: two syncs, and a third when the
next process starts a new log, which cost 5 to 12 ms per run, more than the rest of the store together. For that, SQLite
needs an exclusive lock on the database; a shared lock by someone else on the same bytes makes it keep the log, like
SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE (supported by Python only from 3.12 on). Nothing is lost: the log is part of the
database, and is checkpointed every hundred pages as usual.

This is an open file description lock, because SQLite's own (POSIX) locks belong to the process and are lost when *any*
descriptor of the file is closed. For the same reason there is one descriptor, closed after the last connection.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from contextlib import suppress
from pathlib import Path

# The bytes that SQLite locks for reading (src/os.h: SHARED_FIRST, SHARED_SIZE).
_SHARED_FIRST = 0x40000000 + 2
_SHARED_SIZE = 510
_FLOCK = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)

_guard = threading.Lock()
_taken: dict[tuple[int, int], WalAnchor] = {}


class WalAnchor:
    """The lock on one database file, shared by all of this process's connections."""

    def __init__(self, fd: int, identity: tuple[int, int]) -> None:
        self._fd = fd
        self._identity = identity
        self._users = 0

    @classmethod
    def take(cls, path: Path) -> WalAnchor:
        """Open the database at `path`, which must be a non-empty file. `hold` locks it.

        Raises:
            FileNotFoundError: there is none, or it is empty.
            OSError: it can't be opened.
        """
        with _guard:
            found = os.stat(path)
            if found.st_size == 0:
                raise FileNotFoundError(path)
            anchor = _taken.get((found.st_dev, found.st_ino))
            if anchor is None:
                anchor = cls._open(path)
                _taken[anchor._identity] = anchor
            anchor._users += 1
            return anchor

    @classmethod
    def _open(cls, path: Path) -> WalAnchor:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        found = os.fstat(fd)
        return cls(fd, (found.st_dev, found.st_ino))

    def hold(self) -> None:
        """Lock the database. Not before the first read: after a power cut, SQLite needs exclusive access to recover."""
        # Another process may hold it while it creates the database; without the lock, the log is deleted once more.
        with suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK)

    def is_wal(self) -> bool:
        """Return whether the database is in WAL mode, in which readers don't block writers."""
        # File format versions for writing and reading (sqlite.org/fileformat2.html, 1.3.4).
        return os.pread(self._fd, 2, 18) == bytes([2, 2])

    def is_of(self, path: Path) -> bool:
        """Return whether the file at `path` is still the locked one."""
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def release(self) -> None:
        """Unlock and close the file after its last use in this process. The connection must already be closed."""
        with _guard:
            self._users -= 1
            if self._users == 0:
                del _taken[self._identity]
                os.close(self._fd)
