"""The files of a guest, from the host: one method for each task, with its bounds of time and size.

Answers are not trusted: kinds, names, order and amounts are checked, and anything unexpected is a breach of the
protocol.
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
# How long data may stand still or trickle. At the end of an unpacking the guest writes its disk.
STALL_S = 60.0
UNPACK_STALL_S = 90.0
DIFF_STALL_S = 90.0
FREEZE_TIMEOUT_S = tasks.MAX_FREEZE_S + 20.0
#: Of all that one `fetch` brings.
MAX_FETCH_BYTES = 80 * 1024 * 1024
_ROOTS = {Area.WORKSPACE: WORKSPACE, Area.ROOT: "/", Area.GUEST: "/"}
_MAX_MODE = 0o7777
#: The .gitignore files above the tree that a workspace was seeded from: the way from each to the tree, and its text.
RulesAbove: TypeAlias = Sequence[tuple[str, str]]


class GuestFiles:
    """The files of one area of a guest, over an open session. Every method may raise the session's errors too.

    Raises:
        PyroError: NOT_FOUND, INVALID, CONFLICT, PERMISSION, NO_SPACE, each naming the path; UNSUPPORTED for what there
            is no guest for; UNAVAILABLE, TIMEOUT, CANCELLED; GUEST_LOST, PROTOCOL.
    """

    def __init__(
        self, session: AgentSession, *, area: Area = Area.WORKSPACE, cancel: CancelToken | None = None
    ) -> None:
        self._session = session
        self._area = area
        self._cancel = cancel

    def stat(self, path: bytes, *, follow: bool) -> FileEntry:
        """Return what stands at a path; a link itself, unless `follow`."""
        entries: list[FileEntry] = []
        parser = Records(records.listing(entries, limit=1))
        request = self._request(tasks.LIST, "look at a file", path=path, limit=1, alone=True, no_follow=not follow)
        self._run(request, on_data=parser.feed)
        parser.finish()
        if not entries:
            raise breach("nothing said of a file that is there")
        return entries[0]

    def make_directory(self, path: bytes) -> None:
        """Make a directory, and those above it, where they are missing."""
        self._run(self._request(tasks.MKDIR, "make a directory", path=path))

    def move(self, path: bytes, target: bytes) -> None:
        """Rename a file or a directory; a file at `target` is replaced. INVALID (outside) for another disk."""
        self._run(self._request(tasks.MOVE, "move a file", path=path, target=os.fsdecode(target)))

    def remove(self, path: bytes, *, recursive: bool) -> None:
        """Remove a file, or a directory with all that is in it if `recursive`."""
        request = self._request(tasks.REMOVE, "remove a file", timeout_s=DIFF_TIMEOUT_S, path=path, recursive=recursive)
        self._run(request)

    def list(self, path: bytes, *, recursive: bool, limit: int) -> FileListing:
        """List a directory, or all below it, or one file. Links are followed on the way to `path`, and not below it."""
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
                raise breach("more of a file than was asked for")

        request = self._request(
            tasks.READ, "read a file", timeout_s=_patience_s(max_bytes), path=path, max_bytes=max_bytes
        )
        done = self._run(request, on_data=take)
        return FileContent(bytes(data), number(done, "size"), number(done, "mode", most=_MAX_MODE))

    def write(
        self, path: bytes, data: bytes | Readable, *, size: int | None = None, mode: int | None = None
    ) -> Written:
        """Write a file atomically: a reader sees all of it or the previous content, whose mode it keeps without `mode`.

        A file that is read from has to have `size` bytes.
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
        """Return what stands at these paths; those where nothing is, or which a link leads to, are left out."""
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
        """Make all the changes, or none: if one can't be made, that is an error, and nothing has changed."""
        if len(changes) > tasks.MAX_CHANGES:
            raise PyroError(ErrorCode.INVALID, f"{len(changes)} changes at once, of at most {tasks.MAX_CHANGES}")
        request = self._request(tasks.APPLY, "change files", tasks.FINISHES, count=len(changes))
        self._run(request, stdin=_Chunks(_packed(change) for change in changes))

    def pack(
        self, path: bytes, on_data: Callable[[bytes], None], *, rules: RulesAbove = (), include_ignored: bool = True
    ) -> Packed:
        """Send a directory or a file as a tar stream, whose names are relative to it.

        No link is followed. The stream is what `trees.receive` takes; what is in it is for that to check.
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
        """Unpack a tar stream into a directory, made if missing. Names in the stream are replaced, others stay.

        Not atomic. A failure of `chunks` is passed on, and files unpacked by then stay.
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
        """Compare what is at a path with the baseline. Times and owners do not count."""
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
            raise breach("a diff with fewer entries than it lists")
        return TreeDiff(tuple(entries), total, total > len(entries), records.ignored(done))

    @contextmanager
    def frozen(self, *, with_root: bool = False) -> Generator[None]:
        """Hold /workspace still, with all that was written to it on its disk, for up to ten seconds.

        With `with_root` the same for the root file system.

        Raises:
            PyroError: UNSUPPORTED if the agent can't hold the root still; TIMEOUT, after the block, if it was thawed
                before the end of it; CONFLICT if it is frozen already. An exception of the block has priority.
        """
        if with_root and wire.FREEZE_ROOT not in self._session.ready(timeout_s=SMALL_TIMEOUT_S).features:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                "the agent of this guest, which an earlier version started, can't hold its root file system still",
                hint="Stop the workspace first.",
            )
        seen: list[bool] = []
        parser = Records(records.marks(tasks.FROZEN, lambda: seen.append(True)))
        what = "hold the workspace still"
        request = self._request(
            tasks.FREEZE, what, tasks.FREEZES, timeout_s=FREEZE_TIMEOUT_S, **({"with_root": True} if with_root else {})
        )
        with self._session.held_task(
            request, until=lambda: bool(seen), on_data=parser.feed, root=_ROOTS[self._area], cancel=self._cancel
        ):
            yield

    def usage(self) -> Usage:
        """Return how full the disk is."""
        done = self._run(self._request(tasks.USAGE, "look at its disk"))
        return Usage(
            total_bytes=number(done, "total_bytes"),
            used_bytes=number(done, "used_bytes"),
            free_bytes=number(done, "free_bytes"),
            file_count=number(done, "file_count"),
            free_file_count=number(done, "free_file_count"),
        )

    def export_root(self) -> int:
        """Copy the whole root, /workspace included, to the disk in the baseline's slot; return the bytes used there.

        The guest is one that is only looked at; the disk has an empty ext4 file system. Nothing below /run, /proc,
        /sys and /dev is copied.
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
    """Return how long so many bytes may take."""
    return SMALL_TIMEOUT_S + count / _SLOWEST_BYTES_PER_S


def _packed(change: Write | Delete) -> bytes:
    if isinstance(change, Delete):
        return tasks.CHANGE.pack(tasks.CHANGE_DELETE, 0, 0, 0, len(change.path)) + change.path
    mode = change.mode & _MAX_MODE
    header = tasks.CHANGE.pack(tasks.CHANGE_WRITE, change.created, mode, len(change.data), len(change.path))
    return header + change.path + change.data


class _Chunks(io.RawIOBase):
    """Chunks as a file that can be read, without a descriptor."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
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
