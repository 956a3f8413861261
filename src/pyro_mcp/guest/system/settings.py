"""Apply the settings on the root disk that a system applies at boot: sysctl.conf(5) and limits.conf(5).

The workload controls these files. Settings that can't be read or applied are skipped; a failure to apply one is logged.
"""

from __future__ import annotations

import os
import resource
import stat

from pyro_mcp.guest import syscalls
from pyro_mcp.guest.console import log
from pyro_mcp.guest.system.workload import write_file

# Soft and hard limit; None leaves it unchanged.
Limits = dict[int, tuple[int | None, int | None]]

_SYSCTL = ("etc/sysctl.d", "etc/sysctl.conf")
_LIMITS = ("etc/security/limits.conf", "etc/security/limits.d")
_MOST_FILES = 100
_MOST_BYTES = 65536
_MOST_DIGITS = 16
# The name in limits.conf: the limit, and its unit.
_ITEMS = {
    "as": (resource.RLIMIT_AS, 1024),
    "core": (resource.RLIMIT_CORE, 1024),
    "cpu": (resource.RLIMIT_CPU, 60),
    "data": (resource.RLIMIT_DATA, 1024),
    "fsize": (resource.RLIMIT_FSIZE, 1024),
    "memlock": (resource.RLIMIT_MEMLOCK, 1024),
    "msgqueue": (resource.RLIMIT_MSGQUEUE, 1),
    "nofile": (resource.RLIMIT_NOFILE, 1),
    "nproc": (resource.RLIMIT_NPROC, 1),
    "rtprio": (resource.RLIMIT_RTPRIO, 1),
    "sigpending": (resource.RLIMIT_SIGPENDING, 1),
    "stack": (resource.RLIMIT_STACK, 1024),
}
_UNLIMITED = ("unlimited", "infinity", "-1")
_DOMAINS = ("*", "root")


def apply_sysctl(root: str) -> None:
    """Set the kernel parameters given by the files below `root`."""
    for line in _lines(root, _SYSCTL, comments="#;"):
        name, equals, value = line.lstrip("-").partition("=")
        # If the first separator is a slash, dots are part of the names.
        name = name.strip()
        first = min((each for each in "./" if each in name), key=name.index, default="/")
        parts = name.split(first)
        if first == ".":
            parts = [part.replace("/", ".") for part in parts]
        if not equals or not all(part.strip(".") for part in parts):
            continue
        try:
            write_file("/".join(["/proc/sys", *parts]), value.strip())
        except (OSError, ValueError) as error:
            log(f"sysctl {name[:100]!r}: {error}")


def read_limits(root: str) -> Limits:
    """Return the limits that the files below `root` set for every user, or for root."""
    found: Limits = {}
    for line in _lines(root, _LIMITS, comments="#"):
        domain, kind, item, value, *_ = [*line.split("#")[0].split(), "", "", "", ""]
        if domain not in _DOMAINS or item not in _ITEMS or kind not in {"soft", "hard", "-"}:
            continue
        number, unit = _ITEMS[item]
        if value in _UNLIMITED:
            limit = resource.RLIM_INFINITY
        elif value.isascii() and value.isdigit() and len(value) < _MOST_DIGITS:
            limit = int(value) * unit
        else:
            continue
        soft, hard = found.get(number, (None, None))
        found[number] = (soft if kind == "hard" else limit, hard if kind == "soft" else limit)
    return found


def set_limits(limits: Limits) -> None:
    """In a child that is still root: set the limits."""
    for number, wanted in limits.items():
        before = resource.getrlimit(number)
        soft, hard = (old if new is None else new for old, new in zip(before, wanted, strict=True))
        if hard != resource.RLIM_INFINITY:
            soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:
            log(f"limit {number}: {error}")


def _lines(root: str, places: tuple[str, ...], *, comments: str) -> list[str]:
    """Return the lines of these files, and of the files in these directories, in order of precedence."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        text = "\n".join(_read(top, path) for place in places for path in _files(top, place))
    finally:
        os.close(top)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and line[0] not in comments]


def _files(top: int, place: str) -> list[str]:
    if place.endswith(".conf"):
        return [place]
    try:
        fd = syscalls.openat2(top, os.fsencode(place), os.O_RDONLY | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    except OSError:
        return []
    try:
        names = sorted(name for name in os.listdir(fd) if name.endswith(".conf"))
    finally:
        os.close(fd)
    return [f"{place}/{name}" for name in names[:_MOST_FILES]]


def _read(top: int, path: str) -> str:
    try:
        # Non-blocking, since it may be a fifo.
        fd = syscalls.openat2(top, os.fsencode(path), os.O_RDONLY | os.O_NONBLOCK, syscalls.RESOLVE_IN_ROOT)
    except OSError:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        return os.read(fd, _MOST_BYTES).decode("utf-8", "replace") if is_file else ""
    finally:
        os.close(fd)
