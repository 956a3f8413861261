"""Create the disks that a VM writes to: sparse files of a fixed virtual size, after checking for free space.

A disk that a guest has written is never mounted or parsed on the host.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors
from pyro_mcp.host import process
from pyro_mcp.host.durable import sparse_copy
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import NEW_FILE, closing_fd, open_regular
from pyro_mcp.host.threads import start_thread
from pyro_mcp.model.limits import MIN_FREE_BYTES, ROOT_DISK_BYTES
from pyro_mcp.state.filenames import BASELINE_PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.vmm.template import Template

_MKE2FS_TIMEOUT_S = 60.0
_JOURNAL_MIB = 8
# Metadata checksums are slow in a guest without hardware acceleration, and the host never verifies them. Without
# resize_inode and 64bit there is less to write and to copy.
_FEATURES = "^metadata_csum,^64bit,^resize_inode"


def require_space(place: Path, wanted_bytes: int = MIN_FREE_BYTES) -> None:
    """Check that the file system that holds `place` has free space.

    Raises:
        PyroError: NO_SPACE, saying how much is free and where.
    """
    with os_errors(f"read the free space of {place}"):
        found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    # Some file systems (btrfs) count no inodes and report 0 of 0.
    if free >= wanted_bytes and (found.f_favail > 0 or found.f_files == 0):
        return
    lack = "no free inodes"
    if free < wanted_bytes:
        lack = f"{free // 1024**2} MiB free, but {wanted_bytes // 1024**2} MiB are needed"
    raise PyroError(
        ErrorCode.NO_SPACE,
        f"the disk that holds {place} has {lack}",
        hint="Free some disk space (`pyro env prune` helps), or choose another place with PYRO_STATE_DIR"
        " or PYRO_ENVIRONMENT_CACHE_DIR.",
        details={"path": str(place), "free_bytes": free, "wanted_bytes": wanted_bytes},
    )


def make_root_disk(path: Path) -> None:
    """Create an empty root disk: an ext4 file system in a sparse file.

    Raises:
        PyroError: NO_SPACE, MISSING_PROGRAM, PROGRAM_FAILED.
    """
    make_sparse(path, ROOT_DISK_BYTES)
    # No `nodiscard`: mke2fs then knows that the inode tables are zeroes, and the guest need not write them.
    process.run(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            _FEATURES,
            "-m",
            "0",
            "-J",
            f"size={_JOURNAL_MIB}",
            # The file is all zeroes: writing more of them would only take space.
            "-E",
            "lazy_journal_init=1",
            "-L",
            "pyro-root",
            path,
        ],
        timeout_s=_MKE2FS_TIMEOUT_S,
    )


def copy_root_disk(template: Template, name: str, path: Path) -> None:
    """Copy the root disk of a template.

    Raises:
        PyroError: NO_SPACE and others; CORRUPT if the template has changed since it was verified.
    """
    with closing_fd(template.open(name)) as source, closing_fd(_create(path)) as target:
        sparse_copy(source, target)
    fault_point("disk.copied")


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk into a new file, which is not synced.

    Raises:
        PyroError: NO_SPACE and others; CONFLICT if the target already exists.
    """
    with closing_fd(open_regular(source, "the disk")) as reading, closing_fd(_create(target)) as writing:
        sparse_copy(reading, writing)


def make_sparse(path: Path, size_bytes: int) -> None:
    """Create a sparse file of zeroes.

    Raises:
        PyroError: NO_SPACE and others; CONFLICT if it already exists.
    """
    with closing_fd(_create(path)) as fd, os_errors(f"make the disk {path}"):
        os.ftruncate(fd, size_bytes)


def copy_into(source: Path, target: Path) -> None:
    """Copy a disk into an existing, empty one.

    Raises:
        PyroError: NO_SPACE and others.
    """
    with (
        closing_fd(open_regular(source, "the disk")) as reading,
        closing_fd(open_regular(target, "the disk", writable=True)) as writing,
    ):
        sparse_copy(reading, writing)


def sync_disk(path: Path) -> None:
    """Sync a disk to the host's storage.

    Raises:
        PyroError: NO_SPACE and others.
    """
    with closing_fd(open_regular(path, "the disk")) as fd, os_errors(f"sync {path}"):
        os.fdatasync(fd)


class BackgroundWork:
    """Work in a thread, such as syncing a disk, while a machine is brought up. A context manager."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: PyroError | None = None
        self._is_done = False
        self._thread = threading.Thread(target=self._run, name="disks")

    def __enter__(self) -> Self:
        start_thread(self._thread)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._thread.join()

    def finish(self) -> None:
        """Wait until the work is done.

        Raises:
            PyroError: any error of the work, such as NO_SPACE.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._is_done  # noqa: S101 - else the thread has shown why

    def _run(self) -> None:
        try:
            self._work()
            self._is_done = True
        except PyroError as error:
            self._error = error


def placeholder(paths: Paths) -> Path:
    """Return the empty, read-only disk used where there is no baseline. All VMs share it.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    path = paths.state / BASELINE_PLACEHOLDER
    if has_size(path, ROOT_DISK_BYTES):
        return path
    staged = path.with_suffix(".new")
    try:
        # Two processes may do this at once: the disks are identical, and the second one finds it already there.
        with closing_fd(os.open(staged, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o400)) as fd:
            os.ftruncate(fd, ROOT_DISK_BYTES)
        os.rename(staged, path)
    except OSError as error:
        if not has_size(path, ROOT_DISK_BYTES):
            raise from_os_error(error, f"make {path}") from error
    return path


def has_size(path: Path, size_bytes: int) -> bool:
    """Return whether a disk exists and has its size."""
    try:
        return os.lstat(path).st_size == size_bytes
    except FileNotFoundError:
        return False


def _create(path: Path) -> int:
    with os_errors(f"make the disk {path}"):
        return os.open(path, NEW_FILE, 0o600)
