"""A staging directory next to a new host path, in which its content is prepared.

It is private to this process and locked while it exists. The result is renamed without replacing anything, and staging
directories of dead processes are removed. After the first lookup, all operations are relative to descriptors.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import is_same, remove_tree
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import closing_fd

PREFIX = ".pyro-export-"
_STAGED = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")
# The future output, in the staging directory.
RESULT = b"result"
_MAX_PATH_BYTES = 4096
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class Staging:
    """A staging directory: its descriptor, and that of the directory for the result."""

    fd: int
    parent_fd: int
    output: Path

    def publish(self) -> None:
        """Rename the result to its final name.

        Raises:
            PyroError: CONFLICT if that name exists by now.
            OSError: for other errors.
        """
        name = os.fsencode(self.output.name)
        fault_point("export.before_publish")
        _refuse_existing(self.parent_fd, name, self.output)
        if stat.S_ISDIR(os.stat(RESULT, dir_fd=self.fd, follow_symlinks=False).st_mode):
            # This could only replace an empty directory, created after the check.
            os.rename(RESULT, name, src_dir_fd=self.fd, dst_dir_fd=self.parent_fd)
        else:
            self._publish_file(name)
        fault_point("export.published")

    def _publish_file(self, name: bytes) -> None:
        try:
            os.link(RESULT, name, src_dir_fd=self.fd, dst_dir_fd=self.parent_fd, follow_symlinks=False)
        except FileExistsError:
            raise _existing(self.output) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(RESULT, name, src_dir_fd=self.fd, dst_dir_fd=self.parent_fd)


@contextmanager
def staged_beside(output: Path, *, notes: Path | None = None) -> Generator[Staging]:
    """Yield a staging directory on the file system of `output`. It is removed at the end, with unpublished content.

    With `notes`, a directory of the product, `sweep_noted` can find leftovers of killed processes.

    Raises:
        PyroError: CONFLICT if `output` already exists; NOT_FOUND, INVALID, PERMISSION, NO_SPACE.
    """
    if output.name in {"", ".", ".."}:
        raise PyroError(ErrorCode.INVALID, f"{output} can't be created", hint="Give a new path.")
    with _parents(output), closing_fd(_open_parent(output)) as parent_fd:
        _refuse_existing(parent_fd, os.fsencode(output.name), output)
        _sweep(parent_fd)
        with _noted(notes, output.parent):
            name, fd = _make(output, parent_fd)
            try:
                yield Staging(fd, parent_fd, output)
            finally:
                try:
                    remove_tree(Path(f"/proc/self/fd/{parent_fd}/{name}"))
                finally:
                    os.close(fd)


def sweep_noted(notes: Path) -> None:
    """Remove the staging directories of killed processes, wherever they are."""
    with suppress(FileNotFoundError), os.scandir(notes) as found:
        for entry in found:
            with suppress(OSError, PyroError):
                _settle(entry.path)


def _settle(note: str) -> None:
    with closing_fd(os.open(note, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd:
        if not _lock(fd):
            return
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            closing_fd(os.open(os.read(fd, _MAX_PATH_BYTES), _OPEN_DIRECTORY)) as parent_fd,
        ):
            _sweep(parent_fd)
        os.unlink(note)


@contextmanager
def _noted(notes: Path | None, parent: Path) -> Generator[None]:
    """Keep a note of `parent` in `notes`, locked by this process, within the block. On a full disk there is none."""
    if notes is None:
        yield
        return
    path, fd = notes / os.urandom(8).hex(), -1
    with suppress(OSError):
        os.makedirs(notes, 0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if fd >= 0 and _lock(fd):
            with suppress(OSError):
                os.write(fd, os.fsencode(os.path.abspath(parent)))
        yield
    finally:
        if fd >= 0:
            with suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)


@contextmanager
def _parents(output: Path) -> Generator[None]:
    """Create the missing parents of a new path; remove those that are empty after a failure."""
    made = [each for each in output.parents if not each.exists()]
    try:
        with os_errors(f"create the directory {output.parent}"):
            output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in made:
            with suppress(OSError):
                each.rmdir()
        raise


def _open_parent(output: Path) -> int:
    with os_errors(f"open the directory {output.parent}"):
        # The user chose this path, so links in it are followed; everything else is relative to this descriptor.
        return os.open(output.parent, _OPEN_DIRECTORY)


def _refuse_existing(parent_fd: int, name: bytes, output: Path) -> None:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        raise _existing(output)


def _existing(output: Path) -> PyroError:
    return PyroError(
        ErrorCode.CONFLICT,
        f"{output} already exists",
        hint="Existing files are never overwritten: use another path, or move it away.",
        details={"path": str(output)},
    )


def _make(output: Path, parent_fd: int) -> tuple[str, int]:
    """Create a uniquely named directory and lock it. The lock shows that its creator is alive."""
    while True:
        name = f"{PREFIX}{os.urandom(8).hex()}"
        with os_errors(f"write to the directory {output.parent}"):
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        fd = _open_own(name, parent_fd)
        if fd is None:
            continue
        if _lock(fd) and is_same(fd, name, parent_fd):
            return name, fd
        # A sweep came between mkdir and the lock, and removes it as an abandoned one.
        os.close(fd)


def _open_own(name: str, parent_fd: int) -> int | None:
    try:
        return os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
    except OSError:
        return None


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(parent_fd: int) -> None:
    """Remove staging directories of this user's dead processes."""
    with os.scandir(parent_fd) as found:
        names = [entry.name for entry in found if _STAGED.fullmatch(entry.name)]
    for name in names:
        fd = _open_own(name, parent_fd)
        if fd is None:
            continue
        try:
            if os.fstat(fd).st_uid == os.geteuid() and _lock(fd):
                remove_tree(Path(f"/proc/self/fd/{parent_fd}/{name}"))
        finally:
            os.close(fd)
