"""The temporary directory of a build, protected by a lock, and removed however the build ends."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import durable
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import Paths, ensure_private_dir
from pyro_mcp.host.progress import Progress
from pyro_mcp.image.namespace import Namespace, enter_namespace

# How long a pull waits for another: enough for a slow mirror, but bounded in case the other one hangs.
_WAIT_S = 3600.0


def _places(paths: Paths) -> Path:
    return paths.cache / "build"


def _lock_path(paths: Paths, name: str) -> Path:
    return ensure_private_dir(paths.locks) / f"pull-{name}"


@contextmanager
def pull_lock(paths: Paths, name: str, what: str, progress: Progress) -> Generator[None]:
    """Hold the lock for building `name`, described as `what`; if another process holds it, report that and wait.

    Raises:
        PyroError: BUSY if the other one takes longer than an hour; PERMISSION and others.
    """
    ensure_private_dir(paths.cache)
    ensure_private_dir(paths.tmp)
    path = _lock_path(paths, name)
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, timeout_s=0, waiting_for=what))
        except PyroError as error:
            if error.code is not ErrorCode.BUSY:
                raise
            progress.phase("wait", f"{error.message}: waiting for it to finish")
            stack.enter_context(file_lock(path, timeout_s=_WAIT_S, waiting_for=what))
        yield


@contextmanager
def try_pull_lock(paths: Paths, name: str) -> Generator[bool]:
    """Hold the lock for building `name` if no other process does; yield whether it was acquired."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(_lock_path(paths, name), timeout_s=0, waiting_for=name))
            mine = True
        except PyroError as error:
            if error.code is not ErrorCode.BUSY:
                raise
            mine = False
        yield mine


@contextmanager
def workshop(paths: Paths, name: str, namespace: Namespace) -> Generator[Path]:
    """Yield an empty directory for building `name`, and remove it with its contents afterwards.

    The caller holds the pull lock of `name`, so existing files there are leftovers of a killed build.
    """
    place = ensure_private_dir(_places(paths)) / name
    with os_errors(f"build {name} in {place}"):
        try:
            namespace.remove_tree(place)
            os.mkdir(place, 0o700)
            yield place
        finally:
            namespace.remove_tree(place)


def sweep(paths: Paths) -> int:
    """Remove the directories of killed builds, and return their number."""
    swept = durable.sweep_staged(paths.tmp)
    try:
        left = sorted(os.listdir(_places(paths)))
    except FileNotFoundError:
        return swept
    for name in left:
        with try_pull_lock(paths, name) as mine:
            if mine:
                enter_namespace().remove_tree(_places(paths) / name)
                swept += 1
    return swept
