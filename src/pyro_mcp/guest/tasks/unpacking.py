"""Unpack a tar stream into a directory: the task UNPACK.

Existing files with names in the stream are replaced, others stay. Below the directory no link is followed, and a file
never replaces a directory or vice versa.
"""

from __future__ import annotations

import os
import stat

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, Area
from pyro_mcp.guest.tasks.contents import state_of
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.streams import READ_BYTES, STDIN, widen, write_all
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import NameRefusedError, clean_name, join, parent_of
from pyro_mcp.protocol.tar_reader import Member, MemberKind, Piece, TarDecoder, TarError

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_ATTEMPTS = 20
_KEPT_MODE = 0o777
_ENTERABLE = 0o700
_BUFFER_BYTES = 128 * 1024
# If at least this much of a file's content is left, it is spliced rather than read.
_LARGE_BYTES = 64 * 1024


def unpack_files(area: Area, path: bytes) -> Document:
    """Read a tar stream from stdin, and unpack it."""
    widen(STDIN)
    os.umask(0)
    root = area.make_directory(path)
    unpacker = _Unpacker(root, path)
    decoder = TarDecoder()
    # A single buffer: allocating memory costs more than the reads.
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    try:
        while count := os.readv(STDIN, (buffer,)):
            for found in decoder.feed(view[:count]):
                if isinstance(found, Piece):
                    unpacker.write(found)
                else:
                    unpacker.add(found)
            while (left := decoder.content_left) >= _LARGE_BYTES:
                moved = unpacker.splice(decoder.content_offset, left)
                if not moved:
                    break
                decoder.pass_over(moved)
        decoder.finish()
        unpacker.finish()
        if area.roots.is_machine:
            syscalls.syncfs(root)
    except TarError as error:
        raise TaskError(tasks.BAD_ARCHIVE, message=f"the stream {error}") from None
    except OSError as error:
        raise failure(error, unpacker.where) from None
    return {"entries": unpacker.entry_count, "bytes": unpacker.byte_count}


class _Unpacker:
    def __init__(self, root: int, path: bytes) -> None:
        self.entry_count = 0
        self.byte_count = 0
        #: The path being unpacked.
        self.where = path
        self._path = path
        # The directories on the path to the most recent name, with their descriptors.
        self._way: list[tuple[bytes, int]] = [(b"", root)]
        self._parent = b""
        self._file = -1
        self._member: Member | None = None
        self._at = 0
        # Modes to be set at the end, since they may prevent entering the directory.
        self._modes: dict[bytes, int] = {}

    def add(self, member: Member) -> None:
        """Create the file of a header."""
        self._close()
        try:
            path = clean_name(member.name)
        except NameRefusedError as error:
            raise TaskError(tasks.BAD_ARCHIVE, message=f"a name in the stream {error}") from None
        self.where = join(self._path, path)
        if not path:
            if member.kind is not MemberKind.DIRECTORY:
                raise TaskError(tasks.BAD_ARCHIVE, message="the root of the stream is not a directory")
            return
        self.entry_count += 1
        parent, _, name = path.rpartition(b"/")
        directory = self._way[-1][1] if parent == self._parent else self._enter(parent)
        match member.kind:
            case MemberKind.FILE:
                self._file = self._create(directory, name, member.mode & _KEPT_MODE)
                self._member, self._at = member, 0
            case MemberKind.DIRECTORY:
                self._make_directory(directory, name, path, member.mode & _KEPT_MODE)
            case MemberKind.SYMLINK:
                self._clear(directory, name)
                os.symlink(member.target, name, dir_fd=directory)
            case MemberKind.LINK:
                self._link(path, member.target)
            case _:
                raise TaskError(tasks.BAD_ARCHIVE, message=f"the stream contains {member.kind.value}")

    def write(self, piece: Piece) -> None:
        """Write content of the most recent file."""
        if piece.offset != self._at:
            os.lseek(self._file, piece.offset, os.SEEK_SET)
        write_all(self._file, piece.data)
        self._at = piece.offset + len(piece.data)
        self.byte_count += len(piece.data)

    def splice(self, offset: int, count: int) -> int:
        """Splice content of the most recent file from stdin; return its length, 0 at the end."""
        moved = os.splice(STDIN, self._file, min(count, READ_BYTES), offset_dst=offset)
        self._at = offset + moved
        os.lseek(self._file, self._at, os.SEEK_SET)
        self.byte_count += moved
        return moved

    def finish(self) -> None:
        """Complete the last file, and set the final modes of directories."""
        self._close()
        for path, mode in reversed(self._modes.items()):
            self.where = join(self._path, path)
            os.fchmod(self._enter(path), mode)

    def _close(self) -> None:
        member = self._member
        if member is not None:
            fd, self._file, self._member = self._file, -1, None
            if member.size != self._at:
                os.ftruncate(fd, member.size)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
            os.close(fd)

    def _create(self, directory: int, name: bytes, mode: int) -> int:
        for _ in range(_ATTEMPTS):
            try:
                return os.open(name, _CREATE, mode, dir_fd=directory)
            except FileExistsError:
                self._clear(directory, name)
        raise TaskError(tasks.EXISTS, self.where)

    def _clear(self, directory: int, name: bytes) -> None:
        """Remove a name, unless it is a directory."""
        found = state_of(directory, name)
        if found is None:
            return
        if stat.S_ISDIR(found.st_mode):
            raise TaskError(tasks.IS_DIRECTORY, self.where)
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return

    def _make_directory(self, directory: int, name: bytes, path: bytes, mode: int) -> None:
        try:
            os.mkdir(name, mode | _ENTERABLE, dir_fd=directory)
        except FileExistsError:
            found = state_of(directory, name)
            if found is None or not stat.S_ISDIR(found.st_mode):
                raise TaskError(tasks.NOT_DIRECTORY, self.where) from None
            if stat.S_IMODE(found.st_mode) != mode:
                self._modes[path] = mode
            return
        if mode & _ENTERABLE != _ENTERABLE:
            self._modes[path] = mode

    def _link(self, path: bytes, target: bytes) -> None:
        try:
            target = clean_name(target)
        except NameRefusedError as error:
            raise TaskError(tasks.BAD_ARCHIVE, message=f"a link's target in the stream {error}") from None
        fd = os.open(target.rpartition(b"/")[2], os.O_PATH | os.O_NOFOLLOW, dir_fd=self._enter(parent_of(target)))
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise TaskError(tasks.NOT_FILE, join(self._path, target))
            directory, name = self._enter(parent_of(path)), path.rpartition(b"/")[2]
            self._clear(directory, name)
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(fd)

    def _enter(self, path: bytes) -> int:
        """Open a directory below the root without following links. Create it if the stream did not contain it."""
        parts = path.split(b"/") if path else []
        shared = 0
        for (name, _), part in zip(self._way[1:], parts, strict=False):
            if name != part:
                break
            shared += 1
        while len(self._way) > shared + 1:
            os.close(self._way.pop()[1])
        # If opening a part fails, `_parent` must match `_way`, which the next call compares with.
        self._parent = b"/".join(parts[:shared])
        for part in parts[shared:]:
            self._way.append((part, self._open(part)))
            self._parent = join(self._parent, part)
        return self._way[-1][1]

    def _open(self, name: bytes) -> int:
        parent = self._way[-1][1]
        try:
            return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except NotADirectoryError:
            raise TaskError(tasks.NOT_DIRECTORY, join(self._path, join(self._parent, name))) from None
