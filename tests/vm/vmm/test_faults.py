"""Guests and VMMs that fail: what is said, how soon, and that nothing is left."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.process.identity import tree_of
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.driver import BootFiles, BootPlan, Drive, Machine
from pyro_mcp.vmm.qemu.driver import QemuDriver
from pyro_mcp.vmm.qemu.kvm_probe import CACHE_FILE, SIGN_OF_LIFE, boot_probe_guest
from tests.support.machines import Bench, greet, make_drives

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vm

BOOT_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0


def files(bench: Bench) -> BootFiles:
    assert bench.boot_files is not None
    return bench.boot_files


def refusal(bench: Bench, plan: BootPlan) -> PyroError:
    before = {found.pid for found in tree_of(os.getpid())}
    with pytest.raises(PyroError) as caught:
        bench.driver.boot(plan)
    assert {found.pid for found in tree_of(os.getpid())} <= before
    assert not plan.spec.runtime_dir.exists()
    return caught.value


def ended(machine: Machine, timeout_s: float) -> bool:
    try:
        return machine.wait_for_end(timeout_s)
    finally:
        machine.kill()


def test_a_panic_ends_the_machine_and_its_last_words_are_kept(booting_bench: Bench, home: Path) -> None:
    boot = replace(files(booting_bench), kernel_args=("rdinit=/absent", "root=/dev/absent"))
    machine = booting_bench.driver.boot(BootPlan(booting_bench.spec(home), Accelerator.TCG, boot))
    assert ended(machine, BOOT_TIMEOUT_S)
    assert "Kernel panic" in machine.console_tail()


def test_a_guest_that_reboots_ends_its_machine(booting_bench: Bench, home: Path) -> None:
    ran, console = boot_probe_guest(
        booting_bench.driver, Accelerator.TCG, files(booting_bench).kernel, home, timeout_s=BOOT_TIMEOUT_S
    )
    assert ran
    assert "reboot: Restarting system" in console
    assert SIGN_OF_LIFE in console
    assert os.listdir(home) == []


def test_a_probe_guest_that_does_not_get_there_in_time_is_killed(booting_bench: Bench, home: Path) -> None:
    ran, _ = boot_probe_guest(booting_bench.driver, Accelerator.TCG, files(booting_bench).kernel, home, timeout_s=0.01)
    assert not ran
    assert os.listdir(home) == []


def test_what_qemu_says_when_it_gives_up_is_in_the_error(booting_bench: Bench, home: Path) -> None:
    noise = home / "noise"
    noise.write_bytes(b"this is no kernel" * 1000)
    boot = BootFiles(noise, files(booting_bench).initramfs)
    error = refusal(booting_bench, BootPlan(booting_bench.spec(home), Accelerator.TCG, boot))
    assert error.code is ErrorCode.UNAVAILABLE
    assert "kernel" in error.message


def test_kvm_is_proven_anew_after_a_machine_failed_in_it(booting_bench: Bench, home: Path) -> None:
    noise = home / "noise"
    noise.write_bytes(b"this is no kernel" * 1000)
    driver = QemuDriver(home)
    (home / CACHE_FILE).write_text("{}")
    plan = BootPlan(booting_bench.spec(home), Accelerator.KVM, BootFiles(noise, noise))
    with pytest.raises(PyroError) as caught:
        driver.boot(plan)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert not (home / CACHE_FILE).exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "absent"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_disk_that_is_no_regular_file_is_refused(
    booting_bench: Bench, home: Path, kind: str, *, read_only: bool
) -> None:
    good, _ = make_drives(home)
    path = home / "odd"
    match kind:
        case "link":
            path.symlink_to(good.path)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            pass
    spec = booting_bench.spec(home, drives=[good, Drive(path, read_only=read_only)])
    with pytest.raises(PyroError) as caught:
        booting_bench.driver.boot(BootPlan(spec, Accelerator.TCG, files(booting_bench)))
    assert caught.value.code is (ErrorCode.NOT_FOUND if kind == "absent" else ErrorCode.INVALID)
    assert str(path) in caught.value.message


def test_a_clone_takes_a_network_and_lets_go_of_it_at_its_end(qemu_bench: Bench, home: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with qemu_bench.started(qemu_bench.spec(home, network_fd=theirs.fileno())) as machine:
            theirs.close()
            greet(machine)
        # No process of the machine's holds the other end: what is behind it would never end otherwise.
        ours.settimeout(END_TIMEOUT_S)
        while ours.recv(65536):
            pass


def test_a_guest_that_floods_its_network_card_with_nobody_behind_it_goes_on(qemu_bench: Bench, home: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, qemu_bench.started(qemu_bench.spec(home, network_fd=theirs.fileno())) as machine:
        theirs.close()
        ours.close()
        greet(machine)
