"""A pipe that ends when this process does, however it ends: what reads it knows that its owner is gone."""

from __future__ import annotations

import os
import threading

_lock = threading.Lock()
_ends: list[int] = []


def lifeline() -> int:
    """Return the reading end, to be given to a child. This process alone holds the other one, and never writes."""
    with _lock:
        if not _ends:
            _ends.extend(os.pipe2(os.O_CLOEXEC))
        return _ends[0]
