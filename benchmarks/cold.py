"""Making a template: the cold boot that a shape pays for once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Stopwatch
from pyro_mcp import Pyro
from pyro_mcp.host.durable import remove_tree

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths


def rows(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure the first run of a shape for which there is no template, in a cache of its own."""
    watch = Stopwatch()
    with TemporaryDirectory(prefix="pyro-bench-", dir=paths.cache) as name:
        # The images are the same ones: only what is made from them is made anew.
        own = replace(paths, cache=Path(name))
        for shared in ("boot", "boot-kit", "environments", "locks"):
            (own.cache / shared).symlink_to(paths.cache / shared)
        for _ in range(times):
            with watch.time():
                Pyro(paths=own).run_in_vm(environment, ["true"])
            remove_tree(own.templates)
    return [watch.row("first run of a shape (cold boot, template, first true)", target="≤ 3 s for the boot")]
