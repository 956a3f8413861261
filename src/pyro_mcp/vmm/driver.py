"""The interface of VMM drivers.

Code above this package is independent of the VMM. A driver provides a byte stream (`Transport`); the caller is
responsible for the handshake with the agent, and for preparing the guest before `save`.

    boot     the driver starts a machine from kernel and initramfs; the caller waits for the agent
    save     after the caller has prepared the guest, the driver stops it, writes `ram` and `device-state`, and ends it
    restore  the driver starts a machine from a sealed template (`vmm.template`); the guest continues where it was saved
    attach   a later process gets access to a machine through its record
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyro_mcp.host.transport import Transport
    from pyro_mcp.model.kinds import Accelerator, VmmKind
    from pyro_mcp.model.limits import Shape
    from pyro_mcp.model.machine import MachineRecord
    from pyro_mcp.vmm.template import Template, VmmIdentity

#: How many callers can use one guest at the same time: for commands and other long calls, short calls, and one stop.
COMMAND_LANES = 16
SHORT_LANES = 7
LANES = COMMAND_LANES + SHORT_LANES + 1


@dataclass(frozen=True, slots=True)
class Drive:
    """One disk of a machine; the order of a spec's drives is the guest's (vda, vdb, …).

    It must be a regular file, and is opened without following links. A template fixes number, size and `read_only` of
    the drives, but not their paths. A `volatile` drive need not survive a host crash: the guest's flushes are ignored.
    """

    path: Path
    read_only: bool = False
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class BootFiles:
    """The files of a cold boot, verified by the caller."""

    kernel: Path
    initramfs: Path
    #: Added to the driver's own kernel arguments.
    kernel_args: tuple[str, ...] = ()


class HostTree(NamedTuple):
    """The directories that replace a guest's disks if commands run on the host itself."""

    #: The directory that its commands see as `/workspace`.
    workspace: Path
    #: A copy of it in its initial state, which is never written to.
    baseline: Path


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The configuration of a machine.

    `runtime_dir` (sockets, locks) and `state_dir` (console.log) are private directories of this machine, created by the
    caller. The VMM is killed after `ttl_s`, without a daemon. When the VMM ends for any reason, the paths of
    `remove_at_end` are removed; those of `remove_at_ttl` are removed after `ttl_s`, even if the VMM ended earlier. All
    paths must be absolute. `network_fd` is a connected stream socket for Ethernet frames, each preceded by a big-endian
    u32 length; the caller keeps and closes its own copy. If it is None, the network card is not connected.
    """

    vm_id: str
    shape: Shape
    drives: tuple[Drive, ...]
    runtime_dir: Path
    state_dir: Path
    ttl_s: float
    network_fd: int | None = None
    remove_at_end: tuple[Path, ...] = ()
    remove_at_ttl: tuple[Path, ...] = ()
    #: The command that flushes the guest's disks, run when the host shuts down. Only for VMs.
    flush: tuple[str, ...] = ()
    #: Whether the machine is killed when this process ends.
    owned: bool = False
    #: Only for host compat.
    host_tree: HostTree | None = None


@dataclass(frozen=True, slots=True)
class BootPlan:
    """A cold boot. Only with `ram_file`, a new file for its memory, can the machine be saved."""

    spec: MachineSpec
    accelerator: Accelerator
    boot: BootFiles | None = None
    ram_file: Path | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A start from a template that was verified by `vmm.template.open_template`."""

    spec: MachineSpec
    accelerator: Accelerator
    template: Template


@dataclass(frozen=True, slots=True)
class Features:
    """The optional features of a driver."""

    templates: bool
    network: bool
    drives: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that keeps a driver from working, and the command or step that fixes it."""

    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DriverProbe:
    """The state of one driver on this host, determined without booting anything."""

    kind: VmmKind
    found: bool
    path: str = ""
    version: str = ""
    #: The accelerators to try, best first; only a boot proves KVM (`vmm.qemu.kvm_probe`).
    accelerators: tuple[Accelerator, ...] = ()
    problems: tuple[Problem, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def usable(self) -> bool:
        """Return whether a machine can be started."""
        return self.found and not self.problems


class Machine(Protocol):
    """A machine that was started by this process, or that it attached to."""

    @property
    def record(self) -> MachineRecord:
        """Return the record that a later process needs to attach."""
        ...

    @property
    def transport(self) -> Transport:
        """Return the transport to the agent."""
        ...

    def is_alive(self) -> bool:
        """Return whether the VMM is running, by pid, start time and boot id."""
        ...

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait for the VMM and its keeper's clean-up to end; return whether they have."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """End the machine in bounded steps. The caller has already asked the agent to power off.

        The steps: wait `timeout_s` for the guest to power off, ask the VMM to quit, SIGTERM, SIGKILL.

        Raises:
            PyroError: TIMEOUT if it survives all of them.
        """
        ...

    def kill(self) -> None:
        """Kill the VMM and its keeper, and remove the paths of `remove_at_end`.

        The process that would remove the paths of `remove_at_ttl` is killed as well: the caller must remove them. It is
        not an error if the machine has already ended.

        Raises:
            PyroError: TIMEOUT if a process survives SIGKILL.
        """
        ...

    def is_paused_on_error(self) -> bool:
        """Return whether the VMM has paused the guest because the host's disk is full. Takes at most 2 s."""
        ...

    def resume(self) -> bool:
        """Continue a guest that is paused on an error, without data loss; return whether it is running."""
        ...

    def console_tail(self, max_bytes: int = 4096) -> str:
        """Return the end of the output of the guest's console and the VMM.

        It is available only after the VMM has ended: until then its keeper buffers it.
        """
        ...

    def close(self) -> None:
        """Close this process's descriptors; the machine keeps running."""
        ...


class Driver(Protocol):
    """One way to run machines."""

    @property
    def kind(self) -> VmmKind:
        """Return the kind of VMM."""
        ...

    @property
    def features(self) -> Features:
        """Return the driver's optional features."""
        ...

    def probe(self) -> DriverProbe:
        """Check, without booting anything, whether this host meets the driver's requirements."""
        ...

    def identity(self) -> VmmIdentity:
        """Return the identity of the program that would run a machine now.

        Raises:
            PyroError: MISSING_PROGRAM, with the command that installs it; UNSUPPORTED if it is too old.
        """
        ...

    def boot(self, plan: BootPlan) -> Machine:
        """Start a machine from its kernel. Returns as soon as the VMM is running and its lanes accept connections.

        Raises:
            PyroError: MISSING_PROGRAM, UNSUPPORTED, INVALID (a drive is not a regular file), NO_SPACE, PERMISSION,
                TIMEOUT or UNAVAILABLE with the end of the VMM's output. Nothing is left running.
        """
        ...

    def save(self, machine: Machine, directory: Path) -> None:
        """Write the state of a machine booted with `ram_file` to `directory`, synced, and end the machine.

        The caller has prepared the guest and closed its connections. `ram_file` is written and synced as well.

        Raises:
            PyroError: UNSUPPORTED without `features.templates`; GUEST_LOST, NO_SPACE, TIMEOUT. The machine is ended
                in any case.
        """
        ...

    def restore(self, plan: RestorePlan) -> Machine:
        """Start a machine from a template. It is running when this returns.

        Raises:
            PyroError: CORRUPT if the template changed since it was verified; the errors of `boot`.
        """
        ...

    def attach(self, record: MachineRecord) -> Machine:
        """Attach to a machine of this driver, which need not be running (`is_alive`)."""
        ...
