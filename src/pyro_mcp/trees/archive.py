"""A local tar archive (plain or gzip) as the source of a tree.

One bad member fails the whole archive: absolute names, names that contain `..` or lead through a link, symbolic links
that leave the tree, hard links to anything but an earlier file, setuid and setgid files, a name used for both a
directory and something else, exceeded limits, an excessive compression ratio, truncation, damage. Devices and fifos are
skipped. If several members have the same name, the last one wins, as in tar. Nothing is unpacked on the host: members
are passed on as entries with their content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.files import closing_fd
from pyro_mcp.protocol.names import MAX_TARGET_BYTES, NameRefusedError, clean_name, parent_of, shown_briefly
from pyro_mcp.protocol.tar_reader import Member, MemberKind, TarDecoder, TarError, TarFormatError
from pyro_mcp.trees.entries import KEPT_MODE, Bounds, Data, Entry, Kind, Notes, Tally, TreeMode, data_bytes, too_much
from pyro_mcp.trees.links import LinkMap, TangledError

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 256 * 1024
# Devices and fifos are deliberately missing.
_KINDS = {
    MemberKind.FILE: Kind.FILE,
    MemberKind.DIRECTORY: Kind.DIRECTORY,
    MemberKind.SYMLINK: Kind.SYMLINK,
    MemberKind.LINK: Kind.LINK,
}


class ArchiveSource:
    """A .tar, .tar.gz or .tgz file."""

    mode = TreeMode.TAR_ARCHIVE

    def __init__(self, path: Path, *, bounds: Bounds | None = None) -> None:
        self.name = str(path)
        self.notes = Notes()
        self._path = path
        self._bounds = bounds or Bounds()
        # The index of the last member for each duplicate name; set by `check`.
        self._last: dict[bytes, int] | None = None

    def use(self, scratch: Path) -> None:
        """Do nothing: no temporary files are needed."""

    def check(self) -> None:
        """Validate the whole archive.

        Raises:
            PyroError: as `items`.
        """
        rules = _Rules(self.name, self._bounds)
        for _ in self._read(rules):
            pass
        self._last = rules.last

    def items(self) -> Generator[Entry | Data]:
        """Yield the archive's tree, after `check`. Missing parent directories are added.

        Raises:
            PyroError: INVALID, naming the member that violates the rules; CORRUPT if it is truncated or damaged;
                UNSUPPORTED for formats that are not supported; NOT_FOUND, PERMISSION.
        """
        if self._last is None:
            self.check()
        yield from self._read(_Rules(self.name, self._bounds, self._last))

    def _read(self, rules: _Rules) -> Generator[Entry | Data]:
        self.notes = rules.notes
        decoder = TarDecoder()
        try:
            with closing_fd(_open(self._path)) as fd:
                packed = _Unpacker(fd, self._bounds, self.name)
                for chunk in packed.chunks():
                    for found in decoder.feed(chunk):
                        if isinstance(found, Member):
                            yield from rules.admit(found)
                        elif not rules.is_skipping:
                            yield Data(found.offset, found.data)
                # A gzip file has its own end mark, so the tar archive's may be missing.
                decoder.finish(needs_end=not packed.compressed)
        except OSError as error:
            raise from_os_error(error, f"read {self._path}") from error
        except TarFormatError as error:
            raise PyroError(
                ErrorCode.UNSUPPORTED, f"the archive {self.name} {error}", hint="Unpack it, and use the directory."
            ) from error
        except TarError as error:
            raise _damaged(self.name, str(error)) from error
        rules.close()


class _Rules:
    """Checks the members of an archive in order."""

    def __init__(self, name: str, bounds: Bounds, last: dict[bytes, int] | None = None) -> None:
        #: Notes on skipped members.
        self.notes = Notes()
        #: Whether the most recent member is skipped.
        self.is_skipping = False
        #: The index of the last member for each duplicate name; filled in if it was not given.
        self.last: dict[bytes, int] = {} if last is None else last
        self._finds_last = last is None
        self._number = 0
        self._archive = name
        self._bounds = bounds
        self._tally = Tally(bounds, name)
        self._name_bytes = 0
        # Each directory; True if it was only implied by other members' names so far.
        self._directories: dict[bytes, bool] = {b"": True}
        self._others: dict[bytes, MemberKind] = {}
        self._links = LinkMap()

    def admit(self, member: Member) -> Generator[Entry]:
        """Yield a member's entry, preceded by missing parent directories.

        Raises:
            PyroError: INVALID if it violates a rule.
        """
        try:
            path = clean_name(member.name)
        except NameRefusedError as error:
            raise self._refusal(member.name, f"its name {error}") from None
        kind = _KINDS.get(member.kind)
        self._number += 1
        self.is_skipping = self._is_replaced(path, kind)
        if kind is None:
            self.notes.skip(path, member.kind.value)
            return
        if self.is_skipping:
            return
        yield from self._parents(path, member.mtime_ns)
        if kind is Kind.DIRECTORY:
            yield from self._directory(path, member)
        else:
            yield self._other(path, kind, member)

    def close(self) -> None:
        """Check at the end of the archive that no symbolic link leaves the tree.

        Raises:
            PyroError: INVALID if one does.
        """
        try:
            leaving = self._links.leaving()
        except TangledError:
            why = "its symbolic links refer to each other too often"
            raise PyroError(ErrorCode.INVALID, f"{self._archive} was refused: {why}") from None
        if leaving:
            target = shown_briefly(self._links.targets[leaving[0]])
            raise self._refusal(leaving[0], f"it is a symbolic link that leads out of the tree, to {target}")

    def _is_replaced(self, path: bytes, kind: Kind | None) -> bool:
        """Return whether to skip a member because a later one has its name, or its directory already exists.

        Raises:
            PyroError: INVALID if the name is used for both a directory and something else.
        """
        if kind is None:
            return True
        is_directory = kind is Kind.DIRECTORY
        if (path in self._others and is_directory) or (path in self._directories and not is_directory):
            raise self._refusal(path, "the archive contains that name twice, for a directory and for something else")
        if is_directory:
            return not self._directories.get(path, True)
        if path not in self._others:
            return self._number < self.last.get(path, 0)
        if not self._finds_last:
            raise self._refusal(path, "the archive contains that name twice")
        self.last[path] = self._number
        self._links.targets.pop(path, None)
        return False

    def _directory(self, path: bytes, member: Member) -> Generator[Entry]:
        if path not in self._directories:
            self._count(path)
        self._directories[path] = False
        mode = member.mode & KEPT_MODE if path else 0o755
        yield Entry(path, Kind.DIRECTORY, mode, member.mtime_ns)

    def _parents(self, path: bytes, mtime_ns: int) -> Generator[Entry]:
        """Yield the parent directories of a name that the archive has not contained yet."""
        missing: list[bytes] = []
        parent = parent_of(path)
        while parent not in self._directories:
            above = self._others.get(parent)
            if above is not None:
                raise self._refusal(path, f"its parent {shown_briefly(parent)} is {above.value}")
            missing.append(parent)
            parent = parent_of(parent)
        for made_up in reversed(missing):
            self._directories[made_up] = True
            self._count(made_up)
            yield Entry(made_up, Kind.DIRECTORY, 0o755, mtime_ns)

    def _other(self, path: bytes, kind: Kind, member: Member) -> Entry:
        if not path:
            raise self._refusal(path, f"the root of the tree is {member.kind.value}")
        if kind is Kind.FILE and member.mode & (stat.S_ISUID | stat.S_ISGID):
            raise self._refusal(path, "it is a setuid or setgid program")
        target = member.target
        if kind is Kind.SYMLINK:
            if not target or len(target) > MAX_TARGET_BYTES or b"\0" in target:
                raise self._refusal(path, "it is a symbolic link with an invalid target")
            self._links.add(path, target)
        elif kind is Kind.LINK:
            target = self._linked(path, target)
        entry = Entry(
            path, kind, member.mode & KEPT_MODE, member.mtime_ns, member.size, target, segments=member.segments
        )
        self._others[path] = member.kind
        self._count(path, data_bytes(entry), entry.size, len(target))
        return entry

    def _linked(self, path: bytes, target: bytes) -> bytes:
        try:
            target = clean_name(target)
        except NameRefusedError as error:
            raise self._refusal(path, f"it is a hard link, and its target {error}") from None
        before = self._others.get(target)
        if before is not MemberKind.FILE and before is not MemberKind.LINK:
            why = f"it is a hard link to {shown_briefly(target)}, which is not an earlier file"
            raise self._refusal(path, why)
        return target

    def _count(self, path: bytes, byte_count: int = 0, size: int = 0, target_bytes: int = 0) -> None:
        self._tally.add(path, byte_count, size)
        self._name_bytes += len(path) + target_bytes
        if self._name_bytes > self._bounds.max_name_bytes:
            raise too_much(self._archive, f"its names take more than {self._bounds.max_name_bytes} bytes")

    def _refusal(self, path: bytes, why: str) -> PyroError:
        return PyroError(
            ErrorCode.INVALID,
            f"{self._archive} was refused because of its member {shown_briefly(path)}: {why}",
            hint="Unpack it into an empty directory, inspect it, and use the directory.",
            details={"archive": self._archive, "member": shown_briefly(path)},
        )


class _Unpacker:
    """Reads the archive's bytes, decompressing gzip."""

    def __init__(self, fd: int, bounds: Bounds, name: str) -> None:
        self._fd = fd
        self._bounds = bounds
        self._name = name
        self.compressed = os.pread(fd, len(_GZIP_MAGIC), 0) == _GZIP_MAGIC

    def chunks(self) -> Generator[bytes]:
        """Yield the bytes in order.

        Raises:
            PyroError: CORRUPT, INVALID.
            OSError: from reading.
        """
        if self.compressed:
            yield from self._inflated()
            return
        while chunk := os.read(self._fd, _CHUNK_BYTES):
            yield chunk

    def _inflated(self) -> Generator[bytes]:
        import zlib

        read = written = 0
        inflater = None
        rest = b""
        is_full = False
        try:
            while True:
                # If the output buffer is full, there may be more output without further input.
                if not rest and not is_full:
                    rest = os.read(self._fd, _CHUNK_BYTES)
                    read += len(rest)
                if not rest and not is_full:
                    break
                if inflater is None:
                    # Concatenated gzip files are valid; zeroes after the last are padding.
                    if not rest.lstrip(b"\0"):
                        rest = b""
                        continue
                    inflater = zlib.decompressobj(wbits=31)
                chunk = inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                is_full = len(chunk) == _CHUNK_BYTES and not inflater.eof
                written += len(chunk)
                bounds = self._bounds
                if written > max(bounds.ratio_free_bytes, read * bounds.max_ratio):
                    why = f"it is compressed more than {bounds.max_ratio} to 1"
                    raise PyroError(
                        ErrorCode.INVALID,
                        f"{self._name} was refused: {why}",
                        hint="Unpack it yourself, and use the directory.",
                    )
                yield chunk
                if inflater.eof:
                    inflater = None
        except zlib.error as error:
            raise _damaged(self._name, f"is not a valid gzip file ({error})") from error
        if inflater is not None:
            raise _damaged(self._name, "is cut off: its gzip stream is incomplete")


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PyroError(ErrorCode.INVALID, f"{path} is not a regular file")
    return fd


def _damaged(name: str, what: str) -> PyroError:
    return PyroError(ErrorCode.CORRUPT, f"the archive {name} {what}", hint="Download or create it again.")
