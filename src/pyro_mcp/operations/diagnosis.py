"""The requests and results of `doctor`, `prepare` and `demo`."""

from __future__ import annotations

from dataclasses import field

from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, asked, said
from pyro_mcp.operations.operation import Result
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT, environment


class DoctorRequest(Request):
    """Ask what this machine can do."""

    environment: str = field(
        default=DEFAULT_ENVIRONMENT, metadata=environment("Environment to check.", place=Place.OPTION)
    )
    platform: str | None = asked(
        "Platform to judge, such as linux-x86_64 (default: this machine's).",
        default=None,
        names="PLATFORM",
        pattern="^[a-z0-9]+-[a-z0-9_]+$",
        max_length=64,
        form="a platform such as linux-x86_64",
    )


class PrepareRequest(Request):
    """Ask for everything that makes the next VM start fast."""

    environment: str = field(
        default=DEFAULT_ENVIRONMENT, metadata=environment("Environment to prepare.", place=Place.POSITIONAL)
    )
    network: bool = asked("Also check that a guest reaches the internet.", default=False)
    force: bool = asked("Do it again even if nothing has changed.", default=False)


class DemoRequest(Request):
    """Ask for a demonstration of one VM from create to delete."""

    network: bool = field(default=False, metadata=parameters.NETWORK)


class Problem(Result):
    """One problem, and how to fix it."""

    code: str = said("The kind of problem.")
    message: str = said("The problem.")
    hint: str = said("The command or step that fixes it.")


class MachineReport(Result):
    """The kind of this machine."""

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


class CapabilityReport(Result):
    """The features that work here."""

    supports_vm_boot: bool = said("A VM boots.")
    supports_guest_exec: bool = said("A command runs in it.")
    supports_guest_network: bool = said("A guest can be given a network.")
    reason: str = said("Why something does not work, or is not known to work.")


class RuntimeReport(Result):
    """Where the product keeps its files."""

    cache_dir: str = said("Directory of all environments.")
    catalog_version: str = said("Version of the catalog that this release carries.")
    environments: list[str] = said("All environments that are installed.")
    capabilities: CapabilityReport = said("What works.")
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


class KvmReport(Result):
    """The state of /dev/kvm, which proves nothing by itself."""

    exists: bool = said("Whether it exists.")
    readable: bool = said("Whether this user may read it.")
    writable: bool = said("Whether this user may write it.")


class AccelerationReport(Result):
    """How a guest's instructions are executed."""

    accelerator: str = said("kvm, tcg, or none.")
    isolation: str = said("The isolation that results will report: kvm, tcg, none.")
    proven_by_boot: bool = said("Whether a guest has been booted to find out.")
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


class NetworkReport(Result):
    """The programs that connect guests."""

    available: bool = said("Whether all programs are installed.")
    enabled_by_default: bool = said("Whether guests have a network unless asked: never.")
    tun_available: bool = said("Whether /dev/net/tun exists.")
    ip_forward_enabled: bool = said("Whether this host forwards IPv4; guests do not need it.")
    programs: dict[str, str | None] = said("Where each program is.")


class DailyLoopReport(Result):
    """Whether the next VM of this environment starts fast."""

    environment: str = said("The environment.")
    status: str = said("cold (never prepared), warm, or stale (something changed since).")
    reason: str = said("Why.")
    installed: bool = said("Whether the environment is installed.")
    network_prepared: bool = said("Whether a guest was proven to reach the internet.")
    prepared_at: str | None = said("When it was prepared (UTC).")
    manifest_path: str = said("The record of preparations.")
    cache_dir: str = said("The directory that the record is in.")


class ProjectReport(Result):
    """The project that `pyro mcp serve` would use if it were started here."""

    source: str = said("What workspaces would start from, or why from nothing.")
    hint: str = said("The options that change it, if it can't be used.")


class DoctorResult(Result):
    """The capabilities of this machine, and its problems."""

    platform: str = said("The platform checked.")
    runtime_ok: bool = said("Whether VMs boot and run commands here.")
    issues: list[str] = said("The problems, a sentence each.")
    kvm: KvmReport = said("The state of /dev/kvm, which proves nothing by itself.")
    version: str = said("Version of pyro-mcp.")
    machine: MachineReport = said("The machine.")
    runtime: RuntimeReport = said("The product's directories.")
    vmm: VmmReport = said("The program that runs VMs.")
    acceleration: AccelerationReport = said("What executes guests.")
    environment: EnvironmentReport = said("The environment and the cache.")
    networking: NetworkReport = said("The programs that connect guests.")
    daily_loop: DailyLoopReport = said("Whether the next VM starts fast.")
    project: ProjectReport = said("The project source here.")
    problems: list[Problem] = said("The problems, and how to fix them.")

    @property
    def exit_status(self) -> int:
        """Return the status with which the command line ends."""
        return 0 if self.runtime_ok else 1


class PrepareResult(DailyLoopReport):
    """The result of a preparation."""

    prepared: bool = said("Always true: what can't be prepared is an error.")
    reused: bool = said("Whether an earlier preparation was still valid, so that nothing was done.")
    execution_mode: str = said("Where commands run: guest_virtio_serial, guest_vsock.")
    isolation: str = said("Their isolation: kvm, tcg.")
    create_ms: int = said("How long creating a workspace took, once warm.")
    exec_ms: int = said("How long its first command took.")
    reset_ms: int = said("How long resetting it took.")
    delete_ms: int = said("How long deleting it took.")
