"""The QEMU driver: boot, save, restore, attach. QEMU always runs inside its jail."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import fsync_dir, sparse_copy
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.files import NEW_FILE, closing_fd
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.driver import LANES, BootPlan, DriverProbe, Features, Machine, Problem, RestorePlan
from pyro_mcp.vmm.qemu import argv, jail
from pyro_mcp.vmm.qemu.binary import PROGRAM, find_binary
from pyro_mcp.vmm.qemu.kernel_line import kernel_line, kernel_line_revision
from pyro_mcp.vmm.qemu.launch import Launch, launched
from pyro_mcp.vmm.qemu.machine import QemuMachine
from pyro_mcp.vmm.qemu.qmp import Message, QmpClient
from pyro_mcp.vmm.template import DEVICE_STATE, RAM, VmmIdentity

# From the start of the keeper until the monitor answers: 40 ms alone, a second or two when twenty start at once.
LAUNCH_TIMEOUT_S = 30.0
RESTORE_TIMEOUT_S = 30.0
SAVE_TIMEOUT_S = 60.0

# x-ignore-shared: the memory is already in its file, so it is not part of the stream. events: completion is signalled.
_CAPABILITIES = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
_MIB = 1024 * 1024


class QemuDriver:
    """Runs machines with QEMU. `cache_dir` caches the results of examining it."""

    kind = VmmKind.QEMU
    features = Features(templates=True, network=True, drives=True)

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir

    def probe(self) -> DriverProbe:
        """Check whether this host has QEMU, bubblewrap and the firmware, without booting anything."""
        problems = [Problem(error.message, error.hint) for error in jail.missing()]
        try:
            binary = find_binary(self._cache_dir)
        except PyroError as error:
            return DriverProbe(self.kind, found=False, problems=(Problem(error.message, error.hint), *problems))
        from pyro_mcp.vmm.qemu.kvm_probe import known_verdict

        verdict = known_verdict(self, self._cache_dir)
        usable = verdict is None or verdict.usable
        return DriverProbe(
            self.kind,
            found=True,
            path=binary.path,
            version=binary.version,
            accelerators=(Accelerator.KVM, Accelerator.TCG) if usable else (Accelerator.TCG,),
            problems=tuple(problems),
            details={
                "firmware": binary.firmware,
                "acceleration": verdict.reason if verdict else f"{jail.KVM_DEVICE} has not been tested yet",
                "acceleration_remedy": verdict.remedy if verdict else "",
            },
        )

    def identity(self) -> VmmIdentity:
        """Return the identity of the QEMU that would run a machine now, including the arguments this driver uses."""
        found = find_binary(self._cache_dir).identity
        return type(found)(found.path, found.version, f"{found.fingerprint}.{argv.revision()}.{kernel_line_revision()}")

    def boot(self, plan: BootPlan) -> Machine:
        """Start a machine from its kernel."""
        if plan.boot is None:
            raise PyroError(ErrorCode.INVALID, f"{PROGRAM} can't boot {plan.spec.vm_id} without a kernel")
        binary = find_binary(self._cache_dir)
        memory_fd = -1 if plan.ram_file is None else create_memory(plan.spec.shape.mem_mib * _MIB)
        try:
            launch = Launch(
                plan.spec,
                argv.Hardware(plan.spec.shape, plan.accelerator, LANES),
                ram_fd=None if memory_fd < 0 else memory_fd,
                ram_use=argv.Ram.NONE if memory_fd < 0 else argv.Ram.WRITTEN,
                ram_file=os.fspath(plan.ram_file or ""),
                boot=plan.boot,
                kernel_line=kernel_line(plan.accelerator, plan.boot.kernel_args),
            )
            deadline = Deadline(LAUNCH_TIMEOUT_S, "QEMU to start")
            with self._doubting_kvm(plan.accelerator), launched(binary, launch, deadline) as (machine, _):
                machine.memory_fd, memory_fd = memory_fd, -1
                return machine
        finally:
            if memory_fd >= 0:
                os.close(memory_fd)

    def save(self, machine: Machine, directory: Path) -> None:
        """Write a machine's state, and end it."""
        if not isinstance(machine, QemuMachine) or machine.memory_fd < 0:
            raise PyroError(ErrorCode.UNSUPPORTED, "only a machine that this process booted as a template can be saved")
        deadline = Deadline(SAVE_TIMEOUT_S, "QEMU to write its state")
        try:
            with machine.monitor(deadline) as monitor:
                # Not stopped first: a machine that was running when it was saved continues automatically when restored.
                _write_state(monitor, directory / DEVICE_STATE, deadline)
                monitor.quit(deadline)
            fault_point("vmm.state_written")
            machine.shutdown(deadline.remaining_s())
            save_memory(machine.memory_fd, Path(str(machine.record.facts["ram_file"])))
        finally:
            machine.kill()
        fsync_dir(directory)

    def restore(self, plan: RestorePlan) -> Machine:
        """Start a machine from a template."""
        binary = find_binary(self._cache_dir)
        template = plan.template
        with closing_fd(template.open(RAM)) as ram_fd, closing_fd(template.open(DEVICE_STATE)) as state_fd:
            launch = Launch(
                plan.spec,
                argv.Hardware(plan.spec.shape, plan.accelerator, LANES),
                ram_fd=ram_fd,
                ram_use=argv.Ram.COPIED_ON_WRITE,
            )
            deadline = Deadline(RESTORE_TIMEOUT_S, "QEMU to restore the template")
            with self._doubting_kvm(plan.accelerator), launched(binary, launch, deadline) as (machine, monitor):
                _load_state(monitor, state_fd, deadline)
                return machine

    def attach(self, record: MachineRecord) -> Machine:
        """Attach to a machine by its record."""
        return QemuMachine(record)

    @contextmanager
    def _doubting_kvm(self, accelerator: Accelerator) -> Generator[None]:
        """Make the next start test KVM again if the block fails to start a machine with it."""
        try:
            yield
        except PyroError:
            if accelerator is Accelerator.KVM:
                from pyro_mcp.vmm.qemu.kvm_probe import forget_verdict

                forget_verdict(self._cache_dir)
            raise


def _write_state(monitor: QmpClient, path: Path, deadline: Deadline) -> None:
    with os_errors(f"write {path}"), closing_fd(os.open(path, NEW_FILE, 0o600)) as fd:
        monitor.execute("migrate-set-capabilities", deadline, capabilities=_CAPABILITIES)
        monitor.execute("getfd", deadline, fd=fd, fdname="state")
        monitor.execute("migrate", deadline, uri="fd:state")
        _await_migration(monitor, deadline)
        os.fsync(fd)


def _load_state(monitor: QmpClient, fd: int, deadline: Deadline) -> None:
    monitor.execute("migrate-set-capabilities", deadline, capabilities=_CAPABILITIES)
    monitor.execute("getfd", deadline, fd=fd, fdname="state")
    monitor.execute("migrate-incoming", deadline, uri="fd:state")
    _await_migration(monitor, deadline)
    monitor.wait_for_event("RESUME", lambda _: True, deadline)


def _await_migration(monitor: QmpClient, deadline: Deadline) -> None:
    def is_over(event: Message) -> bool:
        return event.get("status") in {"completed", "failed", "cancelled"}

    event = monitor.wait_for_event("MIGRATION", is_over, deadline)
    if event.get("status") != "completed":
        answer = cast("Message", monitor.execute("query-migrate", deadline))
        raise PyroError(
            ErrorCode.CORRUPT,
            f"QEMU could not save or load the machine's state: {answer.get('error-desc', event.get('status'))}",
            hint="It is rebuilt at the next start.",
        )


def create_memory(size_bytes: int) -> int:
    """Create an anonymous file for a guest's memory, and return its descriptor. The caller closes it.

    Its mode lets any user write, because QEMU reopens it under its own uid; no other process has access to it.

    Raises:
        PyroError: NO_SPACE and others.
    """
    with os_errors("create the guest's memory"):
        fd = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        try:
            os.fchmod(fd, 0o666)
            os.ftruncate(fd, size_bytes)
        except BaseException:
            os.close(fd)
            raise
    return fd


def save_memory(fd: int, path: Path) -> None:
    """Write the memory `fd` to the new file `path`, synced; untouched pages become holes.

    Its mode lets any user access it, because QEMU reopens it under its own uid; its directory keeps other users out.

    Raises:
        PyroError: CONFLICT if it exists; NO_SPACE, PERMISSION and others.
    """
    with os_errors(f"write the memory file {path}"), closing_fd(os.open(path, NEW_FILE, 0o600)) as target:
        os.fchmod(target, 0o666)
        sparse_copy(fd, target)
        os.fsync(target)
