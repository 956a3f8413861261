"""The trees that tasks work on, and resolving a name to a file in one.

No name leads out: the kernel resolves it below a descriptor of the area's root (openat2(2)), whatever links the
workload makes or swaps meanwhile.

Absolute links are followed in a guest as the workload means them, from the environment's root, as long as they end in
the area: the workspace is a file system of its own, so a file's device tells where it is.
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
# Nothing waits for a fifo's other end, and no terminal becomes ours.
OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MAX_LINKS = 40
# The kernel gives up (EAGAIN) when something on the way is renamed meanwhile.
_ATTEMPTS = 64


class TaskRoots:
    """Where things are, for tasks. `root` is the environment's, in a guest; `baseline` is a directory on a host.

    `pid_file` names the workload's PID 1, in a guest.
    """

    __slots__ = ("baseline", "inspecting", "pid_file", "root", "workspace")

    def __init__(
        self, workspace: bytes, *, root: bytes | None = None, baseline: bytes | None = None, pid_file: str = ""
    ) -> None:
        self.workspace = workspace
        self.root = root
        self.pid_file = pid_file
        self.baseline = baseline
        #: Nothing runs and nothing is written: the whole root may be looked at.
        self.inspecting = False

    @property
    def is_machine(self) -> bool:
        """Say whether there is a guest around the agent, with disks."""
        return self.root is not None


class Area:
    """A tree. Its descriptors live as long as the task's process."""

    def __init__(self, grounds: TaskRoots, name: object) -> None:
        """Open it.

        Raises:
            TaskError: if there is none of that name, or it may not be looked at.
        """
        self.grounds = grounds
        #: All of it is on one disk.
        self.is_one_disk = name == tasks.WORKSPACE
        self._whole = -1
        self._device = 0
        if name == tasks.WORKSPACE:
            self.mount_point = b"/workspace"
            self.fd = self._open_root(grounds.workspace, os.O_NOFOLLOW)
            self._resolve = syscalls.RESOLVE_BENEATH
            if grounds.root is not None:
                self._whole = self._open_root(grounds.root, 0)
                self._device = os.fstat(self.fd).st_dev
        elif name == tasks.ROOT and grounds.root is not None and grounds.inspecting:
            self.mount_point = b""
            self.fd = self._open_root(grounds.root, 0)
            self._resolve = syscalls.RESOLVE_IN_ROOT
        elif name == tasks.GUEST and grounds.root is not None and not grounds.inspecting:
            self.mount_point = b""
            self.fd = self._open_guest(grounds.root)
            self._resolve = syscalls.RESOLVE_IN_ROOT
        else:
            raise TaskError(tasks.UNSUPPORTED, message=f"there is no area {name!r} to look at")

    def open(self, path: bytes, flags: int) -> int:
        """Open what a path leads to, through links inside the area.

        Raises:
            TaskError: if there is nothing, or it is elsewhere.
        """
        try:
            return self._open(self.fd, path or b".", flags, self._resolve)
        except OSError as error:
            if error.errno != errno.EXDEV or self._whole < 0:
                raise failure(error, path) from None
        return self._open_from_root(path, flags)

    def open_straight(self, path: bytes, flags: int) -> int:
        """Open what stands at a path, through no link at all. With O_PATH and O_NOFOLLOW it may be one itself.

        Raises:
            OSError: ELOOP for links.
        """
        return self._open(self.fd, path or b".", flags, syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS)

    def open_file(self, path: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file for reading.

        Raises:
            TaskError: if it is none.
        """
        fd = self.open(path, OPEN_FILE)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise TaskError(tasks.IS_DIRECTORY if stat.S_ISDIR(found.st_mode) else tasks.NOT_FILE, path)
        return fd, found

    def make_directory(self, path: bytes) -> int:
        """Open a directory, and make it, and those above it, where they are missing. Links inside are followed.

        Raises:
            TaskError: if something else is there, or it is elsewhere.
        """
        return self._directory(path, lambda part: self.open(part, os.O_RDONLY | os.O_DIRECTORY), None)

    def make_directory_straight(self, path: bytes, made: list[tuple[int, bytes]]) -> int:
        """Do the same through no link. Each one made is added to `made`, as the directory above and the name in it.

        Raises:
            TaskError: if something else is on the way.
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
        """Return where to write a file: its directory, which is made if missing, its name there, and its path.

        A link is followed, also one that leads to nothing yet.

        Raises:
            TaskError: if that is elsewhere.
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
            elif target.startswith(self.mount_point + b"/") and self.grounds.is_machine:
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
            # Somebody else was quicker; or a link leads to nothing, which the next look finds.
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
            with open(self.grounds.pid_file, encoding="ascii") as file:
                return os.open(f"/proc/{file.read()}/root", _PATH_DIRECTORY)
        except OSError:
            # Nothing of the workload runs: without it there is what is on its disks.
            return self._open_root(root, 0)

    def _open_root(self, path: bytes, flags: int) -> int:
        try:
            return os.open(path, _PATH_DIRECTORY | flags)
        except OSError as error:
            raise failure(error, b"") from None


_IN_ROOT = syscalls.RESOLVE_IN_ROOT
