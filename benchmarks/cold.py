"""Benchmark making a template: the cold boot needed once per shape."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from benchmarks.measure import Row, Stopwatch
from pyro_mcp import Pyro
from pyro_mcp.agent import AgentSession
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.vmm.qemu.driver import QemuDriver

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.agent import GuestInfo
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.vmm.driver import BootPlan, Machine


def rows(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure the first run of a shape for which there is no template, in a cache of its own."""
    whole, boot = Stopwatch(), Stopwatch()
    with TemporaryDirectory(prefix="pyro-bench-", dir=paths.cache) as name, _timing_boots(boot):
        # The images are shared; only what is made from them is rebuilt.
        own = replace(paths, cache=Path(name))
        for shared in ("boot", "boot-kit", "environments", "locks"):
            (own.cache / shared).symlink_to(paths.cache / shared)
        for _ in range(times):
            with whole.time():
                Pyro(paths=own).run_in_vm(environment, ["true"])
            remove_tree(own.templates)
    return [
        boot.row("cold boot of a template's guest, until its agent answers", target="≤ 3 s"),
        whole.row("first run of a shape (cold boot, template, first true)"),
    ]


@contextmanager
def _timing_boots(watch: Stopwatch) -> Generator[None]:
    """Time every cold boot in the block, from the start of the VMM to the agent's first answer."""

    def timed(driver: QemuDriver, plan: BootPlan) -> Machine:
        began.append(time.perf_counter())
        return boot(driver, plan)

    def answered(session: AgentSession, *, timeout_s: float) -> GuestInfo:
        info = ready(session, timeout_s=timeout_s)
        if began:
            watch.samples.append((time.perf_counter() - began.pop()) * 1000)
        return info

    began: list[float] = []
    boot, ready = QemuDriver.boot, AgentSession.ready
    with patch.object(QemuDriver, "boot", timed), patch.object(AgentSession, "ready", answered):
        yield
