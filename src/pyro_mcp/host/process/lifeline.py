"""A pipe that reports end of file when this process ends for any reason, so that children notice."""

from __future__ import annotations

import os
import threading

_lock = threading.Lock()
_ends: list[int] = []


def lifeline() -> int:
    """Return the read end, to be passed to a child. Only this process has the write end, and never writes to it."""
    with _lock:
        if not _ends:
            _ends.extend(os.pipe2(os.O_CLOEXEC))
        return _ends[0]
