"""A lease ends after its time, whatever happens to the clock (fault 12)."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.state.clock import Clock

YEAR_S = 365 * 86400.0


@dataclass
class Times:
    wall_s: float = 1e9
    boottime_s: float = 500.0
    boot_id: str = "first"

    def clock(self) -> Clock:
        return Clock(lambda: self.wall_s, lambda: self.boottime_s, lambda: self.boot_id)

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.boottime_s += seconds


def test_a_lease_runs_out_after_its_time_and_not_before() -> None:
    times = Times()
    lease = times.clock().lease(600)
    assert (lease.created_at, lease.expires_at) == (1e9, 1e9 + 600)
    times.pass_s(599)
    assert times.clock().remaining_s(lease) == 1
    times.pass_s(1)
    assert times.clock().remaining_s(lease) == 0


def test_a_clock_that_jumps_a_year_forward_or_an_hour_back_changes_no_lease() -> None:
    times = Times()
    lease = times.clock().lease(600)
    times.wall_s += YEAR_S
    assert times.clock().remaining_s(lease) == 600
    times.wall_s -= YEAR_S + 3600
    assert times.clock().remaining_s(lease) == 600


def test_after_a_reboot_the_wall_clock_counts() -> None:
    times = Times()
    lease = times.clock().lease(600)
    times.boot_id, times.boottime_s = "second", 3.0
    times.wall_s += 100
    assert times.clock().remaining_s(lease) == 500
    times.wall_s += 500
    assert times.clock().remaining_s(lease) == 0


def test_after_a_reboot_with_the_clock_set_back_a_lease_is_no_longer_than_it_was() -> None:
    times = Times()
    lease = times.clock().lease(600)
    times.boot_id = "second"
    times.wall_s -= YEAR_S
    assert times.clock().remaining_s(lease) == 600
