"""The requests and results of `doctor`, `prepare` and `demo`."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, about, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT, environment


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


class Problem(Result):
    """One problem, and how to fix it."""

    code: str = said("The kind of problem.")
    message: str = said("The problem.")
    hint: str = said("The command or step that fixes it.")


class PlatformReport(Result):
    """The kind of this machine."""

    name: str = said("The platform checked.")
    supported: bool = said("Whether the product runs there.")
    distribution: str = said("This machine's distribution.")
    kernel: str = said("This machine's kernel.")
    python: str = said("Version of Python that runs this.")
    cpu_count: int = said("Processors that this process may use.")
    memory_mib: int = said("Memory of this machine.")


class DirectoryReport(Result):
    """One of the product's directories."""

    path: str = said("Where it is.")
    usable: bool = said("Whether it exists and is private.")
    free_bytes: int | None = said("Free disk space there.")


class RuntimeReport(Result):
    """Where the product keeps its files."""

    cache: DirectoryReport = said("Environments, boot source, templates.")
    state: DirectoryReport = said("Records and disks of VMs.")
    runtime: DirectoryReport = said("Sockets of running VMs.")


class VmmReport(Result):
    """The program that would run VMs."""

    kind: str = said("Its kind: qemu, firecracker, host.")
    found: bool = said("Whether it is installed.")
    path: str = said("Where it is.")
    version: str = said("Its version.")
    jail: str = said("Program that jails it.")


class AccelerationReport(Result):
    """How a guest's instructions are executed."""

    accelerator: str = said("kvm, tcg, or none.")
    isolation: str = said("The isolation that results will report: kvm, tcg, none.")
    proven_by_boot: bool = said("Whether a guest has been booted to find out.")
    kvm_device: str = said("The state of /dev/kvm, which proves nothing by itself.")
    reason: str = said("Why it is this accelerator.")
    hint: str = said("How to get hardware virtualisation, if there is none.")


class EnvironmentReport(Result):
    """The environment asked about, and the cache."""

    name: str = said("Name.")
    state: str = said("installed, missing, broken.")
    reason: str = said("Why it is broken.")
    catalog_version: str = said("Version of the catalog that this release carries.")
    installed: list[str] = said("All environments that are installed.")
    boot_source: str = said("Kernel and initramfs: installed or missing.")


class CapabilityReport(Result):
    """The features that work here."""

    vm_boot: bool = said("A VM boots.")
    guest_exec: bool = said("A command runs in it.")
    guest_network: bool = said("A guest can be given a network.")
    reason: str = said("Why something does not work, or is not known to work.")


class NetworkReport(Result):
    """The programs that connect guests."""

    available: bool = said("Whether all programs are installed.")
    programs: dict[str, str | None] = said("Where each program is.")


class DailyLoopReport(Result):
    """Whether the next VM of this environment starts fast."""

    state: str = said("cold (never prepared), warm, or stale (something changed since).")
    reason: str = said("Why.")
    prepared_at: str | None = said("When it was prepared (UTC).")


class DoctorResult(Result):
    """The capabilities of this machine, and its problems."""

    ok: bool = said("Whether VMs boot and run commands here.")
    version: str = said("Version of pyro-mcp.")
    platform: PlatformReport = said("The machine.")
    runtime: RuntimeReport = said("The product's directories.")
    vmm: VmmReport = said("The program that runs VMs.")
    acceleration: AccelerationReport = said("What executes guests.")
    environment: EnvironmentReport = said("The environment and the cache.")
    capabilities: CapabilityReport = said("What works.")
    networking: NetworkReport = said("The programs that connect guests.")
    daily_loop: DailyLoopReport = said("Whether the next VM starts fast.")
    problems: list[Problem] = said("The problems, and how to fix them.")

    @property
    def exit_status(self) -> int:
        """Return the status with which the command line ends."""
        return 0 if self.ok else 1


class PrepareResult(Result):
    """The result of a preparation."""

    environment: str = said("The environment.")
    reused: bool = said("Whether an earlier preparation was still valid, so that nothing was done.")
    reason: str = said("Why it was reused, or done.")
    execution_mode: str = said("Where commands run: guest_virtio_serial, guest_vsock.")
    isolation: str = said("Their isolation: kvm, tcg.")
    network: bool = said("Whether a guest was proven to reach the internet.")
    create_ms: int = said("How long creating and starting a VM took, once warm.")
    exec_ms: int = said("How long its first command took.")
    delete_ms: int = said("How long deleting it took.")
    prepared_at: str = said("When it was prepared (UTC).")
