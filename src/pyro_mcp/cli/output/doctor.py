"""The report that `pyro doctor` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.cli.output.tables import size
from pyro_mcp.cli.streams import STDOUT, styled
from pyro_mcp.operations.printable import printable

if TYPE_CHECKING:
    from pyro_mcp.operations.diagnosis import DirectoryReport, DoctorResult, PrepareResult

_COLUMNS = 80
_COPIED = frozenset({"Run", "Faster"})


def doctor_report(result: DoctorResult) -> str:
    """Return the report as lines of text: first those that scripts parse, then more facts, then the problems."""
    machine, vmm, speed, loop = result.machine, result.vmm, result.acceleration, result.daily_loop
    can, cached, kvm, network = result.runtime.capabilities, result.environment, result.kvm, result.networking
    claims = {
        "vm_boot": can.supports_vm_boot,
        "guest_exec": can.supports_guest_exec,
        "guest_network": can.supports_guest_network,
    }
    devices = {"exists": kvm.exists, "readable": kvm.readable, "writable": kvm.writable}
    nets = {"tun": network.tun_available, "ip_forward": network.ip_forward_enabled}
    lines = [
        ("Platform", result.platform),
        ("Runtime", "PASS" if result.runtime_ok else "FAIL"),
        ("KVM", _claims(devices)),
        ("Environment cache", result.runtime.cache_dir),
        ("Catalog version", result.runtime.catalog_version),
        ("Capabilities", _claims(claims)),
        ("Networking", _claims(nets)),
        ("Daily loop", f"{loop.status.upper()} ({loop.environment})"),
        *([("Run", f"pyro prepare {loop.environment}")] if loop.status != "warm" else []),
        ("Reason", loop.reason.partition("; run: ")[0]),
        ("Project source", " ".join(filter(None, (result.project.source, result.project.hint)))),
        ("Machine", f"{machine.distribution}, kernel {machine.kernel}, Python {machine.python}"),
        ("Resources", f"{machine.cpu_count} CPU, {machine.memory_mib} MiB"),
        ("Cache", _directory(result.runtime.cache)),
        ("State", _directory(result.runtime.state)),
        ("Runtime files", _directory(result.runtime.runtime)),
        ("VMM", f"{vmm.kind} {vmm.version} {vmm.path}".strip() + (f", jailed by {vmm.jail}" if vmm.jail else "")),
        ("Acceleration", f"{speed.accelerator} ({speed.reason})"),
        *([("Faster", speed.hint)] if speed.hint else []),
        ("Proven", "by booting a guest" if speed.proven_by_boot else "not yet"),
        ("Environment", f"{cached.name} {cached.state} {cached.reason}".rstrip()),
        ("Installed", ", ".join(result.runtime.environments) or "none"),
        ("Boot source", cached.boot_source),
        ("Capabilities known", can.reason),
        ("Programs", ", ".join(f"{name} {path or 'missing'}" for name, path in network.programs.items())),
    ]
    text = [_line(name, value) for name, value in lines]
    for problem in result.problems:
        text += ["", _line("problem", problem.message).replace("problem:", styled("problem:", "31", STDOUT), 1)]
        if problem.hint:
            text.append(f"{styled('fix:', '36', STDOUT)}     {printable(problem.hint)}")
    text += ["", styled("ready", "32", STDOUT) if result.runtime_ok else styled("not ready", "31", STDOUT)]
    return "\n".join(text)


def prepare_report(result: PrepareResult) -> str:
    """Return the results of a preparation."""
    spent = {"create": result.create_ms, "exec": result.exec_ms, "reset": result.reset_ms, "delete": result.delete_ms}
    proven = ", ".join(f"{name} {value} ms" for name, value in spent.items())
    lines = [
        ("Prepare", result.environment),
        ("Daily loop", result.status.upper()),
        ("Result", f"{'reused' if result.reused else 'prepared'} network_prepared={_yes(result.network_prepared)}"),
        ("Reason", result.reason),
        ("Proven", proven),
        ("Isolation", f"{result.isolation} ({result.execution_mode})"),
        ("Prepared at", result.prepared_at),
    ]
    return "\n".join(_line(name, value) for name, value in lines)


def _line(name: str, value: object) -> str:
    """Return a fact in lines of at most 80 columns; values to copy or parse stay on one line."""
    import re
    import textwrap

    line = printable(f"{name}: {value}")
    if name in _COPIED:
        return line
    # A name and the first word of its value, a path and what it is the path of, a command.
    kept = re.sub(rf"^{re.escape(name)}: | /|run: .*", lambda found: found[0].replace(" ", "\xa0"), line)
    filled = textwrap.fill(kept, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return filled.replace("\xa0", " ")


def _claims(claims: dict[str, bool]) -> str:
    return " ".join(f"{name}={_yes(claim)}" for name, claim in claims.items())


def _directory(found: DirectoryReport) -> str:
    free = f", {size(found.free_bytes)} free" if found.free_bytes is not None else ""
    return f"{found.path}{free}" if found.usable else f"{found.path} can't be used"


def _yes(claim: bool) -> str:
    return "yes" if claim else "no"
