"""The trees that tasks work on, and path resolution in them.

No path escapes: the kernel resolves it below a descriptor of the area's root (openat2(2)), whatever links the workload
creates or swaps meanwhile.

In a guest, absolute links are resolved as the workload sees them, from the environment's root, provided that they end
in the area. The workspace is a separate file system, so a file's device shows whether it is inside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.tasks.failures import TaskError, failure
from pyro_mcp.protocol import tasks

_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
# Opening must not block on a fifo, and must not acquire a controlling terminal.
OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MAX_LINKS = 40
# The kernel gives up (EAGAIN) if a part of the path is renamed meanwhile.
_ATTEMPTS = 64


class TaskRoots:
    """Paths for tasks.

    In a guest, `root` is the environment's root, and `pid_file` contains the pid of the workload's PID 1. On a host,
    `baseline` is a directory.
    """

    __slots__ = ("baseline", "inspecting", "pid_file", "root", "workspace")

    def __init__(
        self, workspace: bytes, *, root: bytes | None = None, baseline: bytes | None = None, pid_file: str = ""
    ) -> None:
        self.workspace = workspace
        self.root = root
        self.pid_file = pid_file
        self.baseline = baseline
        #: An inspection: no workload runs, everything is read-only, and the whole root may be read.
        self.inspecting = False

    @property
    def is_machine(self) -> bool:
        """Return whether the agent runs in a VM, with disks."""
        return self.root is not None


class Area:
    """A tree. Its descriptors stay open until the task's process exits."""

    def __init__(self, roots: TaskRoots, name: object) -> None:
        """Open the area of that name.

        Raises:
            TaskError: if there is none, or it is not available in the current mode.
        """
        self.roots = roots
        #: Whether all of it is on one disk.
        self.is_one_disk = name == tasks.WORKSPACE
        self._whole = -1
        self._device = 0
        if name == tasks.WORKSPACE:
            self.mount_point = b"/workspace"
            self.fd = self._open_root(roots.workspace, os.O_NOFOLLOW)
            self._resolve = syscalls.RESOLVE_BENEATH
            if roots.root is not None:
                self._whole = self._open_root(roots.root, 0)
                self._device = os.fstat(self.fd).st_dev
        elif name == tasks.ROOT and roots.root is not None and roots.inspecting:
            self.mount_point = b""
            self.fd = self._open_root(roots.root, 0)
            self._resolve = syscalls.RESOLVE_IN_ROOT
        elif name == tasks.GUEST and roots.root is not None and not roots.inspecting:
            self.mount_point = b""
            self.fd = self._open_guest(roots.root)
            self._resolve = syscalls.RESOLVE_IN_ROOT
        else:
            raise TaskError(tasks.UNSUPPORTED, message=f"no such area: {name!r}")

    def open(self, path: bytes, flags: int) -> int:
        """Open a path, following links that stay inside the area.

        Raises:
            TaskError: if it does not exist, or leads outside.
        """
        try:
            return self._open(self.fd, path or b".", flags, self._resolve)
        except OSError as error:
            if error.errno != errno.EXDEV or self._whole < 0:
                raise failure(error, path) from None
        return self._open_from_root(path, flags)

    def open_straight(self, path: bytes, flags: int) -> int:
        """Open a path without following any link. With O_PATH and O_NOFOLLOW, the file itself may be a link.

        Raises:
            OSError: ELOOP for links.
        """
        return self._open(self.fd, path or b".", flags, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS)

    def open_file(self, path: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file for reading.

        Raises:
            TaskError: if it is not a regular file.
        """
        fd = self.open(path, OPEN_FILE)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise TaskError(tasks.IS_DIRECTORY if stat.S_ISDIR(found.st_mode) else tasks.NOT_FILE, path)
        return fd, found

    def make_directory(self, path: bytes) -> int:
        """Open a directory, creating it and its parents if missing. Links inside the area are followed.

        Raises:
            TaskError: if it is not a directory, or leads outside.
        """
        return self._directory(path, lambda part: self.open(part, os.O_RDONLY | os.O_DIRECTORY), None)

    def make_directory_straight(self, path: bytes, made: list[tuple[int, bytes]]) -> int:
        """Like `make_directory`, without following links. Created directories are added to `made`, as (parent, name).

        Raises:
            TaskError: if a part of the path is not a directory.
        """

        def enter(part: bytes) -> int:
            try:
                return self.open_straight(part, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise (
                    TaskError(tasks.NOT_DIRECTORY, part) if error.errno == errno.ELOOP else failure(error, part)
                ) from None

        return self._directory(path, enter, made)

    def place(self, path: bytes) -> tuple[int, bytes, bytes]:
        """Return where to write a file: its directory (created if missing), its name there, and its path.

        A link is followed, even a dangling one.

        Raises:
            TaskError: if it leads outside.
        """
        for _ in range(_MAX_LINKS):
            above, _, name = path.rpartition(b"/")
            if name in (b"", b".", b".."):
                raise TaskError(tasks.IS_DIRECTORY, path)
            directory = self.make_directory(above)
            try:
                target = os.readlink(name, dir_fd=directory)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT):
                    return directory, name, path
                raise failure(error, path) from None
            os.close(directory)
            if not target.startswith(b"/"):
                path = above + b"/" + target if above else target
            elif target.startswith(self.mount_point + b"/") and self.roots.is_machine:
                path = target[len(self.mount_point) :].lstrip(b"/")
            else:
                raise TaskError(tasks.OUTSIDE, path)
        raise TaskError(tasks.NOT_FILE, path)

    def _directory(self, path: bytes, enter: Callable[[bytes], int], made: list[tuple[int, bytes]] | None) -> int:
        try:
            return enter(path)
        except TaskError as error:
            if error.code != tasks.MISSING:
                raise
        above, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            raise TaskError(tasks.MISSING, path)
        parent = self._directory(above, enter, made)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            # Another process created it first; or it is a dangling link, for which `enter` fails below.
            os.close(parent)
        except OSError as error:
            os.close(parent)
            raise failure(error, path) from None
        else:
            if made is None:
                os.close(parent)
            else:
                made.append((parent, name))
        return enter(path)

    def _open_from_root(self, path: bytes, flags: int) -> int:
        way = self.mount_point[1:] + b"/" + path
        try:
            place = self._open(self._whole, way, os.O_PATH | flags & (os.O_NOFOLLOW | os.O_DIRECTORY), _IN_ROOT)
        except OSError as error:
            raise failure(error, path) from None
        try:
            if os.fstat(place).st_dev != self._device:
                raise TaskError(tasks.OUTSIDE, path)
            if flags & os.O_PATH:
                return os.dup(place)
            return os.open(f"/proc/self/fd/{place}", flags & ~os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise failure(error, path) from None
        finally:
            os.close(place)

    def _open(self, directory: int, path: bytes, flags: int, resolve: int) -> int:
        for _ in range(_ATTEMPTS):
            try:
                return syscalls.openat2(directory, path, flags, resolve | syscalls.RESOLVE_NO_MAGICLINKS)
            except BlockingIOError:
                continue
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _open_guest(self, root: bytes) -> int:
        try:
            with open(self.roots.pid_file, encoding="ascii") as file:
                return os.open(f"/proc/{file.read()}/root", _PATH_DIRECTORY)
        except OSError:
            # The workload has no namespaces yet: only its disks are visible.
            return self._open_root(root, 0)

    def _open_root(self, path: bytes, flags: int) -> int:
        try:
            return os.open(path, _PATH_DIRECTORY | flags)
        except OSError as error:
            raise failure(error, b"") from None


_IN_ROOT = syscalls.RESOLVE_IN_ROOT
