"""A whole stream at once, for `TreeReceiver`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyro_mcp.host.progress import Progress
from pyro_mcp.trees.entries import Bounds
from pyro_mcp.trees.hooks.gate import HookPolicy
from pyro_mcp.trees.receive import ReceiveReport, TreeReceiver


def receive_tree(
    chunks: Iterable[bytes],
    output_path: Path,
    *,
    hooks: HookPolicy | None = None,
    bounds: Bounds | None = None,
    progress: Progress | None = None,
) -> ReceiveReport:
    """Write the tree of a guest's stream to `output_path`."""
    with TreeReceiver(output_path, hooks=hooks, bounds=bounds, progress=progress) as receiver:
        for chunk in chunks:
            receiver.feed(chunk)
        return receiver.finish()
