"""Send a tree as a tar stream: the task PACK.

No link is followed: links, devices and fifos are sent as such, for the host to omit and report. A tar stream can't
contain sockets.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import OPEN_DIRECTORY, OPEN_FILE, Area
from pyro_mcp.guest.tasks.baseline import open_baseline
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.ignoring import GIT, STRAIGHT, Ignored, LeftOut, Rules
from pyro_mcp.guest.tasks.streams import STDOUT, Output, widen, write_all
from pyro_mcp.guest.tasks.walking import GONE, Names, names_in, walk
from pyro_mcp.protocol import tar_writer, tasks
from pyro_mcp.protocol.documents import Document
from pyro_mcp.protocol.names import join

# Smaller files are read and written in batches; larger ones are moved from the disk into the pipe with sendfile(2).
_SMALL_BYTES = 64 * 1024
_SEND_BYTES = 1024 * 1024
_ZEROES = bytes(_SMALL_BYTES)
_MAX_SEGMENTS = 10_000
_MAX_LINKED = 500_000
_MODE = 0o7777


def pack_files(area: Area, path: bytes, *, rules_above: tuple[Rules, ...], include_ignored: bool) -> Document:
    """Write a file or directory, whose root is named `.`, and return what was omitted because it is ignored."""
    widen(STDOUT)
    above, _, name = path.rpartition(b"/")
    directory = area.open(above, os.O_RDONLY | os.O_DIRECTORY)
    packer = _Packer()
    left_out = LeftOut()
    try:
        found = os.stat(name or b".", dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            root = os.open(name or b".", OPEN_DIRECTORY, dir_fd=directory)
            packer.output.add(tar_writer.directory_header(b"", found.st_mode & _MODE, found.st_mtime_ns))
            choice = None if include_ignored else _choice(area, path, rules_above, left_out)
            for each in walk(root, b"", chosen=choice):
                packer.pack(each.directory, each.name, each.path)
        else:
            packer.pack(directory, name, b".", is_root=True)
    except OSError as error:
        raise failure(error, path) from None
    packer.output.add(tar_writer.END)
    packer.output.flush()
    return {"entries": packer.entry_count, "left_out": packer.left_out, **left_out.report()}


def _choice(
    area: Area, base: bytes, rules_above: tuple[Rules, ...], left_out: LeftOut
) -> Callable[[bytes, Names], Names] | None:
    """Return a function that selects the names to send: those in the baseline, and added ones that are not ignored.

    If the requested directory is itself ignored, return None: everything below it is sent.
    """
    new = os.open(b".", OPEN_DIRECTORY, dir_fd=area.fd)
    try:
        old = open_baseline(area.roots)
    except TaskError:
        # Without a baseline, added files can't be recognized: everything is sent.
        return None
    ignored = Ignored(new, old, rules_above)
    if base and ignored.verdict(base, is_directory=True).is_ignored:
        return None

    def in_baseline(path: bytes) -> set[bytes]:
        try:
            directory = syscalls.openat2(old, path or b".", OPEN_DIRECTORY, STRAIGHT)
        except OSError as error:
            if error.errno in GONE:
                return set()
            raise
        try:
            return {name for name, _, _ in names_in(directory)}
        finally:
            os.close(directory)

    def choose(below: bytes, names: Names) -> Names:
        above = join(base, below) if below else base
        try:
            known = in_baseline(above) - {GIT}
        except OSError:
            # If the baseline is damaged, nothing is omitted.
            return names
        chosen: Names = []
        for each in names:
            name, kind, _ = each
            if name not in known:
                path, is_directory = join(above, name), kind == tasks.DIRECTORY
                verdict = ignored.verdict(path, is_directory=is_directory)
                if verdict.is_ignored:
                    left_out.add(path + b"/" * is_directory, by_one_only=verdict.by_one_only)
                    continue
                if is_directory and ignored.hides_all_in(path):
                    left_out.add(path + b"/", by_one_only=True)
                    continue
            chosen.append(each)
        return chosen

    return choose


class _Packer:
    def __init__(self) -> None:
        self.output = Output()
        self.entry_count = 0
        self.left_out = 0
        self._first_names: dict[tuple[int, int], bytes] = {}

    def pack(self, directory: int, name: bytes, path: bytes, *, is_root: bool = False) -> None:
        """Write the entry of a name, unless it was removed meanwhile."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            mode = found.st_mode
            if stat.S_ISREG(mode):
                self._file(directory, name, path)
                return
            if stat.S_ISDIR(mode):
                header = tar_writer.directory_header(path, mode & _MODE, found.st_mtime_ns)
            elif stat.S_ISLNK(mode):
                header = tar_writer.symlink_header(path, os.readlink(name, dir_fd=directory), found.st_mtime_ns)
            elif stat.S_ISSOCK(mode):
                self.left_out += 1
                return
            else:
                header = tar_writer.special_header(path, mode, found.st_mtime_ns)
        except OSError as error:
            if is_root or error.errno not in (*GONE, errno.EINVAL, errno.ENXIO):
                raise failure(error, path) from None
            return
        self._count(header)

    def _file(self, directory: int, name: bytes, path: bytes) -> None:
        fd = os.open(name, OPEN_FILE | os.O_NOFOLLOW, dir_fd=directory)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return
            mode, size = found.st_mode & _MODE, found.st_size
            if found.st_nlink > 1 and len(self._first_names) < _MAX_LINKED:
                first = self._first_names.setdefault((found.st_dev, found.st_ino), path)
                if first is not path:
                    self._count(tar_writer.link_header(path, first, mode, found.st_mtime_ns))
                    return
            if size <= _SMALL_BYTES:
                data = os.read(fd, size)
                # The file may have been truncated since fstat: a shorter read is fine.
                self._count(tar_writer.file_header(path, mode, found.st_mtime_ns, len(data)))
                self.output.add(data + tar_writer.padding(len(data)))
                return
            self._large(fd, found, path)
        finally:
            os.close(fd)

    def _large(self, fd: int, found: os.stat_result, path: bytes) -> None:
        mode, size = found.st_mode & _MODE, found.st_size
        segments = tar_writer.data_segments(fd, size, most=_MAX_SEGMENTS) if found.st_blocks * 512 < size else None
        if segments is None:
            segments = [(0, size)]
            self._count(tar_writer.file_header(path, mode, found.st_mtime_ns, size))
        else:
            self._count(tar_writer.sparse_header(path, mode, found.st_mtime_ns, size, segments))
        self.output.flush()
        for offset, length in segments:
            _send(fd, offset, length)
        self.output.add(tar_writer.padding(sum(length for _, length in segments)))

    def _count(self, header: bytes) -> None:
        self.entry_count += 1
        self.output.add(header)


def _send(fd: int, offset: int, length: int) -> None:
    """Write a range of a file, padded with zeroes to the length given in the header if the file was truncated."""
    end = offset + length
    while offset < end:
        sent = os.sendfile(STDOUT, fd, offset, min(end - offset, _SEND_BYTES))
        if not sent:
            break
        offset += sent
    while offset < end:
        write_all(STDOUT, _ZEROES[: end - offset])
        offset += min(end - offset, len(_ZEROES))
