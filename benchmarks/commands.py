"""Benchmark whole `pyro` processes, from exec to exit."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from benchmarks.measure import Row, repeat
from pyro_mcp.host import process

_PYRO = Path(sys.executable).parent / "pyro"
_CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
_ASKED = (
    {"id": 1, "method": "initialize", "params": _CLIENT},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
)


def rows(*, times: int) -> list[Row]:
    """Measure commands whose start-up time users notice."""
    return [
        _command("pyro --version", "≤ 100 ms", times, "--version"),
        _command("pyro env list", "≤ 250 ms", times, "env", "list"),
        _command("pyro run debian:12 -- true", "≤ 600 ms", times, "run", "debian:12", "--", "true"),
        *_first_answers(times),
    ]


def _command(what: str, target: str, times: int, *arguments: str) -> Row:
    return repeat(what, lambda: process.run([_PYRO, *arguments], timeout_s=120), times=times, target=target)


def _first_answers(times: int) -> list[Row]:
    """Measure an MCP server from exec until it has listed its tools."""
    what = "pyro mcp serve → initialize and tools/list answered"
    _first_answer()
    taken = [_first_answer() for _ in range(times)]
    return [
        Row(what, tuple(wall_ms for wall_ms, _, _ in taken), target="≤ 250 ms"),
        Row(f"{what}, processor", tuple(processor_ms for _, processor_ms, _ in taken), target="≤ 260 ms"),
        Row("tools/list, default profile", (taken[0][2],), "KB", "≤ 30 KB"),
    ]


def _first_answer() -> tuple[float, float, float]:
    """Return the time, the processor time of all its processes (both in ms), and the KB of its tools/list."""
    began, used_s = time.perf_counter(), _used_s()
    with process.start([_PYRO, "mcp", "serve"], stdin=process.PIPE, stdout=process.PIPE) as server:
        os.write(
            server.stdin or -1, b"".join(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in _ASKED)
        )
        data = b""
        while data.count(b"\n") < 2:
            data += os.read(server.stdout or -1, 1 << 20)
        took_ms = (time.perf_counter() - began) * 1000
        server.close_stdin()
        server.wait(10)
    return took_ms, (_used_s() - used_s) * 1000, len(data.splitlines()[1]) / 1000


def _used_s() -> float:
    """Return the processor time of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
