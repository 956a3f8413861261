"""QEMU's command line: every descriptor it names is one it inherits, and a template's hardware is always the same."""

from __future__ import annotations

import itertools
import re

import pytest

from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm.qemu import argv
from pyro_mcp.vmm.qemu.argv import DriveWiring, Hardware, Ram, Wiring
from pyro_mcp.vmm.qemu.kernel_line import kernel_line, measure_tsc_khz

HARDWARE = Hardware(Shape(2, 768), Accelerator.TCG, lanes=3)
DRIVES = (DriveWiring(20, read_only=True, volatile=False), DriveWiring(21, read_only=False, volatile=True))


def line(hardware: Hardware = HARDWARE, /, append: str | None = None, **changes: object) -> list[str]:
    values: dict[str, object] = {"drives": DRIVES, "lanes": (31, 32, 33), "monitor": 40, "network": None, "ram": 50}
    values |= {"ram_use": Ram.COPIED_ON_WRITE} | changes
    wiring = Wiring(**values)  # pyright: ignore[reportArgumentType]
    return argv.arguments(hardware, wiring, firmware="/firmware", append=append)


def devices(arguments: list[str]) -> list[str]:
    """Return what a guest sees: devices without what is behind them."""
    found = [value for flag, value in itertools.pairwise(arguments) if flag == "-device"]
    return [re.sub(r",netdev=\w+", "", device) for device in found]


def test_nothing_that_was_not_asked_for_is_there() -> None:
    arguments = line()
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(arguments)
    assert "spawn=deny" in arguments[arguments.index("-sandbox") + 1]
    assert not any(flag in arguments for flag in ("-drive", "-net", "-vnc", "-monitor", "-usb", "-fsdev"))


def test_every_file_and_socket_comes_as_an_inherited_descriptor() -> None:
    arguments = line(network=60)
    wiring = Wiring(DRIVES, (31, 32, 33), 40, 60, 50, Ram.COPIED_ON_WRITE)
    text = " ".join(arguments)
    named = {int(number) for number in re.findall(r"(?:\bfd=|fd/|addr\.str=)(\d+)", text)}
    assert named == set(wiring.descriptors()) == {20, 21, 31, 32, 33, 40, 50, 60}
    assert not re.search(r"path=/(?!proc/self/fd/)", text)


def test_a_boot_and_a_restore_have_the_same_hardware_with_and_without_network() -> None:
    booted = line(append="console=ttyS0", ram_use=Ram.WRITTEN)
    assert devices(booted) == devices(line()) == devices(line(network=60))
    assert ("-kernel" in booted, "-incoming" in booted) == (True, False)
    assert ("-kernel" in line(), "-incoming" in line()) == (False, True)


def test_a_drives_mode_is_kept() -> None:
    first, second = [part for part in line() if part.startswith("driver=file")]
    assert "read-only=on" in first
    assert "discard" not in first
    assert "read-only=off" in second
    assert "cache.no-flush=on" in second


@pytest.mark.parametrize(
    ("ram", "expected"),
    [
        ({"ram_use": Ram.WRITTEN, "ram_read_only": True}, "share=on"),
        ({"ram_use": Ram.COPIED_ON_WRITE}, "share=off"),
        ({"ram_use": Ram.COPIED_ON_WRITE, "ram_read_only": True}, "share=off,readonly=on,rom=off"),
    ],
)
def test_a_templates_memory_is_opened_for_reading_where_qemu_can(ram: dict[str, object], expected: str) -> None:
    arguments = line(append=None, **ram)
    memory = arguments[arguments.index("-object") + 1]
    assert memory.endswith(expected)
    assert "size=768M" in memory


def test_without_a_memory_file_there_is_no_memory_object() -> None:
    arguments = line(ram=None, append="x")
    assert "-object" not in arguments
    assert "memory-backend" not in " ".join(arguments)


def test_the_processor_is_the_hosts_under_kvm_alone() -> None:
    kvm = line(Hardware(Shape(1, 512), Accelerator.KVM, 3))
    assert kvm[kvm.index("-cpu") + 1] == "host"
    assert "host" not in line()[line().index("-cpu") + 1]


def test_the_revision_changes_with_what_a_machine_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    before = argv.revision()
    assert argv.revision() == before
    monkeypatch.setattr(argv, "_MAC", "52:54:00:00:00:01")
    assert argv.revision() != before


class TestKernelLine:
    def test_tells_the_kernel_the_rate_of_the_hosts_counter_under_tcg_alone(self) -> None:
        assert re.search(r" tsc_early_khz=[1-9]\d{5,}( |$)", kernel_line(Accelerator.TCG))
        assert "tsc" not in kernel_line(Accelerator.KVM)
        assert "norandmaps" not in kernel_line(Accelerator.KVM)

    def test_ends_with_what_the_caller_adds(self) -> None:
        assert kernel_line(Accelerator.KVM, ["rdinit=/x", "panic"]).endswith(" rdinit=/x panic")

    def test_a_panic_ends_the_vmm(self) -> None:
        assert {"panic=-1", "reboot=t"} <= set(kernel_line(Accelerator.KVM).split())

    def test_the_rate_is_measured_the_same_twice(self) -> None:
        first, second = measure_tsc_khz(), measure_tsc_khz()
        assert abs(first - second) < first / 1000
