"""The lock that keeps images from being removed while their use is being recorded.

Every run takes it, so this module imports as little as possible.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import Paths, ensure_private_dir

_WAIT_S = 60.0


def using_images(paths: Paths) -> AbstractContextManager[None]:
    """Keep images from being removed while one is found and its use recorded. This is a shared lock.

    Raises:
        PyroError: BUSY if a prune takes longer than a minute.
    """
    return _lock(paths, shared=True)


def keeping_others_out(paths: Paths) -> AbstractContextManager[None]:
    """Lock the image cache exclusively, for removing images.

    Raises:
        PyroError: BUSY if the lock can't be acquired within a minute.
    """
    return _lock(paths, shared=False)


@contextmanager
def _lock(paths: Paths, *, shared: bool) -> Generator[None]:
    ensure_private_dir(paths.cache)
    place = ensure_private_dir(paths.locks) / "images"
    with file_lock(place, shared=shared, timeout_s=_WAIT_S, waiting_for="the image cache"):
        yield
