"""Describe the machine on which the figures were taken. Unknown facts are left out, not guessed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from pyro_mcp import __version__
from pyro_mcp.host import process


def describe() -> dict[str, str]:
    """Return the facts of this machine that a figure depends on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "pyro": __version__,
        "cpu": f"{len(os.sched_getaffinity(0))} of {_cpu_model()}",
        "memory": f"{memory_bytes / 2**30:.0f} GiB",
        "system": f"{_distribution()}, Linux {platform.release()}",
        "python": platform.python_version(),
        "qemu": _first_line("qemu-system-x86_64", "--version"),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


def _first_line(*command: str) -> str:
    printed = process.run(command, timeout_s=20, check=False).text
    return printed.splitlines()[0] if printed else ""
