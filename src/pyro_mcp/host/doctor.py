"""Examine this host for `pyro doctor`, and find remedies for problems.

/dev/kvm is not examined here: only booting a guest shows whether KVM works, and drivers do that.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.host import programs
from pyro_mcp.host.paths import Paths, ensure_private_dir
from pyro_mcp.host.variables import FORMER, former_in_use, near_misses

PLATFORM = "linux-x86_64"
# The minimum for building an environment: an image, its contents and the packages at the same time.
MIN_CACHE_BYTES = 3 * 1024**3
NETWORK_PROGRAMS = ("passt", "pasta", "nft", "ip", "haproxy", "dnsmasq")


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and the command or step that fixes it. `blocks` is the capability that is unavailable."""

    code: str
    message: str
    hint: str
    blocks: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of this machine."""

    name: str
    distribution: str
    kernel: str
    python: str
    cpu_count: int
    memory_mib: int
    uid: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One of the product's directories."""

    purpose: str
    path: str
    usable: bool
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """A program that the product runs."""

    name: str
    path: str | None


def examine_platform() -> Platform:
    """Return the platform of this machine."""
    found = os.uname()
    return Platform(
        name=f"{found.sysname.lower()}-{found.machine}",
        distribution=programs.read_os_release().get("PRETTY_NAME", "unknown"),
        kernel=found.release,
        python=".".join(str(part) for part in sys.version_info[:3]),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2,
        uid=os.geteuid(),
    )


def examine_directories(paths: Paths) -> tuple[list[Directory], list[Finding]]:
    """Return the product's directories, creating them if possible, and their problems."""
    directories: list[Directory] = []
    findings: list[Finding] = []
    for purpose, path in (("cache", paths.cache), ("state", paths.state), ("runtime", paths.runtime)):
        try:
            ensure_private_dir(path)
        except PyroError as error:
            findings.append(Finding(error.code.value, error.message, error.hint, "vm_boot"))
            directories.append(Directory(purpose, str(path), usable=False, free_bytes=None))
            continue
        free = _free_bytes(path)
        directories.append(Directory(purpose, str(path), usable=True, free_bytes=free))
        if purpose == "cache" and free < MIN_CACHE_BYTES:
            findings.append(_little_space(path, free))
    return directories, findings


def examine_variables() -> list[Finding]:
    """Return the environment variables that are set but have no effect."""
    found = [Finding("no_effect", f"{name} has no effect now", FORMER[name]) for name in former_in_use()]
    return found + [
        Finding("no_effect", f"{name} has no effect", f"Did you mean {meant}?") for name, meant in near_misses()
    ]


def examine_roots() -> list[Finding]:
    """Return the certificate authorities that this host trusts and a guest does not know."""
    from pyro_mcp.host.roots import extra_roots, remedy

    found = extra_roots()
    if not found:
        return []
    listed = ", ".join(f"{path} ({where})" for path, where in found.items())
    return [
        Finding(
            "extra_roots",
            f"this host trusts certificate authorities that guests do not: {listed}",
            f"If connections go through a proxy with such a root, add to `pyro run`, `pyro workspace create` or"
            f" `pyro host connect`: {remedy(found)}",
        )
    ]


def examine_programs(names: tuple[str, ...] = programs.REQUIRED) -> tuple[list[Program], list[Finding]]:
    """Return the path of each program, and a finding for each group of missing ones."""
    found = [(name, programs.look_up(name)) for name in names]
    listed = [Program(name, str(path) if path else None) for name, path in found]
    findings: list[Finding] = []
    for blocks, absent in (
        ("guest_network", [name for name, path in found if path is None and name in NETWORK_PROGRAMS]),
        ("vm_boot", [name for name in programs.missing(names) if name not in NETWORK_PROGRAMS]),
    ):
        if absent:
            command = programs.install_command(absent)
            hint = command or f"Install the packages that provide {', '.join(absent)}."
            findings.append(Finding("missing_program", f"not installed: {', '.join(absent)}", hint, blocks))
    return listed, findings


def check_platform(found: Platform, wanted: str | None = None) -> list[Finding]:
    """Return the problems of this platform, or of the one named `wanted`."""
    name = wanted or found.name
    if name == PLATFORM:
        return []
    return [
        Finding(
            "unsupported",
            f"{name} is not supported",
            f"Use a machine with Linux on x86_64 ({PLATFORM}).",
            "vm_boot",
        )
    ]


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _little_space(path: Path, free: int) -> Finding:
    return Finding(
        "no_space",
        f"{path} has {free // 1024**2} MiB of free space; building an environment needs {MIN_CACHE_BYTES // 1024**2}",
        "Free some disk space (`pyro env prune` helps), or use another directory with PYRO_ENVIRONMENT_CACHE_DIR.",
    )
