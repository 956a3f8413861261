"""Extract a guest's tree from an untrusted stream to a new path on the host.

The stream is a tar archive as written by `tar_writer`; its first member is the tree's root, `./` for a directory, `.`
for a file. A malformed stream (names with `..`, duplicate names, members below a file, wrong sizes, exceeded limits) is
rejected as a whole. Valid members that must not be extracted are skipped and reported: devices, fifos, symbolic links
that leave the tree, hard links to skipped files, and files that a host tool would run automatically (`hooks.table`),
unless they were in the workspace's baseline or the user requests them.

Nothing is overwritten, no link is followed, and the output appears only when it is complete. It is not synced. Owners
and extended attributes are dropped; modes are preserved, subject to the umask.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import closing_fd, write_at
from pyro_mcp.host.progress import Progress
from pyro_mcp.protocol.names import MAX_TARGET_BYTES, NameRefusedError, clean_name, join, shown_briefly
from pyro_mcp.protocol.tar_reader import Member, MemberKind, Piece, TarDecoder, TarError
from pyro_mcp.trees.entries import Bounds, Kind, Note, Notes, Tally
from pyro_mcp.trees.hooks.census import Digest, digest_of, symlink_digest
from pyro_mcp.trees.hooks.gate import HookGate, HookPolicy, HostHookNote
from pyro_mcp.trees.hooks.table import Repositories, Rule, rule_in_repository
from pyro_mcp.trees.links import LinkMap, TangledError
from pyro_mcp.trees.staging import RESULT, staged_beside
from pyro_mcp.trees.tree_writer import TreeWriter

# The limit for names of links and repositories, which are kept in memory until the end.
_MAX_HELD_BYTES = 32 * 1024 * 1024
# The temporary name, in the staging directory, of a file that may turn out to be a hook.
_HELD = b"held"
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_NEWS_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceiveReport:
    """The report of an export. Lists have the first hundred, counts include all; hooks are only in `host_hooks`."""

    output_path: str
    kind: Kind
    entry_count: int
    bytes_written: int
    left_out: tuple[Note, ...]
    left_out_count: int
    host_hooks: tuple[HostHookNote, ...]
    host_hook_count: int


_T = TypeVar("_T")


@dataclass(slots=True)
class _OpenFile:
    path: bytes
    member: Member
    fd: int
    #: For a file that may be a hook, and is therefore still under its temporary name.
    digest: Digest | None


class TreeReceiver:
    """Writes the tree of a guest's stream, piece by piece, to the new path `output_path`.

    A context manager; without `finish` nothing is created.
    """

    def __init__(
        self,
        output_path: Path,
        *,
        hooks: HookPolicy | None = None,
        bounds: Bounds | None = None,
        progress: Progress | None = None,
        notes: Path | None = None,
    ) -> None:
        self._output = output_path.absolute()
        self._noted_in = notes
        self._gate = HookGate(hooks or HookPolicy(), self._output)
        self._progress = progress
        self._news = 0
        self._decoder = TarDecoder()
        self._tally = Tally(bounds or Bounds(), "what the guest sends")
        self._kind: Kind | None = None
        self._open: _OpenFile | None = None
        self._links = LinkMap()
        self._repositories = Repositories()
        self._held_bytes = 0
        self._entry_count = 0
        self._notes = Notes()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._staging = stack.enter_context(staged_beside(self._output, notes=self._noted_in))
            self._writer = stack.enter_context(TreeWriter(self._staging.fd))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._open is not None:
            os.close(self._open.fd)
            self._open = None
        self._stack.close()

    def feed(self, chunk: bytes) -> None:
        """Process the next bytes of the stream.

        Raises:
            PyroError: PROTOCOL if the stream is malformed; INVALID if it is too large; NO_SPACE, PERMISSION, NOT_FOUND.
                Nothing is then created at `output_path`.
        """
        try:
            for found in self._decoder.feed(chunk):
                if isinstance(found, Member):
                    self._close_file()
                    self._admit(found)
                else:
                    self._write(found)
        except TarError as error:
            raise _breach(f"its archive {error}") from error
        except OSError as error:
            raise self._write_error(error) from error
        if self._progress is not None and self._tally.byte_count >= self._news:
            self._news = self._tally.byte_count + _NEWS_BYTES
            self._progress.advance(None, f"{self._entry_count} entries, {self._tally.byte_count // 1024**2} MiB")

    def finish(self) -> ReceiveReport:
        """Complete the tree at the end of the stream, and rename it to `output_path`.

        Raises:
            PyroError: as `feed`; CONFLICT if `output_path` exists by now.
        """
        try:
            self._decoder.finish()
            self._close_file()
            if self._kind is None:
                raise _breach("its archive is empty")
            fault_point("export.received")
            self._make_links()
            self._drop_repository_hooks()
            if self._kind is Kind.FILE and not self._entry_count:
                raise self._only_a_hook()
            self._staging.publish()
        except TarError as error:
            raise _breach(f"its archive {error}") from error
        except OSError as error:
            raise self._write_error(error) from error
        return ReceiveReport(
            output_path=str(self._output),
            kind=self._kind,
            entry_count=self._entry_count,
            bytes_written=self._tally.byte_count,
            left_out=self._notes.skipped,
            left_out_count=self._notes.skipped_count,
            host_hooks=self._gate.notes,
            host_hook_count=self._gate.count,
        )

    def _admit(self, member: Member) -> None:
        path = self._checked(member)
        if self._kind is Kind.FILE:
            raise _breach("it sends more than the requested file")
        if self._kind is None:
            self._begin(path, member)
        elif not path:
            raise _breach("it sends the root of the tree twice")
        stored = member.size if member.segments is None else sum(length for _, length in member.segments)
        self._tally.add(path, stored, member.size)
        if path:
            self._hold(self._repositories.see(path))
        match member.kind:
            case MemberKind.DIRECTORY:
                self._make(path, lambda place: self._writer.make_directory(place, member.mode))
                self._entry_count += bool(path)
            case MemberKind.FILE:
                self._open_file(path, member)
            case MemberKind.SYMLINK:
                self._hold(len(path) + len(member.target) + 200)
                if path in self._links.targets:
                    raise _twice(path)
                self._links.add(path, self._target(path, member.target))
            case MemberKind.LINK:
                self._link(path, member)
            case MemberKind.FIFO | MemberKind.CHARACTER_DEVICE | MemberKind.BLOCK_DEVICE:
                self._notes.skip(path, member.kind.value)

    def _begin(self, path: bytes, member: Member) -> None:
        if path:
            raise _breach(f"its archive begins with {shown_briefly(path)} instead of the root of the tree")
        match member.kind:
            case MemberKind.DIRECTORY:
                self._kind = Kind.DIRECTORY
            case MemberKind.FILE:
                self._kind = Kind.FILE
            case _:
                raise PyroError(
                    ErrorCode.INVALID,
                    f"{member.kind.value} can't be exported",
                    hint="Only files and directories can be exported. For a link, export its target.",
                )
        self._hold(len(path))

    def _hold(self, byte_count: int) -> None:
        self._held_bytes += byte_count
        if self._held_bytes > _MAX_HELD_BYTES:
            raise PyroError(
                ErrorCode.INVALID,
                "what the guest sends has too many symbolic links",
                hint="Export a part of it.",
            )

    def _checked(self, member: Member) -> bytes:
        try:
            return clean_name(member.name)
        except NameRefusedError as error:
            raise _breach(f"the name of its member {shown_briefly(member.name)} {error}") from None

    def _target(self, path: bytes, target: bytes) -> bytes:
        if not target or len(target) > MAX_TARGET_BYTES or b"\0" in target:
            raise _breach(f"{shown_briefly(path)} is a symbolic link with an invalid target")
        return target

    def _make(self, path: bytes, make: Callable[[bytes], _T]) -> _T:
        """Create a name of the stream with `make`, and return its result.

        Raises:
            PyroError: PROTOCOL if the name can't be created, which is impossible in a well-formed tree.
            OSError: for other errors.
        """
        try:
            return make(_at(path))
        except FileExistsError:
            raise _twice(path) from None
        except OSError as error:
            if error.errno in _NO_PLACE:
                raise _breach(f"{shown_briefly(path)} is not in a directory that it sent before") from error
            raise

    def _open_file(self, path: bytes, member: Member) -> None:
        rule = self._gate.rule(path, Kind.FILE)
        if rule is None:
            self._open = _OpenFile(path, member, self._make(path, self._writer.create), None)
        else:
            self._open = _OpenFile(path, member, self._writer.create(_HELD), Digest(rule))

    def _write(self, piece: Piece) -> None:
        file = self._open
        if file is None:
            return
        if file.digest is not None:
            file.digest.add(piece.offset, piece.data)
        write_at(file.fd, piece.data, piece.offset)

    def _close_file(self) -> None:
        file = self._open
        if file is None:
            return
        member = file.member
        self._writer.complete(file.fd, member.size, member.mode, member.mtime_ns)
        self._open = None
        os.close(file.fd)
        if file.digest is not None and not self._settle(file.path, file.digest, member):
            self._writer.remove(_HELD)
            return
        self._entry_count += 1

    def _settle(self, path: bytes, digest: Digest, member: Member) -> bool:
        """Move a file that may be a hook to its name, if it may be exported; return whether it may."""
        found = digest.finish(member.size, member.mode)
        rule = digest.rule
        if rule is not None and digest.is_hook and not self._gate.admits(path, found, rule):
            return False
        self._make(path, lambda place: self._writer.move_in(_HELD, place))
        return True

    def _link(self, path: bytes, member: Member) -> None:
        """Create a hard link, unless its target was skipped or its name is a hook's."""
        try:
            target = clean_name(member.target)
        except NameRefusedError as error:
            raise _breach(f"{shown_briefly(path)} is a hard link whose target {error}") from None
        place = _at(target)
        try:
            fd = self._writer.open_file(place)
        except FileNotFoundError:
            self._notes.skip(path, f"a hard link to {shown_briefly(target)}, which was skipped")
            return
        except OSError as error:
            if error.errno in _NO_PLACE:
                raise _breach(f"{shown_briefly(path)} is a hard link to no file") from error
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _breach(f"{shown_briefly(path)} is a hard link to a directory")
            rule = self._gate.rule(path, Kind.FILE)
            if rule is not None:
                digest, is_hook = digest_of(fd, found.st_size, found.st_mode, rule)
                if is_hook and not self._gate.admits(path, digest, rule):
                    return
        finally:
            os.close(fd)
        self._make(path, lambda name: self._writer.link(place, name))
        self._entry_count += 1

    def _make_links(self) -> None:
        """Create the symbolic links. They come last, so that no other name can lead through one."""
        try:
            leaving = frozenset(self._links.leaving())
        except TangledError:
            raise _breach("its symbolic links refer to each other too often") from None
        for path, target in self._links.targets.items():
            if path in leaving:
                self._notes.skip(path, f"a symbolic link that leads out of the tree, to {shown_briefly(target)}")
                continue
            rule = self._gate.rule(path, Kind.SYMLINK)
            if rule is not None and not self._gate.admits(path, symlink_digest(target), rule):
                continue
            self._make(path, lambda place, target=target: self._writer.symlink(place, target))
            self._entry_count += 1

    def _drop_repository_hooks(self) -> None:
        """Remove files that git would run in a directory that is a repository although it is not named `.git`."""
        for directory in self._repositories.found():
            if directory.rpartition(b"/")[2].lower() == b".git":
                continue
            pending = [b""]
            while pending:
                below = pending.pop()
                place = join(directory, below) if below else directory
                for name, is_directory in self._writer.names_in(_at(place)):
                    inner = join(below, name)
                    if is_directory:
                        pending += [inner] if below or name.lower() == b"hooks" else []
                    elif (rule := rule_in_repository(inner)) and not self._stays(join(directory, inner), rule):
                        self._writer.remove(_at(join(directory, inner)))
                        self._entry_count -= 1

    def _stays(self, path: bytes, rule: Rule) -> bool:
        """Return whether a created file or link that matches a rule may be exported."""
        target = self._links.targets.get(path)
        if target is not None:
            return self._gate.admits(path, symlink_digest(target), rule)
        with closing_fd(self._writer.open_file(_at(path))) as fd:
            found = os.fstat(fd)
            digest, is_hook = digest_of(fd, found.st_size, found.st_mode, rule)
        return not is_hook or self._gate.admits(path, digest, rule)

    def _only_a_hook(self) -> PyroError:
        tool = self._gate.notes[0].tool
        return PyroError(
            ErrorCode.INVALID,
            f"{self._output.name} would be run automatically by {tool}, and was not in the workspace's baseline",
            hint="Review it first; a person can then export it with `--include-host-hooks`.",
        )

    def _write_error(self, error: OSError) -> PyroError:
        return from_os_error(error, f"write {self._output}")


def _at(path: bytes) -> bytes:
    """Return the path, in the staging directory, of a name in the stream."""
    return join(RESULT, path) if path else RESULT


def _twice(path: bytes) -> PyroError:
    return _breach(f"it sends {shown_briefly(path)} twice")


def _breach(why: str) -> PyroError:
    return PyroError(
        ErrorCode.PROTOCOL,
        f"the guest's data was rejected: {why}",
        hint="Nothing was written. The guest may be broken or hostile: reset the workspace.",
    )
