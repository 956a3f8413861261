"""The requests and results of `doctor`, `prepare` and `demo`."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, about, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT, environment
from pyro_mcp.operations.run import VmExecResult
from pyro_mcp.operations.vms import VmDeleteResult, VmNetworkInfoResult, VmResult


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """Ask what this machine can do."""

    environment: str = field(
        default=DEFAULT_ENVIRONMENT, metadata=environment("Environment to check.", place=Place.OPTION)
    )
    platform: str | None = field(
        default=None,
        metadata=about(
            "Platform to judge, such as linux-x86_64 (default: this machine's).",
            names="PLATFORM",
            pattern="^[a-z0-9]+-[a-z0-9_]+$",
            max_length=64,
            form="a platform such as linux-x86_64",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """Ask for everything that makes the next VM start fast."""

    environment: str = field(
        default=DEFAULT_ENVIRONMENT, metadata=environment("Environment to prepare.", place=Place.POSITIONAL)
    )
    network: bool = field(default=False, metadata=about("Also check that a guest reaches the internet."))
    force: bool = field(default=False, metadata=about("Do it again even if nothing has changed."))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """Ask for a demonstration of one VM from create to delete."""

    network: bool = field(default=False, metadata=parameters.NETWORK)


@dataclass(frozen=True, slots=True)
class Problem(Result):
    """One problem, and how to fix it."""

    code: str = field(metadata=said("The kind of problem."))
    message: str = field(metadata=said("The problem."))
    hint: str = field(metadata=said("The command or step that fixes it."))


@dataclass(frozen=True, slots=True)
class PlatformReport(Result):
    """The kind of this machine."""

    name: str = field(metadata=said("The platform checked."))
    supported: bool = field(metadata=said("Whether the product runs there."))
    distribution: str = field(metadata=said("This machine's distribution."))
    kernel: str = field(metadata=said("This machine's kernel."))
    python: str = field(metadata=said("Version of Python that runs this."))
    cpu_count: int = field(metadata=said("Processors that this process may use."))
    memory_mib: int = field(metadata=said("Memory of this machine."))


@dataclass(frozen=True, slots=True)
class DirectoryReport(Result):
    """One of the product's directories."""

    path: str = field(metadata=said("Where it is."))
    usable: bool = field(metadata=said("Whether it exists and is private."))
    free_bytes: int | None = field(metadata=said("Free disk space there."))


@dataclass(frozen=True, slots=True)
class RuntimeReport(Result):
    """Where the product keeps its files."""

    cache: DirectoryReport = field(metadata=said("Environments, boot source, templates."))
    state: DirectoryReport = field(metadata=said("Records and disks of VMs."))
    runtime: DirectoryReport = field(metadata=said("Sockets of running VMs."))


@dataclass(frozen=True, slots=True)
class VmmReport(Result):
    """The program that would run VMs."""

    kind: str = field(metadata=said("Its kind: qemu, firecracker, host."))
    found: bool = field(metadata=said("Whether it is installed."))
    path: str = field(metadata=said("Where it is."))
    version: str = field(metadata=said("Its version."))
    jail: str = field(metadata=said("Program that jails it."))


@dataclass(frozen=True, slots=True)
class AccelerationReport(Result):
    """How a guest's instructions are executed."""

    accelerator: str = field(metadata=said("kvm, tcg, or none."))
    isolation: str = field(metadata=said("The isolation that results will report: kvm, tcg, none."))
    proven_by_boot: bool = field(metadata=said("Whether a guest has been booted to find out."))
    kvm_device: str = field(metadata=said("The state of /dev/kvm, which proves nothing by itself."))
    reason: str = field(metadata=said("Why it is this accelerator."))
    hint: str = field(metadata=said("How to get hardware virtualisation, if there is none."))


@dataclass(frozen=True, slots=True)
class EnvironmentReport(Result):
    """The environment asked about, and the cache."""

    name: str = field(metadata=said("Name."))
    state: str = field(metadata=said("installed, missing, broken."))
    reason: str = field(metadata=said("Why it is broken."))
    catalog_version: str = field(metadata=said("Version of the catalog that this release carries."))
    installed: tuple[str, ...] = field(metadata=said("All environments that are installed."))
    boot_source: str = field(metadata=said("Kernel and initramfs: installed or missing."))


@dataclass(frozen=True, slots=True)
class CapabilityReport(Result):
    """The features that work here."""

    vm_boot: bool = field(metadata=said("A VM boots."))
    guest_exec: bool = field(metadata=said("A command runs in it."))
    guest_network: bool = field(metadata=said("A guest can be given a network."))
    reason: str = field(metadata=said("Why something does not work, or is not known to work."))


@dataclass(frozen=True, slots=True)
class NetworkReport(Result):
    """The programs that connect guests."""

    available: bool = field(metadata=said("Whether all programs are installed."))
    programs: dict[str, str | None] = field(metadata=said("Where each program is."))


@dataclass(frozen=True, slots=True)
class DailyLoopReport(Result):
    """Whether the next VM of this environment starts fast."""

    state: str = field(metadata=said("cold (never prepared), warm, or stale (something changed since)."))
    reason: str = field(metadata=said("Why."))
    prepared_at: str | None = field(metadata=said("When it was prepared (UTC)."))


@dataclass(frozen=True, slots=True)
class DoctorResult(Result):
    """The capabilities of this machine, and its problems."""

    ok: bool = field(metadata=said("Whether VMs boot and run commands here."))
    version: str = field(metadata=said("Version of pyro-mcp."))
    platform: PlatformReport = field(metadata=said("The machine."))
    runtime: RuntimeReport = field(metadata=said("The product's directories."))
    vmm: VmmReport = field(metadata=said("The program that runs VMs."))
    acceleration: AccelerationReport = field(metadata=said("What executes guests."))
    environment: EnvironmentReport = field(metadata=said("The environment and the cache."))
    capabilities: CapabilityReport = field(metadata=said("What works."))
    networking: NetworkReport = field(metadata=said("The programs that connect guests."))
    daily_loop: DailyLoopReport = field(metadata=said("Whether the next VM starts fast."))
    problems: tuple[Problem, ...] = field(metadata=said("The problems, and how to fix them."))

    @property
    def exit_status(self) -> int:
        """Return the status with which the command line ends."""
        return 0 if self.ok else 1


@dataclass(frozen=True, slots=True)
class PrepareResult(Result):
    """The result of a preparation."""

    environment: str = field(metadata=said("The environment."))
    reused: bool = field(metadata=said("Whether an earlier preparation was still valid, so that nothing was done."))
    reason: str = field(metadata=said("Why it was reused, or done."))
    execution_mode: str = field(metadata=said("Where commands run: guest_virtio_serial, guest_vsock."))
    isolation: str = field(metadata=said("Their isolation: kvm, tcg."))
    network: bool = field(metadata=said("Whether a guest was proven to reach the internet."))
    create_ms: int = field(metadata=said("How long creating and starting a VM took, once warm."))
    exec_ms: int = field(metadata=said("How long its first command took."))
    delete_ms: int = field(metadata=said("How long deleting it took."))
    prepared_at: str = field(metadata=said("When it was prepared (UTC)."))


@dataclass(frozen=True, slots=True)
class DemoResult(Result):
    """One VM from create to delete, step by step."""

    environment: str = field(metadata=said("The environment."))
    created: VmResult = field(metadata=said("The VM, created."))
    started: VmResult = field(metadata=said("The VM, started."))
    network: VmNetworkInfoResult = field(metadata=said("Its network."))
    execution: VmExecResult = field(metadata=said("The command, after which the VM was deleted."))
    deleted: VmDeleteResult = field(metadata=said("The VM is gone."))
