"""`pyro doctor`: report what this machine can do, from its facts and from booting a VM.

The report covers all problems, not just the first. Acceleration counts only when a boot has proven it.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp import __version__
from pyro_mcp.errors import PyroError
from pyro_mcp.host import doctor as host
from pyro_mcp.operations import environments, run
from pyro_mcp.operations.diagnosis import (
    AccelerationReport,
    CapabilityReport,
    DirectoryReport,
    DoctorResult,
    EnvironmentReport,
    KvmReport,
    MachineReport,
    NetworkReport,
    Problem,
    ProjectReport,
    RuntimeReport,
    VmmReport,
)
from pyro_mcp.operations.host_access import current_checkout
from pyro_mcp.operations.preparation import daily_loop
from pyro_mcp.operations.project import described, find_project
from pyro_mcp.operations.run import VmRunRequest
from pyro_mcp.state.quarantine import quarantined

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.operations.diagnosis import DoctorRequest
    from pyro_mcp.operations.operation import Call
    from pyro_mcp.operations.run import VmExecResult
    from pyro_mcp.vmm.driver import DriverProbe
    from pyro_mcp.vmm.selection import Selection

_JAIL = "bwrap"
_PROOF_TIMEOUT_S = 60


class _Findings:
    """The problems in the order found, and the capabilities that they block."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.blocked: set[str] = set()

    def add(self, found: list[host.Finding]) -> None:
        for each in found:
            self.problems.append(Problem(each.code, each.message, each.hint))
            self.blocked.add(each.blocks)

    def add_error(self, error: PyroError, blocks: str = "") -> None:
        if all(problem.message != error.message for problem in self.problems):
            self.problems.append(Problem(error.code.value, error.message, error.hint))
        self.blocked.add(blocks)


def examine(request: DoctorRequest, call: Call) -> DoctorResult:
    """Examine this machine.

    Raises:
        PyroError: NOT_FOUND for an environment that neither the catalog nor the cache has.
    """
    findings = _Findings()
    call.progress.phase("check", "platform, directories, programs")
    machine = host.examine_platform()
    platform_findings = host.check_platform(machine, request.platform)
    findings.add(platform_findings)
    directories, found = host.examine_directories(call.paths)
    findings.add(found)
    findings.add(host.examine_variables())
    findings.add(host.examine_roots())
    findings.add([_quarantined(path) for path in quarantined(call.paths)])
    programs, found = host.examine_programs()
    findings.add(found)
    environment = _environment(request.environment, call, findings)
    chosen, probe = _driver(call, findings)
    network = _network(programs, findings)
    proof = _prove(environment, chosen, call, findings)
    works = proof is not None or (chosen is not None and "vm_boot" not in findings.blocked)
    capabilities = CapabilityReport(
        supports_vm_boot=works,
        supports_guest_exec=works and "guest_exec" not in findings.blocked,
        supports_guest_network=works and network.available,
        reason=_reason(works, proof, environment),
    )
    return DoctorResult(
        platform=request.platform or machine.name,
        runtime_ok=works and environment.state != "broken" and not platform_findings,
        issues=[each.message for each in findings.problems],
        kvm=_kvm(),
        version=__version__,
        machine=_machine(machine, supported=not platform_findings),
        runtime=RuntimeReport(
            str(call.paths.environments),
            environment.catalog_version,
            environment.installed,
            capabilities,
            *(DirectoryReport(each.path, each.usable, each.free_bytes) for each in directories),
        ),
        vmm=_vmm(probe, {each.name: each.path for each in programs}),
        acceleration=_acceleration(call, chosen, proof),
        environment=environment,
        networking=network,
        daily_loop=daily_loop(call.paths, request.environment),
        project=ProjectReport(*described(find_project(checkout=current_checkout()))),
        problems=findings.problems,
    )


def _quarantined(path: Path) -> host.Finding:
    return host.Finding(
        "quarantine",
        f"{path} could not be used, and is kept until you remove it",
        f"Copy what you need from it, then run: rm -r {shlex.quote(str(path))}",
    )


def _kvm() -> KvmReport:
    device = "/dev/kvm"
    return KvmReport(os.path.exists(device), os.access(device, os.R_OK), os.access(device, os.W_OK))


def _machine(machine: host.Platform, *, supported: bool) -> MachineReport:
    return MachineReport(
        supported=supported,
        distribution=machine.distribution,
        kernel=machine.kernel,
        python=machine.python,
        cpu_count=machine.cpu_count,
        memory_mib=machine.memory_mib,
    )


def _environment(name: str, call: Call, findings: _Findings) -> EnvironmentReport:
    from pyro_mcp.image.boot import find_boot_source

    listed = environments.ENV_LIST.handler(environments.EmptyRequest(), call)
    wanted = environments.ENV_INSPECT.handler(environments.EnvInspectRequest(environment=name), call)
    if wanted.state == "broken":
        findings.problems.append(
            Problem("corrupt", f"the installed {name} is broken: {wanted.reason}", f"Run: pyro env pull {name}")
        )
    return EnvironmentReport(
        name=name,
        state=wanted.state,
        reason=wanted.reason,
        catalog_version=listed.catalog_version,
        installed=[each.name for each in listed.environments if each.state == "installed"],
        boot_source="installed" if find_boot_source(call.paths) else "missing",
    )


def _driver(call: Call, findings: _Findings) -> tuple[Selection | None, DriverProbe | None]:
    """Return the driver that would run a VM here, and its own report. Nothing is built to find out."""
    from pyro_mcp.image.boot import find_boot_source
    from pyro_mcp.vmm.selection import select_driver

    if os.environ.get("PYRO_VMM") == "none":
        findings.add([host.Finding("unavailable", "PYRO_VMM=none forbids every VM", "Unset PYRO_VMM.", "vm_boot")])
        return None, None
    call.progress.phase("acceleration", "testing KVM with a small guest, unless the result is known")
    source = find_boot_source(call.paths)
    required = os.environ.get("PYRO_REQUIRE_KVM", "") not in {"", "0"}
    try:
        chosen = select_driver(call.paths.cache, lambda: source.vmlinux if source else None, require_kvm=required)
    except PyroError as error:
        findings.add_error(error, "vm_boot")
        return None, None
    probe = chosen.driver.probe()
    for problem in probe.problems:
        findings.add([host.Finding("unavailable", problem.what, problem.remedy, "vm_boot")])
    return chosen, probe


def _vmm(probe: DriverProbe | None, programs: dict[str, str | None]) -> VmmReport:
    jail = programs.get(_JAIL) or ""
    if probe is None:
        return VmmReport(kind="none", found=False, path="", version="", jail=jail)
    return VmmReport(probe.kind.value, probe.found, probe.path, probe.version, jail)


def _acceleration(call: Call, chosen: Selection | None, proof: VmExecResult | None) -> AccelerationReport:
    from pyro_mcp.model.kinds import Accelerator, Isolation, VmmKind

    if chosen is None:
        return AccelerationReport("none", "none", False, "no guest can be booted here", "")
    hint = ""
    if chosen.accelerator is Accelerator.TCG and chosen.driver.kind is VmmKind.QEMU:
        from pyro_mcp.vmm.qemu.kvm_probe import known_verdict

        verdict = known_verdict(chosen.driver, call.paths.cache)
        hint = verdict.remedy if verdict and not verdict.usable else ""
    return AccelerationReport(
        accelerator=chosen.accelerator.value,
        isolation=Isolation.of(chosen.accelerator).value,
        proven_by_boot=proof is not None or chosen.accelerator is Accelerator.KVM,
        reason=chosen.reason,
        hint=hint,
    )


def _network(programs: list[host.Program], findings: _Findings) -> NetworkReport:
    from pyro_mcp.host.network import egress_problems

    problems = egress_problems()
    for error in problems:
        findings.add_error(error, "guest_network")
    found = {each.name: each.path for each in programs if each.name in host.NETWORK_PROGRAMS}
    return NetworkReport(
        available=not problems and None not in found.values(),
        enabled_by_default=False,
        tun_available=os.path.exists("/dev/net/tun"),
        ip_forward_enabled=_forwards(),
        programs=found,
    )


def _forwards() -> bool:
    with suppress(OSError), open("/proc/sys/net/ipv4/ip_forward", "rb") as file:
        return file.read(1) == b"1"
    return False


def _prove(
    environment: EnvironmentReport, chosen: Selection | None, call: Call, findings: _Findings
) -> VmExecResult | None:
    """Boot a VM and run a command in it, if that needs no pull; return the result."""
    if chosen is None or environment.state != "installed" or environment.boot_source != "installed":
        return None
    call.progress.phase("boot", f"running a command in a VM of {environment.name}")
    request = VmRunRequest(environment=environment.name, command=("true",), timeout_seconds=_PROOF_TIMEOUT_S)
    try:
        done = run.VM_RUN.handler(request, replace(call, on_output=None, stdin=None))
    except PyroError as error:
        findings.add_error(error, "vm_boot")
        return None
    if done.exit_code != 0:
        message = f"`true` ended with exit status {done.exit_code} in a VM of {environment.name}"
        findings.add([host.Finding("unavailable", message, f"Run: pyro env pull {environment.name}", "guest_exec")])
    return done


def _reason(works: bool, proof: VmExecResult | None, environment: EnvironmentReport) -> str:
    if proof is not None:
        return f"a VM of {environment.name} was booted and ran a command ({proof.isolation})"
    if works:
        return f"not proven yet, since {environment.name} is not installed; run: pyro prepare {environment.name}"
    return "see problems"
