"""Progress of a long operation, as lines on stderr, with a heartbeat at least every five seconds."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Protocol, TextIO

from pyro_mcp.errors import PyroError
from pyro_mcp.host.closing import Closing
from pyro_mcp.host.threads import start_thread

HEARTBEAT_S = 4.0


class Progress(Protocol):
    """Receives progress reports of a running operation."""

    def phase(self, name: str, message: str = "") -> None:
        """Begin the phase `name`, with a short description."""
        ...

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Report how much of the phase is done (0 to 1; None: not known), and its current activity."""
        ...


class Silent:
    """Discards progress reports."""

    def phase(self, name: str, message: str = "") -> None:
        """Do nothing."""

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Do nothing."""


class Lines(Closing):
    """Prints progress as lines of text: one per phase, and a heartbeat after four seconds without output."""

    def __init__(self, stream: TextIO, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = ""
        self._latest = ""
        self._began = 0.0
        self._said = 0.0

    def phase(self, name: str, message: str = "") -> None:
        """Print the phase's line, and start measuring its time."""
        with self._lock:
            self._name, self._latest = name, message
            self._began = time.monotonic()
            self._print(message)
        if self._thread is None:
            thread = threading.Thread(target=self._beat, name="progress", daemon=True)
            # Without the thread there is just no heartbeat.
            with suppress(PyroError):
                start_thread(thread)
                self._thread = thread

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Keep the report for the next heartbeat: a line for each would flood a log."""
        with self._lock:
            percent = "" if fraction is None else f"{min(max(fraction, 0.0), 1.0):.0%}"
            self._latest = " ".join(part for part in (percent, message) if part) or self._latest

    def close(self) -> None:
        """End the heartbeat."""
        self._finished.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _beat(self) -> None:
        pause_s = self._heartbeat_s
        while not self._finished.wait(pause_s):
            with self._lock:
                now = time.monotonic()
                pause_s = self._said + self._heartbeat_s - now
                if pause_s <= 0:
                    self._print(f"{self._latest} ({now - self._began:.0f} s)".lstrip())
                    pause_s = self._heartbeat_s

    def _print(self, message: str) -> None:
        self._said = time.monotonic()
        try:
            self._stream.write(f"[{self._name}] {message}".rstrip() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # The stream is closed. The operation itself continues.
            self._finished.set()
