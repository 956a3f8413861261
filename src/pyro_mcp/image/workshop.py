"""The directory in which one thing is built, held under a lock, and removed however the build ends."""

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

# A pull waits for another's: long enough for a slow mirror, bounded in case the other one hangs.
_WAIT_S = 3600.0


def _places(paths: Paths) -> Path:
    return paths.cache / "build"


def _lock_path(paths: Paths, name: str) -> Path:
    return ensure_private_dir(paths.locks) / f"pull-{name}"


@contextmanager
def pull_lock(paths: Paths, name: str, what: str, progress: Progress) -> Generator[None]:
    """Hold the right to build `name`, which messages call `what`; while another process has it, wait and say so.

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
    """Hold the right to build `name` if no other process has it; return whether that is so."""
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
    """Yield an empty directory to build `name` in, and remove it with all in it afterwards.

    The caller holds the pull lock of `name`, so what is found there was left by a build that was killed.
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
    """Remove what builds that were killed left behind, and return how many that were."""
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
