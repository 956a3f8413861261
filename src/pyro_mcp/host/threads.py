"""Start threads, reporting a reached limit as an error: RLIMIT_NPROC limits threads as well as processes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyro_mcp.errors import from_os_error

if TYPE_CHECKING:
    import threading


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        PyroError: UNAVAILABLE.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise from_os_error(OSError(errno.EAGAIN, str(error)), f"start a thread for {thread.name}") from error
