"""Write the seed into a workspace's first disk while the machine starts, and keep a copy as the baseline.

Seeding ends only when the baseline is durable on the host: every reset starts from it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.host.threads import start_thread
from pyro_mcp.model.limits import ROOT_DISK_BYTES
from pyro_mcp.state.workspace_files import sync_workspace
from pyro_mcp.trees.seed import seed_disk
from pyro_mcp.workspace.machines.disks import copy_into, make_sparse, sync_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from pyro_mcp.host.progress import Progress
    from pyro_mcp.model.workspace import Workspace
    from pyro_mcp.state.filenames import WorkspaceFiles
    from pyro_mcp.trees.report import SeedReport
    from pyro_mcp.workspace.engine import Engine
    from pyro_mcp.workspace.lifecycle.spec import WorkspaceSpec


class Seeding:
    """A seeding in progress, in a thread. A context manager: an exception in the block cancels it.

    The VMM may open both disks inside the block; the guest may read them after `laid`.
    """

    def __init__(
        self,
        engine: Engine,
        spec: WorkspaceSpec,
        files: WorkspaceFiles,
        life: int,
        finish: Callable[[SeedReport], Workspace],
        *,
        has_disks: bool,
    ) -> None:
        """`finish` is called when everything is synced, and returns the workspace's record."""
        self._spec = spec
        self._engine = engine
        self._files = files
        self._life = life
        self._has_disks = has_disks
        self._disk = files.workspace_disk(life) if has_disks else files.workspace_tree(life)
        self._baseline = files.baseline_disk if has_disks else files.baseline_tree
        self._avoid = (engine.paths.cache, engine.paths.state, engine.paths.runtime)
        self._news = _News(engine.progress)
        self._laid = threading.Event()
        self._finish = finish
        self._workspace: Workspace | None = None
        self._error: PyroError | None = None
        self._thread = threading.Thread(target=self._work, name="seeding")

    def __enter__(self) -> Self:
        if self._has_disks:
            make_sparse(self._baseline, ROOT_DISK_BYTES)
        else:
            ensure_private_dir(self._disk)
        start_thread(self._thread)
        try:
            # When writing begins, the disk exists and has its size.
            self._news.begun.wait()
            self._check()
        except BaseException:
            self._call_off()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._call_off()
            # An error of the seed tells more than the VMM's, that the disk is missing.
            own = self._error
            says_more = own is not None and own is not error and own.code is not ErrorCode.CANCELLED
            if own is not None and says_more and isinstance(error, PyroError):
                raise own from error

    def laid(self) -> None:
        """Wait until both disks hold the seed.

        Raises:
            PyroError: what is wrong with the seed, naming the path or the member; NO_SPACE.
        """
        self._laid.wait()
        self._check()

    def finish(self) -> Workspace:
        """Wait until all is on the host's disk, and return the workspace's record.

        Raises:
            PyroError: as `laid`.
        """
        self._thread.join()
        self._check()
        if self._workspace is None:
            raise PyroError(ErrorCode.INTERNAL, "the seeding ended without a report")
        return self._workspace

    def _work(self) -> None:
        try:
            report = self._make_disks() if self._has_disks else self._make_trees()
            sync_workspace(self._engine.paths, self._files, self._life, self._engine.clock.wall_s())
            fault_point("ws_seed.synced")
            self._workspace = self._finish(report)
        except OSError as error:
            self._error = from_os_error(error, f"make the baseline {self._baseline}")
        except PyroError as error:
            self._error = error
        finally:
            self._laid.set()
            self._news.begun.set()

    def _make_disks(self) -> SeedReport:
        report = seed_disk(
            self._spec.seed, self._disk, ROOT_DISK_BYTES, self._news, avoid=self._avoid, rules=self._spec.seed_rules
        )
        fault_point("ws_seed.filled")
        copy_into(self._disk, self._baseline)
        os.chmod(self._baseline, 0o400)
        fault_point("ws_seed.copied")
        # Sync while the machine still starts: otherwise the guest's first flush would wait for it.
        sync_disk(self._disk)
        self._laid.set()
        sync_disk(self._baseline)
        return report

    def _make_trees(self) -> SeedReport:
        from pyro_mcp.workspace.lifecycle.host_tree import copy_tree, lay_tree, sync_tree

        report = lay_tree(self._spec.seed, self._disk, self._news, avoid=self._avoid, rules=self._spec.seed_rules)
        fault_point("ws_seed.filled")
        copy_tree(self._disk, self._baseline)
        sync_tree(self._baseline)
        return report

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _call_off(self) -> None:
        self._news.is_unwanted = True
        self._thread.join()


class _News:
    """The thread's progress, which also cancels the thread."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.begun = threading.Event()
        self.is_unwanted = False

    def phase(self, name: str, message: str = "") -> None:
        self.begun.set()
        self._progress.phase(name, message)

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        if self.is_unwanted:
            raise PyroError(ErrorCode.CANCELLED, "the seeding was cancelled")
        self._progress.advance(fraction, message)
