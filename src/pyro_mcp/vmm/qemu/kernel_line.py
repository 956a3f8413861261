"""The guest kernel's command line, with the reason for each argument."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence

from pyro_mcp.model.kinds import Accelerator

_COMMON = (
    "console=ttyS0",
    "quiet",
    # A panic reboots immediately, which with -no-reboot ends the VMM. A microvm can be reset only by a triple fault.
    "panic=-1",
    "reboot=t",
    # Hardware that a microvm lacks, and that the kernel would probe for seconds.
    "pci=off",
    "i8042.nokbd",
    "i8042.noaux",
    # Self-tests of the kernel's ciphers are not needed at each boot.
    "cryptomgr.notests",
    # The guest is a single trust domain: its kernel need not protect the workload from itself.
    "mitigations=off",
    "lsm=",
    "audit=0",
    # The pool is seeded from the processor at boot, and by the agent after each restore.
    "random.trust_cpu=on",
    # The host already zeroes the memory; doing so again would put every page into the template.
    "init_on_alloc=0",
    # With few processors an expedited grace period is cheap, and setting up namespaces waits for several.
    "rcupdate.rcu_expedited=1",
)
# Without address randomization a program's code is at the same address each time, so that TCG can reuse its
# translation: this halves the time of an exec.
_TCG = ("norandmaps",)

_SAMPLE_NS = 10_000_000
# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ_TSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")


def kernel_line(accelerator: Accelerator, extra: Sequence[str] = ()) -> str:
    """Return the command line for a cold boot."""
    arguments = list(_COMMON)
    if accelerator is Accelerator.TCG:
        # TCG's time stamp counter is the host's. On a busy host, the kernel can't calibrate it against an emulated
        # timer and considers it unstable; it would then keep a periodic tick.
        arguments += [*_TCG, "tsc=reliable", f"tsc_early_khz={measure_tsc_khz()}"]
    return " ".join([*arguments, *extra])


def kernel_line_revision() -> str:
    """Return a digest of the arguments common to all boots: templates booted with others are rebuilt."""
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
            # A busy loop, because a sleep may overshoot by more than the required precision.
            while time.monotonic_ns() - start_ns < sample_ns:
                pass
            end_ns, end = _paired(read)
        finally:
            del read, anchor
    return round((end - start) * 1_000_000 / (end_ns - start_ns))


def _paired(read: Callable[[], int]) -> tuple[int, int]:
    """Return the time and the counter, read as simultaneously as possible."""
    found: list[tuple[int, int, int]] = []
    for _ in range(16):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        found.append((after - before, (before + after) // 2, counter))
    _, middle_ns, counter = min(found)
    return middle_ns, counter
