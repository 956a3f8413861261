"""The contract between what wants a machine and what runs one.

Nothing above this package knows which VMM it deals with. A driver hands out a byte stream (`Transport`); the handshake
with the agent, and its preparation before `save`, are the caller's.

Who does what:
    boot     a driver starts a machine from kernel and initramfs; the caller waits for the agent
    save     the caller has prepared the guest; the driver stops it, writes `ram` and `device-state`, and the VMM ends
    restore  a driver starts a machine from a sealed template (`vmm.template`); the guest goes on where it was saved
    attach   a later process takes up a machine by its record
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

#: How many callers can talk to one guest at the same time: commands and what lasts as long; short calls; and a stop.
COMMAND_LANES = 16
SHORT_LANES = 7
LANES = COMMAND_LANES + SHORT_LANES + 1


@dataclass(frozen=True, slots=True)
class Drive:
    """One disk of a machine; the order of a spec's drives is the guest's (vda, vdb, …).

    It must be a regular file; a driver opens it without following links. A template fixes number, size and
    `read_only` of the drives, not their paths. A `volatile` one need not survive a crash of the host: the guest's
    flushes are taken as done.
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
    """The directories that stand for a guest's disks where the host itself runs its commands."""

    #: The directory that its commands see as `/workspace`.
    workspace: Path
    #: The same as it was created; nothing writes to it.
    baseline: Path


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The parts of a machine.

    `runtime_dir` (sockets, locks) and `state_dir` (console.log) are private directories of this machine alone, made by
    the caller. `ttl_s` bounds the life of the VMM although no daemon watches it. When the VMM ends for any reason, the
    paths of `remove_at_end` vanish; those of `remove_at_ttl` vanish when the time is up, however early the VMM ended.
    All of them must be absolute. `network_fd` is a connected stream socket that carries Ethernet frames, each behind a
    big-endian u32 length; the caller keeps and closes its own copy. None: the network card leads nowhere.
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
    #: The command that has the guest write its disks, run when the host shuts down. For guests alone.
    flush: tuple[str, ...] = ()
    #: Whether it ends as soon as this process does.
    owned: bool = False
    #: For host compat alone.
    host_tree: HostTree | None = None


@dataclass(frozen=True, slots=True)
class BootPlan:
    """A cold boot. With `ram_file`, where its memory goes as a new file, the machine can be saved."""

    spec: MachineSpec
    accelerator: Accelerator
    boot: BootFiles | None = None
    ram_file: Path | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """A start from a template, which `vmm.template.open_template` has verified."""

    spec: MachineSpec
    accelerator: Accelerator
    template: Template


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a driver beyond booting."""

    templates: bool
    network: bool
    drives: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a driver from working, and the command or step that fixes it."""

    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class DriverProbe:
    """The state of one driver on this host. Nothing is booted to find out."""

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
    """A machine that was started: by this process, or by another one and taken up by its record."""

    @property
    def record(self) -> MachineRecord:
        """Return what a later process needs to attach."""
        ...

    @property
    def transport(self) -> Transport:
        """Return the way to the agent."""
        ...

    def is_alive(self) -> bool:
        """Return whether the VMM runs; pid, start time and boot are compared."""
        ...

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait for the VMM and its keeper's clean-up to end; say whether they have."""
        ...

    def shutdown(self, timeout_s: float) -> None:
        """End the machine in bounded steps, the gentlest first. The caller has asked the agent to power off already.

        The steps: wait `timeout_s` for the guest to end by itself, ask the VMM to quit, SIGTERM, SIGKILL.

        Raises:
            PyroError: TIMEOUT if it survives even that.
        """
        ...

    def kill(self) -> None:
        """End the VMM and its keeper at once, and remove what the keeper would have removed at the VMM's end.

        Paths of `remove_at_ttl` stay, and nobody is left to remove them: that is the caller's. A machine that has ended
        already is no error.

        Raises:
            PyroError: TIMEOUT if something survives SIGKILL.
        """
        ...

    def is_paused_on_error(self) -> bool:
        """Return whether the VMM has paused the guest because the host's disk is full. Takes 2 s at most."""
        ...

    def resume(self) -> bool:
        """Continue a guest that is paused on an error, losing nothing; return whether it runs."""
        ...

    def console_tail(self, max_bytes: int = 4096) -> str:
        """Return the end of what the guest's console and the VMM printed, as far as it is written.

        While the VMM runs its keeper holds the console back: there is text only after the end.
        """
        ...

    def close(self) -> None:
        """Close this process's descriptors; the machine keeps running."""
        ...


class Driver(Protocol):
    """One way to run machines."""

    @property
    def kind(self) -> VmmKind:
        """Return which VMM this is."""
        ...

    @property
    def features(self) -> Features:
        """Return what this driver can do."""
        ...

    def probe(self) -> DriverProbe:
        """Look, without booting anything, whether this host has what it takes."""
        ...

    def identity(self) -> VmmIdentity:
        """Return which program would run a machine now.

        Raises:
            PyroError: MISSING_PROGRAM, with the command that installs it; UNSUPPORTED if it is too old.
        """
        ...

    def boot(self, plan: BootPlan) -> Machine:
        """Start a machine from its kernel. Returns as soon as the VMM runs and its lanes take connections.

        Raises:
            PyroError: MISSING_PROGRAM, UNSUPPORTED, INVALID (a drive is no regular file), NO_SPACE, PERMISSION, TIMEOUT
                or UNAVAILABLE with the VMM's last words. Nothing is left running.
        """
        ...

    def save(self, machine: Machine, directory: Path) -> None:
        """Write the state of a machine booted with `ram_file` to `directory`, synced. The machine is consumed.

        The caller has prepared the guest and closed its connections. `ram_file` is written and synced too.

        Raises:
            PyroError: UNSUPPORTED without `features.templates`; GUEST_LOST, NO_SPACE, TIMEOUT. The machine is gone
                then too.
        """
        ...

    def restore(self, plan: RestorePlan) -> Machine:
        """Start a machine from a template; it runs when this returns.

        Raises:
            PyroError: CORRUPT if the template changed since it was verified; what `boot` raises.
        """
        ...

    def attach(self, record: MachineRecord) -> Machine:
        """Take up a machine of this driver; whether it still runs is for `is_alive` to say."""
        ...
