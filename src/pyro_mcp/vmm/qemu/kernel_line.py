"""The guest kernel's command line, with the reason for each argument."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence

from pyro_mcp.model.kinds import Accelerator

_COMMON = (
    "console=ttyS0",
    "quiet",
    # A panic reboots at once, by triple fault; with -no-reboot the VMM ends then. There is no other reset line.
    "panic=-1",
    "reboot=t",
    # Hardware a microvm does not have, and seconds spent looking for it.
    "pci=off",
    "i8042.nokbd",
    "i8042.noaux",
    # The kernel's ciphers are as right as they were when it was built.
    "cryptomgr.notests",
    # The guest is one workload in a jail of its own; it need not defend its user from its own kernel.
    "mitigations=off",
    "lsm=",
    "audit=0",
    # The pool is seeded from the processor at boot, and by the agent after each restore.
    "random.trust_cpu=on",
    # Memory is zeroed by the host already; zeroing it again would put every page into the template.
    "init_on_alloc=0",
    # With one or two processors an expedited grace period costs nothing, and setting up namespaces waits for several.
    "rcupdate.rcu_expedited=1",
)
# Without address randomisation a program's code lies where it lay the last time, so that TCG's translation of it still
# fits: this halves the time of an exec.
_TCG = ("norandmaps",)

_SAMPLE_NS = 10_000_000
# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ_TSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")


def kernel_line(accelerator: Accelerator, extra: Sequence[str] = ()) -> str:
    """Return the command line for a cold boot."""
    arguments = list(_COMMON)
    if accelerator is Accelerator.TCG:
        # TCG's time stamp counter is the host's. The kernel can't calibrate it against an emulated timer on a busy
        # host, calls it unstable then, and keeps a periodic tick for want of a better clock.
        arguments += [*_TCG, "tsc=reliable", f"tsc_early_khz={measure_tsc_khz()}"]
    return " ".join([*arguments, *extra])


def kernel_line_revision() -> str:
    """Return a digest of the arguments that every boot has: templates booted with others are rebuilt."""
    import hashlib

    return hashlib.sha256(repr((_COMMON, _TCG)).encode()).hexdigest()[:8]


def measure_tsc_khz(sample_ns: int = _SAMPLE_NS) -> int:
    """Measure the rate of the processor's time stamp counter, in kHz."""
    import ctypes

    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(_READ_TSC)
        anchor = ctypes.c_char.from_buffer(code)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(anchor))
        try:
            start_ns, start = _paired(read)
            # Busy, because a sleeping process can be late by more than the precision that is wanted.
            while time.monotonic_ns() - start_ns < sample_ns:
                pass
            end_ns, end = _paired(read)
        finally:
            del read, anchor
    return round((end - start) * 1_000_000 / (end_ns - start_ns))


def _paired(read: Callable[[], int]) -> tuple[int, int]:
    """Return the time and the counter, read as close together as a few tries allow."""
    found: list[tuple[int, int, int]] = []
    for _ in range(16):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        found.append((after - before, (before + after) // 2, counter))
    _, middle_ns, counter = min(found)
    return middle_ns, counter
