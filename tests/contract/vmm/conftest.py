"""The drivers that must keep the contract."""

from __future__ import annotations

from tests.support.benches import bench, booting_bench, compat_bench, fake_bench, home, qemu_bench

__all__ = ["bench", "booting_bench", "compat_bench", "fake_bench", "home", "qemu_bench"]
