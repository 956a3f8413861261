"""The locks of one workspace.

Owns which there are and how long is waited for them. Refuses to make commands wait for each other: any number of
processes use a workspace at the same time.

    life    held by the one verb that starts, stops, resets, deletes or takes a snapshot
    use     shared by all who use the guest; held alone by what ends it because its time is up, so that no time to live
            runs out in the middle of something. Taken before `life` where both are needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.state.filenames import VM_LOCKS
from pyro_mcp.state.named_lock import named_lock
from pyro_mcp.state.vm_lock import LOCK_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.host.paths import Paths


@contextmanager
def workspace_lock(paths: Paths, workspace_id: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> Generator[None]:
    """Hold the right to change the workspace's life.

    Raises:
        PyroError: BUSY if another process keeps it for longer than `timeout_s`.
    """
    with named_lock(paths.state / VM_LOCKS, workspace_id, timeout_s=timeout_s, waiting_for=workspace_id):
        yield


@contextmanager
def using_workspace(
    paths: Paths, workspace_id: str, *, alone: bool = False, timeout_s: float = LOCK_TIMEOUT_S
) -> Generator[None]:
    """Keep the workspace's guest from being ended because its time is up; `alone`: while it is being ended for that.

    Raises:
        PyroError: BUSY.
    """
    with named_lock(
        paths.state / VM_LOCKS,
        f"use {workspace_id}",
        shared=not alone,
        timeout_s=timeout_s,
        waiting_for=workspace_id,
    ):
        yield
