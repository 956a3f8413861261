"""Time for leases: the wall clock for display, the time since boot for deadlines.

Within one boot, the wall clock is not used for deadlines, since it can be set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from pyro_mcp.host.process.identity import boot_id
from pyro_mcp.model.vm import Lease


def _boottime_s() -> float:
    # Includes the time during which the machine is suspended.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Clock:
    """The source of times. Tests use their own."""

    wall_s: Callable[[], float] = time.time
    boottime_s: Callable[[], float] = _boottime_s
    boot_id: Callable[[], str] = boot_id

    def lease(self, ttl_s: int) -> Lease:
        """Return a lease of `ttl_s` seconds that starts now."""
        now = self.wall_s()
        return Lease(
            ttl_s=ttl_s,
            created_at=now,
            expires_at=now + ttl_s,
            boot_id=self.boot_id(),
            expires_boottime_s=self.boottime_s() + ttl_s,
        )

    def remaining_s(self, lease: Lease) -> float:
        """Return the remaining seconds of a lease, at least 0."""
        if lease.boot_id == self.boot_id():
            return max(0.0, lease.expires_boottime_s - self.boottime_s())
        # Never more than the original lease, whatever the clock was set to since.
        return min(max(0.0, lease.expires_at - self.wall_s()), float(lease.ttl_s))


@cache
def system_clock() -> Clock:
    """Return this machine's clock."""
    return Clock()
