"""Show progress as a bar on a terminal.

Imported only if stderr is a terminal: rich takes longer to load than most operations.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from pyro_mcp.host.progress import Lines


class Bar(Lines):
    """Shows one bar per phase. Since the elapsed time is updated, no heartbeat is needed."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._bars = RichProgress(
            TextColumn("[{task.fields[phase]}]", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(file=stream),
        )
        self._task = None if stream.closed else self._bars.add_task("", phase="", total=None, visible=False)

    def phase(self, name: str, message: str = "") -> None:
        """Complete the previous phase's bar and start a new one."""
        if self._task is None:
            return
        # If no thread can be started, the bar is not refreshed automatically.
        with suppress(RuntimeError):
            self._bars.start()
        self._finish()
        self._task = self._bars.add_task(message, phase=name, total=None)

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Update the bar and its description."""
        if self._task is None:
            return
        if fraction is not None:
            self._bars.update(self._task, total=1.0, completed=min(max(fraction, 0.0), 1.0))
        if message:
            self._bars.update(self._task, description=message)

    def close(self) -> None:
        """Stop updating the bars, and restore the terminal."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=1.0, completed=1.0)
