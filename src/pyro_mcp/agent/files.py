"""Access a guest's files from the host: one method per task, with its limits of time and size.

Answers are not trusted: kinds, names, order and sizes are checked, and anything unexpected is a protocol violation.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeAlias

from pyro_mcp.agent import records
from pyro_mcp.agent.answers import flag, number
from pyro_mcp.agent.cancel import CancelToken
from pyro_mcp.agent.exchange import Input, Readable
from pyro_mcp.agent.file_values import (
    Area,
    Delete,
    DiffBounds,
    DiffEntry,
    Fetched,
    FileContent,
    FileEntry,
    FileListing,
    Packed,
    TreeDiff,
    Unpacked,
    Usage,
    Write,
    Written,
)
from pyro_mcp.agent.messages import TaskRequest, breach
from pyro_mcp.agent.records import Records
from pyro_mcp.agent.session import AgentSession
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import WORKSPACE

SMALL_TIMEOUT_S = 30.0
DIFF_TIMEOUT_S = 300.0
STREAM_TIMEOUT_S = 3600.0
_SLOWEST_BYTES_PER_S = 512 * 1024
# How long a transfer may make no progress. At the end of unpacking, the guest flushes its disk.
STALL_S = 60.0
UNPACK_STALL_S = 90.0
DIFF_STALL_S = 90.0
FREEZE_TIMEOUT_S = tasks.MAX_FREEZE_S + 20.0
#: The limit for the contents returned by one `fetch`.
MAX_FETCH_BYTES = 80 * 1024 * 1024
_ROOTS = {Area.WORKSPACE: WORKSPACE, Area.ROOT: "/", Area.GUEST: "/"}
_MAX_MODE = 0o7777
#: The .gitignore files above the tree that a workspace was seeded from: the path from each to the tree, and its text.
RulesAbove: TypeAlias = Sequence[tuple[str, str]]


class GuestFiles:
    """The files of one area of a guest, over an open session. Every method may raise the session's errors as well.

    Raises:
        PyroError: NOT_FOUND, INVALID, CONFLICT, PERMISSION, NO_SPACE, each naming the path; UNSUPPORTED for operations
            that require a VM; UNAVAILABLE, TIMEOUT, CANCELLED; GUEST_LOST, PROTOCOL.
    """

    def __init__(
        self, session: AgentSession, *, area: Area = Area.WORKSPACE, cancel: CancelToken | None = None
    ) -> None:
        self._session = session
        self._area = area
        self._cancel = cancel

    def stat(self, path: bytes, *, follow: bool) -> FileEntry:
        """Return the entry at a path; without `follow`, a link itself."""
        entries: list[FileEntry] = []
        parser = Records(records.listing(entries, limit=1))
        request = self._request(tasks.LIST, "examine a file", path=path, limit=1, alone=True, no_follow=not follow)
        self._run(request, on_data=parser.feed)
        parser.finish()
        if not entries:
            raise breach("no entry for an existing file")
        return entries[0]

    def make_directory(self, path: bytes) -> None:
        """Create a directory and its missing parents."""
        self._run(self._request(tasks.MKDIR, "create a directory", path=path))

    def move(self, path: bytes, target: bytes) -> None:
        """Rename a file or directory, replacing a file at `target`. Across disks this is INVALID ("leads outside")."""
        self._run(self._request(tasks.MOVE, "move a file", path=path, target=os.fsdecode(target)))

    def remove(self, path: bytes, *, recursive: bool) -> None:
        """Remove a file or, if `recursive`, a directory with its contents."""
        request = self._request(tasks.REMOVE, "remove a file", timeout_s=DIFF_TIMEOUT_S, path=path, recursive=recursive)
        self._run(request)

    def list(self, path: bytes, *, recursive: bool, limit: int) -> FileListing:
        """List a directory, everything below it, or one file. Links in `path` are followed, links below it are not."""
        entries: list[FileEntry] = []
        parser = Records(records.listing(entries, limit=limit))
        request = self._request(tasks.LIST, "list files", path=path, recursive=recursive, limit=limit)
        done = self._run(request, on_data=parser.feed)
        parser.finish()
        return FileListing(tuple(entries), flag(done, "truncated"))

    def read(self, path: bytes, *, max_bytes: int) -> FileContent:
        """Read the beginning of a regular file."""
        data = bytearray()

        def take(more: bytes) -> None:
            data.extend(more)
            if len(data) > max_bytes:
                raise breach("more of a file than was requested")

        request = self._request(
            tasks.READ, "read a file", timeout_s=_patience_s(max_bytes), path=path, max_bytes=max_bytes
        )
        done = self._run(request, on_data=take)
        return FileContent(bytes(data), number(done, "size"), number(done, "mode", most=_MAX_MODE))

    def write(
        self, path: bytes, data: bytes | Readable, *, size: int | None = None, mode: int | None = None
    ) -> Written:
        """Write a file atomically. Without `mode`, an existing file's mode is kept.

        `size` is required if `data` is a file, and must be the number of bytes to read from it.
        """
        count = len(data) if isinstance(data, bytes) else size or 0
        request = self._request(
            tasks.WRITE,
            "write a file",
            tasks.FINISHES,
            timeout_s=_patience_s(count),
            path=path,
            size=count,
            mode=mode,
        )
        done = self._run(request, stdin=data)
        return Written(number(done, "size"), number(done, "mode", most=_MAX_MODE), flag(done, "created"))

    def fetch(self, paths: Sequence[bytes], *, max_file_bytes: int) -> dict[bytes, Fetched]:
        """Return the entries at these paths, omitting paths that don't exist or lead through a link."""
        found: dict[bytes, Fetched] = {}
        parser = Records(records.fetched(paths, found, max_file_bytes=max_file_bytes, max_total_bytes=MAX_FETCH_BYTES))
        names = b"".join(tasks.NAME.pack(len(path)) + path for path in paths)
        request = self._request(
            tasks.FETCH,
            "read files",
            count=len(paths),
            max_file_bytes=max_file_bytes,
            max_total_bytes=MAX_FETCH_BYTES,
        )
        self._run(request, stdin=names, on_data=parser.feed)
        parser.finish()
        return found

    def apply(self, changes: Sequence[Write | Delete]) -> None:
        """Apply all changes or, if one fails, none."""
        if len(changes) > tasks.MAX_CHANGES:
            raise PyroError(ErrorCode.INVALID, f"{len(changes)} changes at once, but the limit is {tasks.MAX_CHANGES}")
        request = self._request(tasks.APPLY, "change files", tasks.FINISHES, count=len(changes))
        self._run(request, stdin=_Chunks(_packed(change) for change in changes))

    def pack(
        self, path: bytes, on_data: Callable[[bytes], None], *, rules: RulesAbove = (), include_ignored: bool = True
    ) -> Packed:
        """Receive a directory or file as a tar stream with names relative to it.

        No link is followed. The stream is not validated here: `trees.receive` does that.
        """
        request = self._request(
            tasks.PACK,
            "pack files",
            timeout_s=STREAM_TIMEOUT_S,
            stall_s=STALL_S,
            path=path,
            rules=[list(each) for each in rules],
            include_ignored=include_ignored,
        )
        done = self._run(request, on_data=on_data)
        return Packed(number(done, "entries"), records.ignored(done))

    def unpack(self, dest: bytes, chunks: Iterable[bytes]) -> Unpacked:
        """Unpack a tar stream into a directory, created if missing. Names in the stream are replaced, others stay.

        Not atomic. An exception from `chunks` is propagated, and the files unpacked so far stay.
        """
        request = self._request(
            tasks.UNPACK, "unpack files", timeout_s=STREAM_TIMEOUT_S, stall_s=UNPACK_STALL_S, path=dest
        )
        done = self._run(request, stdin=_Chunks(chunks))
        return Unpacked(number(done, "entries"), number(done, "bytes"))

    def diff(
        self,
        bounds: DiffBounds,
        path: bytes = b"",
        *,
        rules: RulesAbove = (),
        include_ignored: bool = False,
        include_binary: bool = False,
    ) -> TreeDiff:
        """Compare a path with the baseline, ignoring times and owners."""
        entries: list[DiffEntry] = []
        parser = Records(records.differences(entries, bounds))
        request = self._request(
            tasks.DIFF,
            "compare the workspace with its baseline",
            timeout_s=DIFF_TIMEOUT_S,
            stall_s=DIFF_STALL_S,
            path=path,
            rules=[list(each) for each in rules],
            include_ignored=include_ignored,
            include_binary=include_binary,
            **asdict(bounds),
        )
        done = self._run(request, on_data=parser.feed)
        parser.finish()
        entries.sort(key=lambda each: each.path)
        total = number(done, "total")
        if total < len(entries):
            raise breach("a diff that lists more entries than its total")
        return TreeDiff(tuple(entries), total, total > len(entries), records.ignored(done))

    @contextmanager
    def frozen(self, *, with_root: bool = False) -> Generator[None]:
        """Flush and freeze /workspace, and with `with_root` the root file system, for up to ten seconds.

        Raises:
            PyroError: UNSUPPORTED if the agent can't freeze the root; CONFLICT if it is already frozen; TIMEOUT, after
                the block, if it was thawed before the end. An exception from the block takes precedence.
        """
        if with_root and wire.FREEZE_ROOT not in self._session.ready(timeout_s=SMALL_TIMEOUT_S).features:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                "this guest was started by an earlier version, whose agent can't freeze the root file system",
                hint="Stop the workspace first.",
            )
        seen: list[bool] = []
        parser = Records(records.marks(tasks.FROZEN, lambda: seen.append(True)))
        what = "freeze the workspace"
        request = self._request(
            tasks.FREEZE, what, tasks.FREEZES, timeout_s=FREEZE_TIMEOUT_S, **({"with_root": True} if with_root else {})
        )
        with self._session.held_task(
            request, until=lambda: bool(seen), on_data=parser.feed, root=_ROOTS[self._area], cancel=self._cancel
        ):
            yield

    def usage(self) -> Usage:
        """Return the usage of the disk."""
        done = self._run(self._request(tasks.USAGE, "report its disk usage"))
        return Usage(
            total_bytes=number(done, "total_bytes"),
            used_bytes=number(done, "used_bytes"),
            free_bytes=number(done, "free_bytes"),
            file_count=number(done, "file_count"),
            free_file_count=number(done, "free_file_count"),
        )

    def export_root(self) -> int:
        """Copy the whole root, including /workspace, to the disk in the baseline's slot; return the bytes used there.

        The guest must be one that is being inspected, and the disk must have an empty ext4 file system. The contents of
        /run, /proc, /sys and /dev are not copied.
        """
        request = self._request(tasks.EXPORT, "copy its root", timeout_s=STREAM_TIMEOUT_S)
        return number(self._run(request), "bytes")

    def _request(
        self,
        name: str,
        what: str,
        flags: int = 0,
        *,
        timeout_s: float | None = None,
        stall_s: float | None = None,
        **fields: object,
    ) -> TaskRequest:
        path = fields.get("path")
        if isinstance(path, bytes):
            fields["path"] = os.fsdecode(path)
        return TaskRequest(
            name,
            what,
            SMALL_TIMEOUT_S if timeout_s is None else timeout_s,
            {"area": self._area.value, **fields},
            flags,
            stall_s,
        )

    def _run(
        self, request: TaskRequest, *, stdin: Input = None, on_data: Callable[[bytes], None] | None = None
    ) -> Document:
        return self._session.task(request, stdin=stdin, on_data=on_data, root=_ROOTS[self._area], cancel=self._cancel)


def _patience_s(count: int) -> float:
    """Return the timeout for transferring `count` bytes."""
    return SMALL_TIMEOUT_S + count / _SLOWEST_BYTES_PER_S


def _packed(change: Write | Delete) -> bytes:
    if isinstance(change, Delete):
        return tasks.CHANGE.pack(tasks.CHANGE_DELETE, 0, 0, 0, len(change.path)) + change.path
    mode = change.mode & _MAX_MODE
    header = tasks.CHANGE.pack(tasks.CHANGE_WRITE, change.created, mode, len(change.data), len(change.path))
    return header + change.path + change.data


class _Chunks(io.RawIOBase):
    """A readable file of chunks, without a descriptor."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, b"" at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        part = bytes(self._rest[:size])
        self._rest = self._rest[len(part) :]
        return part
