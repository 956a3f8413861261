"""The lock that keeps images in place while their use is being recorded.

Every run takes it, so this module imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.paths import Paths, ensure_private_dir

_WAIT_S = 60.0


def using_images(paths: Paths) -> AbstractContextManager[None]:
    """Keep every image where it is while one is found and its use recorded. Any number may do so at once.

    Raises:
        PyroError: BUSY if a prune takes longer than a minute.
    """
    return _lock(paths, shared=True)


def keeping_others_out(paths: Paths) -> AbstractContextManager[None]:
    """Hold the image cache alone, to remove from it.

    Raises:
        PyroError: BUSY if images are in use all the time for a minute.
    """
    return _lock(paths, shared=False)


@contextmanager
def _lock(paths: Paths, *, shared: bool) -> Generator[None]:
    ensure_private_dir(paths.cache)
    place = ensure_private_dir(paths.locks) / "images"
    with file_lock(place, shared=shared, timeout_s=_WAIT_S, waiting_for="the image cache"):
        yield
