"""Write, stage, copy and remove files so that a crash leaves either the old or the new content.

Nothing becomes visible before it is on the disk. Removal does not follow symbolic links.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import closing_fd, write_at

_FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
_LONG_PATH_BYTES = 2048  # PATH_MAX is 4096, NAME_MAX 255
_COPY_BYTES = 8 * 1024 * 1024
_NO_CLONE = {
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EINVAL,
    errno.EPERM,
    errno.ENOSYS,
    errno.EBADF,
}
_NO_COPY_RANGE = {*_NO_CLONE, errno.EIO}


def fsync_dir(path: Path) -> None:
    """Write the directory's entries to the disk."""
    with closing_fd(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        os.fsync(fd)


def atomic_write(path: Path, data: bytes, mode: int = 0o600, *, syncs_directory: bool = True) -> None:
    """Durably replace the content of `path`. Readers see, and a crash leaves, either the old or the new content.

    The new content is prepared in the same directory as `.NAME.new`, under a lock, so that a crash leaves at most that
    one file, which the next write reuses. Without `syncs_directory`, the old content may reappear after a power cut
    until the caller has synced the directory.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    staged = path.with_name(f".{path.name}.new")
    with os_errors(f"write {path}"):
        fd = _open_locked(staged)
        try:
            _fill(fd, data, mode)
            fault_point("atomic_write.before_rename")
            os.rename(staged, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(staged)
            raise
        finally:
            os.close(fd)
        fault_point("atomic_write.before_dir_sync")
        if syncs_directory:
            fsync_dir(path.parent)


def _open_locked(staged: Path) -> int:
    """Open and lock the staging file. Retry if the previous holder renamed it meanwhile."""
    while True:
        fd = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_same(fd, staged):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_same(fd: int, path: Path | str, dir_fd: int | None = None) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.lstat(path, dir_fd=dir_fd), os.fstat(fd))
    except FileNotFoundError:
        return False


def _fill(fd: int, data: bytes, mode: int) -> None:
    os.ftruncate(fd, 0)
    write_at(fd, memoryview(data), 0)
    fault_point("atomic_write.before_sync")
    os.fchmod(fd, mode)
    os.fsync(fd)


@contextmanager
def staged_dir(tmp_root: Path, target: Path, *, replaces: bool = False) -> Generator[Path]:
    """Yield an empty private directory below `tmp_root` that becomes `target` when the block succeeds.

    Its contents are synced before the rename; `tmp_root` must be on the file system of `target`. If `target` exists by
    then, it is kept and the new directory is dropped (targets are named by their digest, so both are equal); with
    `replaces`, the existing one is moved away and removed. On an exception nothing is left; after a crash,
    `sweep_staged` removes the rest.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    staged, fd = _make_locked(tmp_root)
    with os_errors(f"create {target}"):
        try:
            yield staged
            sync_tree(staged)
            fault_point("staged_dir.before_rename")
            _publish(staged, target, tmp_root, replaces=replaces)
            fault_point("staged_dir.before_dir_sync")
            fsync_dir(target.parent)
        finally:
            if os.path.lexists(staged):
                remove_tree(staged)
            os.close(fd)


def _publish(staged: Path, target: Path, tmp_root: Path, *, replaces: bool) -> None:
    if replaces and os.path.lexists(target):
        aside, fd = _make_locked(tmp_root)
        try:
            os.rename(target, aside / "replaced")
            fault_point("staged_dir.between_renames")
            os.rename(staged, target)
        finally:
            remove_tree(aside)
            os.close(fd)
        return
    try:
        os.rename(staged, target)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise


def _make_locked(tmp_root: Path) -> tuple[Path, int]:
    """Create and lock a staging directory. The lock shows that its creator is alive."""
    while True:
        staged = tmp_root / os.urandom(8).hex()
        os.mkdir(staged, 0o700)
        fd = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_same(fd, staged):
                return staged, fd
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        # A sweep came between mkdir and the lock, and removes it as an abandoned one.
        os.close(fd)


def sweep_staged(tmp_root: Path) -> int:
    """Remove entries that dead processes left below `tmp_root`, and return their number."""
    swept = 0
    with suppress(FileNotFoundError), os.scandir(tmp_root) as entries:
        for entry in entries:
            with (
                suppress(FileNotFoundError, BlockingIOError),
                closing_fd(os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd,
            ):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(Path(entry.path))
                swept += 1
    return swept


def sync_tree(path: Path) -> None:
    """Write `path` and every regular file and directory below it to the disk."""
    for directory, _, files, fd in os.fwalk(path):
        for name in files:
            if stat.S_ISREG(os.lstat(name, dir_fd=fd).st_mode):
                with closing_fd(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=fd)) as file:
                    os.fsync(file)
        del directory
        os.fsync(fd)


def remove_tree(path: Path) -> None:
    """Remove the file or directory tree `path` if it exists. Links are not followed.

    Raises:
        PyroError: PERMISSION and others, naming the path that could not be removed.
    """
    try:
        _remove(path)
    except OSError as error:
        raise from_os_error(error, f"remove {error.filename or path}") from error


def _remove(path: Path) -> None:
    pending = [os.fspath(path)]
    while pending:
        current = pending[-1]
        try:
            if not stat.S_ISDIR(os.lstat(current).st_mode):
                os.unlink(current)
                pending.pop()
                continue
            below = _subdirectories_after_unlinking_files(current, pending[0])
            if below:
                pending += below
            else:
                os.rmdir(current)
                pending.pop()
        except FileNotFoundError:
            pending.pop()
        except NotADirectoryError:
            # The directory was replaced by a link meanwhile: examine it again.
            continue


def _subdirectories_after_unlinking_files(directory: str, top: str) -> list[str]:
    below: list[str] = []
    with closing_fd(_open_directory(directory)) as fd, os.scandir(fd) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False) and _unlinked(entry.name, fd):
                continue
            path = os.path.join(directory, entry.name)
            if len(os.fsencode(path)) > _LONG_PATH_BYTES:
                # The tree is deeper than PATH_MAX: move this branch to the top.
                path = os.path.join(top, os.urandom(8).hex())
                os.rename(entry.name, path, src_dir_fd=fd)
            below.append(path)
    return below


def _unlinked(name: str, directory_fd: int) -> bool:
    """Unlink `name`; return False if it was replaced by a directory after it was listed."""
    try:
        os.unlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    return True


def _open_directory(path: str) -> int:
    flags = os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    with closing_fd(os.open(path, os.O_PATH | flags)) as handle:
        # Archives and builds may create directories that their owner can't enter.
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sparse_copy(src_fd: int, dst_fd: int) -> None:
    """Copy a file into an empty one, sharing blocks if the file system can, otherwise copying only its data.

    Holes are preserved. The destination is not synced.

    Raises:
        PyroError: NO_SPACE and others; INVALID if the source shrinks meanwhile.
    """
    with os_errors("copy a disk image"):
        try:
            fcntl.ioctl(dst_fd, _FICLONE, src_fd)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
        else:
            return
        size = os.fstat(src_fd).st_size
        os.ftruncate(dst_fd, size)
        for start, end in data_extents(src_fd, size):
            if copy_range(src_fd, dst_fd, end - start, start, start) < end - start:
                raise PyroError(ErrorCode.INVALID, "the file shrank while it was copied", hint="Try again.")


def data_extents(fd: int, size: int) -> Generator[tuple[int, int]]:
    """Yield the start and end of each data segment of a sparse file."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end


def copy_range(source: int, target: int, length: int, offset: int, at: int) -> int:
    """Copy up to `length` bytes from `offset` in one file to `at` in another; return the number of bytes copied."""
    done = 0
    within_kernel = True
    while done < length:
        count = 0
        if within_kernel:
            try:
                count = os.copy_file_range(source, target, min(length - done, _COPY_BYTES), offset + done, at + done)
            except OSError as error:
                if error.errno not in _NO_COPY_RANGE:
                    raise
                within_kernel = False
                continue
        if count == 0:
            # Also when copy_file_range returns 0: some file systems do that for files with content.
            data = os.pread(source, min(length - done, _COPY_BYTES), offset + done)
            count = len(data)
            write_at(target, memoryview(data), at + done)
        if count == 0:
            break
        done += count
    return done
