"""Which driver and which accelerator: what the environment asks for, and what this host can do."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.vmm import selection
from pyro_mcp.vmm.qemu import kvm_probe
from pyro_mcp.vmm.qemu.kvm_probe import CACHE_FILE, SIGN_OF_LIFE, forget_verdict, initramfs, known_verdict, kvm_verdict
from pyro_mcp.vmm.selection import driver_of, select_driver
from pyro_mcp.vmm.template import VmmIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.vmm.driver import BootPlan


@dataclass
class Machine:
    """A machine that has ended, with the console of a guest that ran or of one that hung."""

    console: str
    killed: bool = False

    def wait_for_end(self, timeout_s: float) -> bool:
        assert timeout_s <= kvm_probe.PROBE_TIMEOUT_S
        return bool(self.console)

    def kill(self) -> None:
        self.killed = True

    def console_tail(self, max_bytes: int) -> str:
        return self.console[-max_bytes:]


@dataclass
class Driver:
    """Boots nothing: counts, and hands out machines or an error."""

    console: str = SIGN_OF_LIFE
    error: PyroError | None = None
    version: str = "7.2.0"
    machines: list[Machine] = field(default_factory=list[Machine])
    kind = VmmKind.QEMU

    def identity(self) -> VmmIdentity:
        return VmmIdentity("/usr/bin/qemu", self.version, self.version)

    def boot(self, plan: BootPlan) -> Machine:
        assert plan.accelerator is Accelerator.KVM
        if self.error is not None:
            raise self.error
        self.machines.append(Machine(self.console))
        return self.machines[-1]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    path.chmod(0o666)
    monkeypatch.setattr(kvm_probe, "KVM_DEVICE", str(path))
    monkeypatch.setattr(stat, "S_ISCHR", stat.S_ISREG)
    return path


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()

    def of(kind: VmmKind, cache_dir: Path) -> Driver:
        assert kind is VmmKind.QEMU
        assert cache_dir
        return made

    monkeypatch.setattr(selection, "driver_of", of)
    return made


def select(
    cache: Path, *, require_kvm: bool = False, kernel: bool = True, env: dict[str, str] | None = None
) -> Accelerator:
    found = select_driver(cache, lambda: cache / "kernel" if kernel else None, require_kvm=require_kvm, env=env or {})
    assert found.reason
    return found.accelerator


def refusal(cache: Path, *, require_kvm: bool = False, env: dict[str, str] | None = None) -> PyroError:
    with pytest.raises(PyroError) as caught:
        select(cache, require_kvm=require_kvm, env=env)
    assert caught.value.hint
    return caught.value


@pytest.mark.usefixtures("device")
class TestProof:
    def test_kvm_is_used_where_a_guest_booted_in_it_and_only_one_is_booted(
        self, driver: Driver, tmp_path: Path
    ) -> None:
        assert [select(tmp_path), select(tmp_path), select(tmp_path, require_kvm=True)] == [Accelerator.KVM] * 3
        assert len(driver.machines) == 1

    def test_a_guest_that_hangs_is_killed_and_means_tcg(self, driver: Driver, tmp_path: Path) -> None:
        driver.console = ""
        assert [select(tmp_path), select(tmp_path)] == [Accelerator.TCG] * 2
        assert [machine.killed for machine in driver.machines] == [True]
        error = refusal(tmp_path, require_kvm=True)
        assert error.code is ErrorCode.UNSUPPORTED
        assert "did not reach user space" in error.message

    def test_qemu_refusing_the_device_means_tcg(self, driver: Driver, tmp_path: Path) -> None:
        driver.error = PyroError(ErrorCode.UNAVAILABLE, "Could not access KVM kernel module")
        assert select(tmp_path) is Accelerator.TCG
        assert "KVM kernel module" in refusal(tmp_path, env={"PYRO_ACCEL": "kvm"}).message

    def test_what_keeps_every_vm_from_starting_is_no_verdict(self, driver: Driver, tmp_path: Path) -> None:
        driver.error = PyroError(ErrorCode.MISSING_PROGRAM, "bwrap is not installed", hint="install it")
        assert refusal(tmp_path).code is ErrorCode.MISSING_PROGRAM
        driver.error = None
        assert select(tmp_path) is Accelerator.KVM

    def test_nothing_is_left_of_the_probe(self, driver: Driver, tmp_path: Path) -> None:
        before = set(os.listdir(tmp_path))
        for console in ("", SIGN_OF_LIFE):
            driver.console = console
            select(tmp_path)
            forget_verdict(tmp_path)
        assert set(os.listdir(tmp_path)) - before == {"kvm.lock"}

    def test_without_a_kernel_nothing_is_proven_and_nothing_is_remembered(self, driver: Driver, tmp_path: Path) -> None:
        assert select(tmp_path, kernel=False) is Accelerator.TCG
        assert not driver.machines
        assert select(tmp_path) is Accelerator.KVM


class TestProofHoldsAsLongAs:
    @pytest.fixture(autouse=True)
    def proven(self, driver: Driver, tmp_path: Path, device: Path) -> None:
        assert device.exists()
        assert select(tmp_path) is Accelerator.KVM
        assert len(driver.machines) == 1

    def test_qemu_is_the_same(self, driver: Driver, tmp_path: Path) -> None:
        driver.version = "8.0.0"
        select(tmp_path)
        assert len(driver.machines) == 2

    def test_the_host_was_not_booted_again(
        self, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pyro_mcp.host.process.boot_id", lambda: "another")
        select(tmp_path)
        assert len(driver.machines) == 2

    def test_the_device_is_the_same(self, driver: Driver, tmp_path: Path, device: Path) -> None:
        other = device.with_name("other")
        other.touch()
        other.chmod(0o666)
        other.rename(device)
        select(tmp_path)
        assert len(driver.machines) == 2

    def test_the_device_is_there(self, driver: Driver, tmp_path: Path, device: Path) -> None:
        device.rename(device.with_name("away"))
        assert select(tmp_path) is Accelerator.TCG
        assert "absent" in refusal(tmp_path, require_kvm=True).message
        device.with_name("away").rename(device)
        assert select(tmp_path) is Accelerator.KVM
        assert len(driver.machines) == 1

    def test_it_may_be_opened(self, tmp_path: Path, device: Path) -> None:
        device.chmod(0o600 if os.geteuid() == 0 else 0)
        error = refusal(tmp_path, require_kvm=True)
        who = "root may open" if os.geteuid() == 0 else "this user may not open"
        assert who in error.message
        assert "chgrp" in error.hint or "usermod" in error.hint

    @pytest.mark.parametrize("text", ["", "{", "null", '{"circumstances": {}}', "[" * 100_000])
    def test_its_record_is_whole(self, driver: Driver, tmp_path: Path, text: str) -> None:
        (tmp_path / CACHE_FILE).write_text(text)
        assert select(tmp_path) is Accelerator.KVM
        assert len(driver.machines) == 2

    def test_it_is_not_forgotten(self, driver: Driver, tmp_path: Path) -> None:
        forget_verdict(tmp_path)
        forget_verdict(tmp_path)
        assert known_verdict(driver, tmp_path) is None  # pyright: ignore[reportArgumentType]
        assert kvm_verdict(driver, tmp_path, tmp_path).usable  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("device")
class TestWhatTheEnvironmentAsksFor:
    def test_tcg_is_used_without_looking_at_kvm(self, driver: Driver, tmp_path: Path) -> None:
        assert select(tmp_path, env={"PYRO_ACCEL": "tcg"}) is Accelerator.TCG
        assert not driver.machines

    def test_tcg_and_kvm_required_exclude_each_other(self, driver: Driver, tmp_path: Path) -> None:
        assert refusal(tmp_path, require_kvm=True, env={"PYRO_ACCEL": "tcg"}).code is ErrorCode.UNSUPPORTED
        assert not driver.machines

    @pytest.mark.usefixtures("driver")
    def test_names_that_mean_nothing_are_refused(self, tmp_path: Path) -> None:
        for variables in ({"PYRO_ACCEL": "hvf"}, {"PYRO_VMM": "vmware"}, {"PYRO_VMM": "host"}):
            error = refusal(tmp_path, env=variables)
            assert error.code is ErrorCode.USAGE
            assert next(iter(variables)) in error.message

    @pytest.mark.usefixtures("driver")
    def test_a_host_that_forbids_every_vm_has_no_driver(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, env={"PYRO_VMM": "none"}).code is ErrorCode.UNAVAILABLE

    @pytest.mark.usefixtures("driver")
    def test_empty_variables_are_as_good_as_none(self, tmp_path: Path) -> None:
        assert select(tmp_path, env={"PYRO_ACCEL": "", "PYRO_VMM": ""}) is Accelerator.KVM


def test_a_driver_is_found_by_its_kind(tmp_path: Path) -> None:
    assert driver_of(VmmKind.QEMU, tmp_path).kind is VmmKind.QEMU
    assert driver_of(VmmKind.HOST, tmp_path).kind is VmmKind.HOST
    with pytest.raises(PyroError) as caught:
        driver_of(VmmKind.FIRECRACKER, tmp_path)
    assert caught.value.code is ErrorCode.UNSUPPORTED


def test_the_probe_guest_is_one_small_program_in_an_archive_the_kernel_takes() -> None:
    archive = initramfs()
    assert archive.startswith(b"070701")
    assert len(archive) % 512 == 0
    assert b"TRAILER!!!" in archive
    program = archive[archive.index(b"\x7fELF") :]
    assert SIGN_OF_LIFE.encode() in program
