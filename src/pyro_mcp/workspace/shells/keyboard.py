"""Read a user's keys at an attached shell, in a thread: the detach key, size changes, and keys for the shell.

Keys are not queued: as with a real keyboard, unread ones are lost.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyro_mcp.host.threads import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    from pyro_mcp.agent import CancelToken

_READ_BYTES = 4096
_MAX_PENDING_BYTES = 256 * 1024
_RESIZED, _ENDED = b"r", b"e"


class Keyboard:
    """Reads keys from `source` into a pipe, `fd`, until the detach key is pressed. A context manager."""

    def __init__(self, source: int, detach_key: int, cancel: CancelToken, resize: Callable[[], None]) -> None:
        self._source = source
        self._key = bytes([detach_key])
        self._cancel = cancel
        self._resize = resize
        #: The user detached, or the terminal is gone.
        self.is_detached = False
        self._pending = b""
        self.fd, self._pipe = os.pipe2(os.O_CLOEXEC)
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._pipe, False)
        self._thread = threading.Thread(target=self._run, name="keyboard", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for fd in (self.fd, self._pipe, self._woken, self._waker):
            os.close(fd)

    @contextmanager
    def reading(self) -> Generator[None]:
        """Read keys inside the block, and none afterwards."""
        start_thread(self._thread)
        try:
            yield
        finally:
            self._wake(_ENDED)
            self._thread.join()

    def resized(self) -> None:
        """Report that the size may have changed; safe to call from a signal handler."""
        self._wake(_RESIZED)

    def _wake(self, why: bytes) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, why)

    def _run(self) -> None:
        while True:
            poller = select.poll()
            poller.register(self._woken, select.POLLIN)
            if not self.is_detached:
                poller.register(self._source, select.POLLIN)
            if self._pending:
                poller.register(self._pipe, select.POLLOUT)
            ready = {fd for fd, _ in poller.poll()}
            if self._woken in ready:
                why = os.read(self._woken, _READ_BYTES)
                if _ENDED in why:
                    return
                self._resize()
            if self._source in ready:
                self._read()
            self._pass_on()

    def _read(self) -> None:
        try:
            data = os.read(self._source, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        before, key, _ = data.partition(self._key)
        if len(self._pending) < _MAX_PENDING_BYTES:
            self._pending += before
        if key or not data:
            self.is_detached = True
            self._pass_on()
            self._cancel.cancel()

    def _pass_on(self) -> None:
        while self._pending:
            try:
                self._pending = self._pending[os.write(self._pipe, self._pending) :]
            except BlockingIOError:
                return
