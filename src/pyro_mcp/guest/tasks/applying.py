"""Change several files atomically, all or none: the task APPLY.

All contents are read and staged first, then put in place by renames that can be undone. No link is followed, and only
a regular file, or nothing, as the host expects it, is replaced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.area import Area
from pyro_mcp.guest.tasks.contents import state_of
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.guest.tasks.staging import StagedFile, resemble, settle, staging_name, staging_root, write_out
from pyro_mcp.guest.tasks.streams import Input
from pyro_mcp.protocol import tasks
from pyro_mcp.protocol.documents import Document

_NOTHING = b""


def apply_changes(area: Area, *, count: int) -> Document:
    """Read the changes, and apply them."""
    source = Input()
    with _Transaction(area) as transaction:
        for _ in range(count):
            what, created, mode, size, length = tasks.CHANGE.unpack(source.take(tasks.CHANGE.size))
            path = source.take(length)
            if what == tasks.CHANGE_WRITE:
                transaction.stage(path, source, size, mode, must_be_new=bool(created))
            else:
                transaction.plan_removal(path)
        transaction.commit()
    return {}


class _Transaction:
    """Changes that are staged, then committed; or rolled back."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._steps: list[tuple[bytes, Callable[[], None]]] = []
        self._undo: list[Callable[[], None]] = []
        self._files: list[StagedFile] = []
        self._made: list[tuple[int, bytes]] = []
        self._count = 0
        self._name = staging_name()
        self._staging = -1
        self._root = staging_root(area)
        self._changed: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            for undo in reversed(self._undo):
                with suppress(OSError):
                    undo()
            for parent, name in reversed(self._made):
                with suppress(OSError):
                    os.rmdir(name, dir_fd=parent)
        for file in self._files:
            file.close()
        if self._staging >= 0:
            for number in range(self._count):
                with suppress(FileNotFoundError):
                    os.unlink(b"%d" % number, dir_fd=self._staging)
            os.rmdir(self._name, dir_fd=self._root)

    def stage(self, path: bytes, source: Input, size: int, mode: int, *, must_be_new: bool) -> None:
        """Stage a file's content, which stays invisible until `commit`."""
        try:
            file = StagedFile(self._root)
            self._files.append(file)
            source.copy_to(file.fd, size)
        except OSError as error:
            raise failure(error, path) from None
        self._steps.append((path, lambda: self._put(path, file, mode, must_be_new=must_be_new)))

    def plan_removal(self, path: bytes) -> None:
        """Plan the removal of a file."""
        self._steps.append((path, lambda: self._remove(path)))

    def commit(self) -> None:
        """Make all changes.

        Raises:
            TaskError: if one fails; leaving the context then rolls back the others.
        """
        try:
            write_out(self._root, self._files)
            os.mkdir(self._name, 0o700, dir_fd=self._root)
            self._staging = os.open(self._name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        except OSError as error:
            raise failure(error, _NOTHING) from None
        for path, step in self._steps:
            try:
                step()
            except OSError as error:
                raise failure(error, path) from None
        try:
            settle(self._root, self._files, self._changed)
        except OSError as error:
            raise failure(error, _NOTHING) from None

    def _put(self, path: bytes, file: StagedFile, mode: int, *, must_be_new: bool) -> None:
        directory, name = self._place(path, make=True)
        before = state_of(directory, name)
        if before is not None and must_be_new:
            raise TaskError(tasks.EXISTS, path)
        if before is None and not must_be_new:
            raise TaskError(tasks.MISSING, path)
        self._require_file(before, path)
        resemble(file.fd, mode, before)
        staged = self._next()
        file.give_name(self._staging, staged)
        if before is None:
            self._move(self._staging, staged, directory, name, syscalls.RENAME_NOREPLACE)
            return
        self._move(self._staging, staged, directory, name, syscalls.RENAME_EXCHANGE)
        # The workload may have replaced the file after it was checked.
        self._require_file(state_of(self._staging, staged), path)

    def _remove(self, path: bytes) -> None:
        directory, name = self._place(path, make=False)
        staged = self._next()
        self._require_file(os.stat(name, dir_fd=directory, follow_symlinks=False), path, links=True)
        self._move(directory, name, self._staging, staged, syscalls.RENAME_NOREPLACE)
        self._require_file(state_of(self._staging, staged), path, links=True)

    def _move(self, old_directory: int, old: bytes, new_directory: int, new: bytes, flags: int) -> None:
        syscalls.renameat2(old_directory, old, new_directory, new, flags)
        self._undo.append(lambda: syscalls.renameat2(new_directory, new, old_directory, old, flags))

    def _place(self, path: bytes, *, make: bool) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        if not name:
            raise TaskError(tasks.IS_DIRECTORY, path)
        if make:
            directory = self._area.make_directory_straight(above, self._made)
        else:
            directory = self._area.open_straight(above, os.O_RDONLY | os.O_DIRECTORY)
        self._changed.add(directory)
        return directory, name

    def _require_file(self, found: os.stat_result | None, path: bytes, *, links: bool = False) -> None:
        if found is None or stat.S_ISREG(found.st_mode) or (links and stat.S_ISLNK(found.st_mode)):
            return
        raise TaskError(tasks.IS_DIRECTORY if stat.S_ISDIR(found.st_mode) else tasks.NOT_FILE, path)

    def _next(self) -> bytes:
        self._count += 1
        return b"%d" % (self._count - 1)
