"""Cancel an operation from another thread. The operation itself decides how to stop."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

from pyro_mcp.errors import ErrorCode, PyroError


class CancelToken:
    """Cancels an operation. May be used from any thread, at any time, and repeatedly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._watchers: set[int] = set()

    @property
    def cancelled(self) -> bool:
        """Return whether the operation was cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the operation, and wake threads that are waiting in `watch`."""
        with self._lock:
            self._cancelled = True
            for fd in self._watchers:
                os.eventfd_write(fd, 1)

    def check(self) -> None:
        """Raise CANCELLED if the operation was cancelled."""
        if self._cancelled:
            raise self.error()

    def error(self) -> PyroError:
        """Return the error of a cancelled operation."""
        return PyroError(ErrorCode.CANCELLED, "the operation was cancelled")

    @contextmanager
    def watch(self) -> Generator[int]:
        """Yield a descriptor that becomes readable when the operation is cancelled."""
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with self._lock:
                self._watchers.add(fd)
                if self._cancelled:
                    os.eventfd_write(fd, 1)
            yield fd
        finally:
            with self._lock:
                self._watchers.discard(fd)
            os.close(fd)
