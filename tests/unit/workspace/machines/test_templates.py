"""Templates are made once, proven before each use, rebuilt when they changed, and bounded in number."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm.template import DEVICE_STATE, MANIFEST, RAM, ROOT_DISK
from pyro_mcp.workspace.machines import templates
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.vms.run import run_in_vm
from tests.support.tiny_images import base_image, install_tiny_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.host_fixture import HostFixture


def only(yard: HostFixture) -> Path:
    (name,) = os.listdir(yard.paths.templates)
    return yard.paths.templates / name


def calls(yard: HostFixture) -> list[str]:
    """Return what the driver was asked for since the last time."""
    made = yard.fakes.fake.calls.copy()
    yard.fakes.fake.calls.clear()
    return made


def test_a_template_is_made_by_the_first_start_and_used_by_all(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    assert calls(yard) == ["boot", "save", "restore"]
    yard.run()
    yard.exec(yard.started())
    assert calls(yard) == ["restore", "restore"]
    assert sorted(os.listdir(only(yard))) == sorted([RAM, DEVICE_STATE, ROOT_DISK, MANIFEST])


def append(path: Path) -> None:
    path.chmod(0o600)
    with open(path, "ab") as file:
        file.write(b"poison")


def flip(path: Path) -> None:
    before = path.stat()
    path.chmod(0o600)
    with open(path, "r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([(byte or b"\0")[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    with open(path, "rb") as file:
        data = file.read(100)
    path.unlink()
    path.write_bytes(data)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", [RAM, DEVICE_STATE, ROOT_DISK, MANIFEST])
@pytest.mark.parametrize("harm", [append, flip, replace, link, os.unlink])
def test_a_template_that_was_tampered_with_is_made_anew_and_not_booted(
    cold_yard: HostFixture, name: str, harm: Callable[[Path], None]
) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    harm(only(yard) / name)
    assert yard.run("echo fine").stdout == "fine\n"
    assert calls(yard) == ["boot", "save", "restore"]
    assert any("rebuilding it" in notice for notice in yard.said.notices)
    yard.run()
    assert calls(yard) == ["restore"]
    assert yard.remains() == []


def test_another_vmm_shape_or_image_takes_another_template(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    yard.fakes.fake.version = "2"
    yard.run()
    run_in_vm(yard.engine, yard.spec(shape=Shape(2, 512)), GuestCommand("true"))
    install_tiny_images(yard.paths, b"another file system")
    yard.run()
    assert calls(yard) == ["boot", "save", "restore"] * 3
    assert len(os.listdir(yard.paths.templates)) == 4


def test_two_starts_at_once_make_one_template(cold_yard: HostFixture) -> None:
    yard = cold_yard
    engines = [yard.another_engine() for _ in range(4)]
    results: list[int] = []

    def run(number: int) -> None:
        results.append(run_in_vm(engines[number], yard.spec(), GuestCommand("true")).exit_code)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 4
    made = calls(yard)
    assert made.count("boot") == made.count("save") == 1
    assert made.count("restore") == 4
    assert yard.remains() == []


@pytest.mark.parametrize("step", ["boot", "save"])
def test_a_template_that_can_not_be_made_leaves_nothing_behind(cold_yard: HostFixture, step: str) -> None:
    yard = cold_yard
    yard.fakes.fake.refusals[step] = PyroError(ErrorCode.TIMEOUT, "it took too long")
    with pytest.raises(PyroError, match="it took too long"):
        yard.run()
    assert yard.remains() == []
    assert os.listdir(yard.paths.templates) == []
    yard.fakes.fake.refusals.clear()
    assert yard.run("echo works").stdout == "works\n"


def test_without_room_for_a_template_a_vm_is_booted_from_the_kernel(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.fakes.fake.refusals["save"] = PyroError(ErrorCode.NO_SPACE, "the disk is full")
    assert yard.run("echo works").stdout == "works\n"
    assert calls(yard) == ["boot", "save", "boot"]
    assert "no template can be used (the disk is full)" in yard.said.notices[0]
    assert yard.remains() == []


def test_a_template_that_does_not_load_is_rebuilt(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    yard.fakes.fake.refusals["restore"] = PyroError(ErrorCode.CORRUPT, "the state does not load")
    yard.fakes.fake.refusals_left = 1
    assert yard.exec(yard.started(), "echo works").stdout == "works\n"
    assert calls(yard) == ["restore", "boot", "save", "restore"]
    assert "the template could not be restored (the state does not load): rebuilding it" in yard.said.notices
    assert yard.remains() == []


def test_a_vmm_that_ends_in_a_restore_but_boots_costs_the_template(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    yard.fakes.fake.refusals["restore"] = PyroError(ErrorCode.UNAVAILABLE, "the VMM ended")
    yard.fakes.fake.refusals_left = 1
    assert yard.run("echo works").stdout == "works\n"
    assert calls(yard) == ["restore", "boot"]
    assert os.listdir(yard.paths.templates) == []
    yard.run()
    assert calls(yard) == ["boot", "save", "restore"]


def test_a_caller_for_whom_nothing_starts_leaves_the_shared_template_alone(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    for step in ("restore", "boot"):
        yard.fakes.fake.refusals[step] = PyroError(ErrorCode.UNAVAILABLE, "the machine is out of memory")
    with pytest.raises(PyroError, match="out of memory"):
        yard.run()
    assert calls(yard) == ["restore", "boot"]
    yard.fakes.fake.refusals.clear()
    yard.run()
    assert calls(yard) == ["restore"]


def test_a_restore_that_always_fails_falls_back_to_a_boot(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    calls(yard)
    yard.fakes.fake.refusals["restore"] = PyroError(ErrorCode.CORRUPT, "the state does not load")
    assert yard.exec(yard.started(), "echo works").stdout == "works\n"
    assert calls(yard) == ["restore", "boot", "save", "restore", "boot"]
    assert yard.remains() == []


def test_only_the_templates_used_last_are_kept(cold_yard: HostFixture) -> None:
    yard = cold_yard
    for number in range(templates.MAX_TEMPLATES):
        stale = yard.paths.templates / f"old{number}"
        stale.mkdir(parents=True)
        os.utime(stale, (1000 + number, 1000 + number))
    yard.run()
    kept = sorted(os.listdir(yard.paths.templates))
    assert len(kept) == templates.MAX_TEMPLATES
    assert "old0" not in kept
    assert "old1" in kept


def test_a_template_in_use_is_not_removed(cold_yard: HostFixture) -> None:
    yard = cold_yard
    yard.run()
    key = only(yard).name
    with templates._lock(yard.paths, key, shared=True):  # pyright: ignore[reportPrivateUsage]
        assert templates.keep_recent(yard.paths, keep=0) == []
    assert templates.keep_recent(yard.paths, keep=0) == [key]
    assert yard.remains() == []


def test_a_base_image_that_is_gone_is_named(cold_yard: HostFixture) -> None:
    yard = cold_yard
    vm = yard.create()
    base_image(yard.paths).unlink()
    from pyro_mcp.workspace.vms.start import start_vm

    with pytest.raises(PyroError) as caught:
        start_vm(yard.engine, vm.id)
    assert caught.value.code in {ErrorCode.CORRUPT, ErrorCode.NOT_FOUND}
