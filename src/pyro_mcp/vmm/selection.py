"""Choose the driver and accelerator for VMs.

The fallback to host compat is not decided here. `PYRO_VMM` (qemu, firecracker) and `PYRO_ACCEL` (kvm, tcg) force the
choice. A driver is imported only when it is chosen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.variables import check_values
from pyro_mcp.model.kinds import Accelerator, ExecutionMode, Isolation, VmmKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pyro_mcp.vmm.driver import Driver

VMM_VARIABLE = "PYRO_VMM"
NO_VMM = "none"
ACCELERATOR_VARIABLE = "PYRO_ACCEL"


@dataclass(frozen=True, slots=True)
class Selection:
    """The driver that runs a VM, its accelerator, and the reason for the choice."""

    driver: Driver
    accelerator: Accelerator
    reason: str = ""

    @property
    def is_guest(self) -> bool:
        """Return whether commands run in a guest rather than on the host."""
        return self.accelerator is not Accelerator.NONE

    @property
    def execution_mode(self) -> ExecutionMode:
        """Return where commands run."""
        return ExecutionMode.of(self.driver.kind)

    @property
    def isolation(self) -> Isolation:
        """Return how commands are isolated from the host."""
        return Isolation.of(self.accelerator)


def driver_of(kind: VmmKind, cache_dir: Path) -> Driver:
    """Return the driver of one kind of VMM. `cache_dir` caches what drivers find out about the host.

    Raises:
        PyroError: UNSUPPORTED if this version has none.
    """
    match kind:
        case VmmKind.QEMU:
            from pyro_mcp.vmm.qemu.driver import QemuDriver

            return QemuDriver(cache_dir)
        case VmmKind.HOST:
            from pyro_mcp.vmm.compat.driver import CompatDriver

            return CompatDriver()
        case VmmKind.FIRECRACKER:
            raise PyroError(
                ErrorCode.UNSUPPORTED,
                "this version has no driver for Firecracker",
                hint=f"Unset {VMM_VARIABLE}, or set it to qemu.",
            )
        case _:
            assert_never(kind)


def select_driver(
    cache_dir: Path,
    kernel: Callable[[], Path | None],
    *,
    require_kvm: bool = False,
    env: Mapping[str, str] | None = None,
) -> Selection:
    """Choose the driver and the accelerator for guests.

    `kernel` returns the kernel for a probe guest; it is called only if KVM must be tested.

    Raises:
        PyroError: MISSING_PROGRAM, with the command that installs it; UNSUPPORTED if KVM is required or forced but does
            not work, with the reason, or if the VMM is too old; UNAVAILABLE for `PYRO_VMM=none`; USAGE if a variable
            has an unknown value.
    """
    env = os.environ if env is None else env
    check_values(env)
    if env.get(VMM_VARIABLE) == NO_VMM:
        raise PyroError(
            ErrorCode.UNAVAILABLE, f"{VMM_VARIABLE}={NO_VMM} forbids every VM", hint=f"Unset {VMM_VARIABLE}."
        )
    driver = driver_of(VmmKind(env.get(VMM_VARIABLE) or VmmKind.QEMU.value), cache_dir)
    # Raises if the VMM is missing or too old.
    driver.identity()
    forced = _forced_accelerator(env)
    if forced is Accelerator.TCG:
        if require_kvm:
            raise _kvm_refused(f"{ACCELERATOR_VARIABLE}=tcg forbids it", f"Unset {ACCELERATOR_VARIABLE}")
        return Selection(driver, Accelerator.TCG, f"{ACCELERATOR_VARIABLE}=tcg requests it")
    from pyro_mcp.vmm.qemu.kvm_probe import known_verdict, kvm_verdict

    verdict = known_verdict(driver, cache_dir) or kvm_verdict(driver, cache_dir, kernel())
    if verdict.usable:
        return Selection(driver, Accelerator.KVM, verdict.reason)
    if require_kvm or forced is Accelerator.KVM:
        raise _kvm_refused(verdict.reason, verdict.remedy)
    return Selection(driver, Accelerator.TCG, verdict.reason)


def _kvm_refused(reason: str, remedy: str) -> PyroError:
    first = f"{remedy}. Or do" if remedy else "Do"
    return PyroError(
        ErrorCode.UNSUPPORTED,
        f"KVM is required but not usable: {reason}",
        hint=f"{first} without `--require-kvm`, PYRO_REQUIRE_KVM and PYRO_ACCEL=kvm: VMs then run in software (TCG),"
        " which QEMU does not consider a security boundary.",
    )


def _forced_accelerator(env: Mapping[str, str]) -> Accelerator | None:
    asked = env.get(ACCELERATOR_VARIABLE, "")
    return Accelerator(asked) if asked else None
