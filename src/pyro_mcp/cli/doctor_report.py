"""The report that `pyro doctor` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.cli.streams import STDOUT, styled
from pyro_mcp.cli.tables import size
from pyro_mcp.operations.printable import printable

if TYPE_CHECKING:
    from pyro_mcp.operations.diagnosis import DirectoryReport, DoctorResult

_WIDTH = 14


def doctor_report(result: DoctorResult) -> str:
    """Return the report as lines of text, the problems last."""
    machine, vmm, speed, loop = result.platform, result.vmm, result.acceleration, result.daily_loop
    can, cached = result.capabilities, result.environment
    claims = (("vm_boot", can.vm_boot), ("guest_exec", can.guest_exec), ("guest_network", can.guest_network))
    # Most reasons name the device.
    reason = speed.reason if "/dev/kvm" in speed.reason else f"{speed.reason}; /dev/kvm: {speed.kvm_device}"
    lines = [
        ("platform", f"{machine.name}, {machine.distribution}, kernel {machine.kernel}, Python {machine.python}"),
        ("resources", f"{machine.cpu_count} CPU, {machine.memory_mib} MiB"),
        ("cache", _directory(result.runtime.cache)),
        ("state", _directory(result.runtime.state)),
        ("runtime", _directory(result.runtime.runtime)),
        ("vmm", f"{vmm.kind} {vmm.version} {vmm.path}".strip() + (f", jailed by {vmm.jail}" if vmm.jail else "")),
        ("acceleration", f"{speed.accelerator} ({reason})"),
        *([("faster", speed.hint)] if speed.hint else []),
        ("proven", "by booting a guest" if speed.proven_by_boot else "not yet"),
        ("catalog", cached.catalog_version),
        ("environment", f"{cached.name} {cached.state} {cached.reason}".rstrip()),
        ("installed", ", ".join(cached.installed) or "none"),
        ("boot source", cached.boot_source),
        ("capabilities", f"{', '.join(f'{name} {_yes(claim)}' for name, claim in claims)}: {can.reason}"),
        ("networking", ", ".join(f"{name} {path or 'missing'}" for name, path in result.networking.programs.items())),
        ("daily loop", f"{loop.state}: {loop.reason}"),
    ]
    text = [f"{name:<{_WIDTH}} {printable(value)}" for name, value in lines]
    for problem in result.problems:
        text += ["", f"{styled('problem:', '31', STDOUT)} {printable(problem.message)}"]
        if problem.hint:
            text.append(f"{styled('fix:', '36', STDOUT)}     {printable(problem.hint)}")
    text += ["", styled("ready", "32", STDOUT) if result.ok else styled("not ready", "31", STDOUT)]
    return "\n".join(text)


def _directory(found: DirectoryReport) -> str:
    free = f", {size(found.free_bytes)} free" if found.free_bytes is not None else ""
    return f"{found.path}{free}" if found.usable else f"{found.path} can't be used"


def _yes(claim: bool) -> str:
    return "yes" if claim else "no"
