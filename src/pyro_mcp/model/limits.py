"""Limits that are the same on all hosts, the errors for values outside them, and the shape of a VM."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.errors import ErrorCode, PyroError

DEFAULT_VCPU_COUNT = 1
MIN_VCPU_COUNT = 1
MAX_VCPU_COUNT = 16

DEFAULT_MEM_MIB = 1024
# With less, the guest's kernel and initramfs leave no memory for the workload.
MIN_MEM_MIB = 256
MAX_MEM_MIB = 65536

DEFAULT_TTL_S = 600
MIN_TTL_S = 1
MAX_TTL_S = 7 * 24 * 3600

# The time to live of a workspace, from its last activity on; when it expires, the guest is stopped and the disks kept.
DEFAULT_WORKSPACE_TTL_S = 3600
# The time limit of a workspace's VMM, practically unlimited: the workspace's own time to live is renewed by each use.
WORKSPACE_MACHINE_TTL_S = 10 * 366 * 24 * 3600

DEFAULT_TIMEOUT_S = 30
MIN_TIMEOUT_S = 0.001
MAX_TIMEOUT_S = 24 * 3600


class NoneGiven(int):
    """A default that is distinguishable from the same number given explicitly."""


#: The time limit of a one-shot command; NETWORK_TIMEOUT_S if none was given and it has a network.
ONE_SHOT_TIMEOUT_S = NoneGiven(DEFAULT_TIMEOUT_S)
NETWORK_TIMEOUT_S = 120

# The virtual size of the disk for a VM's writes (root overlay); the file is sparse.
ROOT_DISK_BYTES = 16 * 1024**3
# The maximum that a VM's own files may need immediately: with less free space, no VM is started.
MIN_FREE_BYTES = 64 * 1024**2

# How much of one stream of a workspace's command is kept in its journal, and how much in a file beside it.
JOURNAL_STREAM_BYTES = 64 * 1024
MAX_KEPT_STREAM_BYTES = 8 * 1024 * 1024

# The hosts that a VM's network allows and denies, together, and the length of each.
MAX_RULES = 256
MAX_RULE_CHARS = 300

# The default limit for each stream of a command in a result; the middle of longer output is dropped, and the result is
# marked as truncated.
DEFAULT_STREAM_BYTES = 1024 * 1024
MAX_STREAM_BYTES = 64 * 1024 * 1024
#: The exit code of a command that timed out, as in timeout(1).
TIMED_OUT = 124

#: How long to wait for a guest's agent to accept a connection.
CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a VM. Each shape has its own template."""

    vcpu_count: int = DEFAULT_VCPU_COUNT
    mem_mib: int = DEFAULT_MEM_MIB

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            PyroError: INVALID.
        """
        check_range("vcpu_count", self.vcpu_count, MIN_VCPU_COUNT, MAX_VCPU_COUNT)
        check_range("mem_mib", self.mem_mib, MIN_MEM_MIB, MAX_MEM_MIB)


def check_ttl(ttl_s: int) -> int:
    """Return a VM's time to live if it is within the limits.

    Raises:
        PyroError: INVALID.
    """
    return check_range("ttl_seconds", ttl_s, MIN_TTL_S, MAX_TTL_S)


def check_timeout(timeout_s: float) -> float:
    """Return a command's timeout if it is within the limits.

    Raises:
        PyroError: INVALID.
    """
    if isinstance(timeout_s, bool) or not MIN_TIMEOUT_S <= timeout_s <= MAX_TIMEOUT_S:
        raise PyroError(
            ErrorCode.INVALID,
            f"timeout_seconds is {timeout_s!r}",
            hint=f"Give a number of seconds from {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S}, or none.",
            details={"parameter": "timeout_seconds", "minimum": MIN_TIMEOUT_S, "maximum": MAX_TIMEOUT_S},
        )
    return timeout_s


def check_range(name: str, value: int, low: int, high: int) -> int:
    """Return `value` if it is a whole number from `low` to `high`.

    Raises:
        PyroError: INVALID, naming the parameter, its value, and the permitted range.
    """
    # True is an int in Python, but not a valid number of virtual CPUs.
    if type(value) is not int or not low <= value <= high:
        raise PyroError(
            ErrorCode.INVALID,
            f"{name} is {value!r}",
            hint=f"Give a whole number from {low} to {high}.",
            details={"parameter": name, "minimum": low, "maximum": high},
        )
    return value
