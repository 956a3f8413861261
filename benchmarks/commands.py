"""Benchmark whole `pyro` processes, from exec to exit."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measure import Row, repeat
from pyro_mcp.host import process

_PYRO = Path(sys.executable).parent / "pyro"


def rows(*, times: int) -> list[Row]:
    """Measure commands whose start-up time users notice."""
    return [
        _command("pyro --version", "≤ 100 ms", times, "--version"),
        _command("pyro env list", "≤ 250 ms", times, "env", "list"),
        _command("pyro run debian:12 -- true", "≤ 600 ms", times, "run", "debian:12", "--", "true"),
    ]


def _command(what: str, target: str, times: int, *arguments: str) -> Row:
    return repeat(what, lambda: process.run([_PYRO, *arguments], timeout_s=120), times=times, target=target)
