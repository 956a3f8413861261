"""Templates that QEMU made: clones leave them as they are, and one that was written to is not used."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process.identity import tree_of
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm.driver import BootPlan, RestorePlan
from pyro_mcp.vmm.qemu.jail import outer_uid
from pyro_mcp.vmm.template import DEVICE_STATE, RAM, Template, open_template, seal_template
from tests.support.machines import Bench, greet, template_parts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vm


@pytest.fixture
def copied(qemu_bench: Bench, tmp_path: Path) -> Template:
    """Copy the template, for tests that damage it."""
    assert qemu_bench.template is not None
    directory = tmp_path / "copied"
    directory.mkdir(mode=0o700)
    for name in (RAM, DEVICE_STATE):
        process.run(
            ["cp", "--sparse=always", "--preserve=mode", qemu_bench.template.directory / name, directory / name],
            timeout_s=60,
        )
    return seal_template(directory, template_parts(qemu_bench))


def refusal(bench: Bench, home: Path, template: Template, **changes: object) -> PyroError:
    before = {found.pid for found in tree_of(os.getpid())}
    spec = replace(bench.spec(home), **changes)
    with pytest.raises(PyroError) as caught:
        bench.driver.restore(RestorePlan(spec, bench.accelerator, template))
    assert {found.pid for found in tree_of(os.getpid())} <= before
    return caught.value


def test_many_clones_run_at_once_and_leave_the_template_as_it_was(qemu_bench: Bench, tmp_path: Path) -> None:
    assert qemu_bench.template is not None
    with ExitStack() as stack:
        clones = [
            stack.enter_context(qemu_bench.started(qemu_bench.spec(tmp_path / str(number)))) for number in range(4)
        ]
        for clone in clones:
            greet(clone)
    assert open_template(qemu_bench.template.directory, qemu_bench.template.key) == qemu_bench.template


def test_a_clone_is_running_when_it_is_handed_out(qemu_bench: Bench, home: Path) -> None:
    with qemu_bench.started(qemu_bench.spec(home)) as machine:
        greet(machine)


@pytest.mark.parametrize("name", [RAM, DEVICE_STATE])
def test_one_that_was_written_to_is_not_restored(qemu_bench: Bench, home: Path, copied: Template, name: str) -> None:
    with open(copied.directory / name, "r+b") as file:
        file.seek(100)
        file.write(b"\x90")
    assert refusal(qemu_bench, home, copied).code is ErrorCode.CORRUPT


def test_a_write_by_the_jails_own_user_is_noticed(copied: Template) -> None:
    fd = os.open(copied.directory / RAM, os.O_RDONLY)
    try:
        user = outer_uid()
        # What QEMU before 8.2 has: a descriptor of the file, which it may open anew for writing.
        write = f"printf poison 1<>/proc/self/fd/{fd}"
        groups: list[int] | None = None if user is None else []
        process.run(["/bin/sh", "-c", write], timeout_s=30, pass_fds=[fd], user=user, group=user, extra_groups=groups)
        assert os.pread(fd, 6, 0) == b"poison"
    finally:
        os.close(fd)
    with pytest.raises(PyroError) as caught:
        open_template(copied.directory, copied.key)
    assert caught.value.code is ErrorCode.CORRUPT


@pytest.mark.parametrize("damage", ["empty", "half", "noise"])
def test_a_damaged_device_state_is_an_error_and_no_machine(
    qemu_bench: Bench, home: Path, copied: Template, damage: str
) -> None:
    path = copied.directory / DEVICE_STATE
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": os.urandom(len(data))}[damage])
    sealed = seal_template(copied.directory, template_parts(qemu_bench))
    assert refusal(qemu_bench, home, sealed).code in {ErrorCode.CORRUPT, ErrorCode.UNAVAILABLE}


def test_one_of_another_shape_is_an_error_and_no_machine(qemu_bench: Bench, home: Path) -> None:
    assert qemu_bench.template is not None
    error = refusal(qemu_bench, home, qemu_bench.template, shape=Shape(1, 512))
    assert error.code in {ErrorCode.CORRUPT, ErrorCode.UNAVAILABLE}


def test_one_with_other_drives_is_an_error_and_no_machine(qemu_bench: Bench, home: Path) -> None:
    assert qemu_bench.template is not None
    error = refusal(qemu_bench, home, qemu_bench.template, drives=())
    assert error.code in {ErrorCode.CORRUPT, ErrorCode.UNAVAILABLE}


def test_a_machine_without_a_memory_file_can_not_be_saved(qemu_bench: Bench, home: Path, tmp_path: Path) -> None:
    with qemu_bench.started(qemu_bench.spec(home)) as machine:
        with pytest.raises(PyroError) as caught:
            qemu_bench.driver.save(machine, tmp_path)
        assert caught.value.code is ErrorCode.UNSUPPORTED
        assert not (tmp_path / DEVICE_STATE).exists()


def test_saving_a_machine_that_has_ended_is_an_error_and_leaves_nothing_running(
    booting_bench: Bench, home: Path, tmp_path: Path
) -> None:
    spec = booting_bench.spec(home)
    machine = booting_bench.driver.boot(
        BootPlan(spec, booting_bench.accelerator, booting_bench.boot_files, tmp_path / RAM)
    )
    process.kill(machine.record.vmm_pid, machine.record.vmm_start_time)
    with pytest.raises(PyroError) as caught:
        booting_bench.driver.save(machine, tmp_path)
    assert caught.value.code is ErrorCode.GUEST_LOST
    assert not machine.is_alive()
    assert not spec.runtime_dir.exists()


def test_a_full_disk_while_saving_is_an_error_and_leaves_nothing_running(
    booting_bench: Bench, home: Path, tmp_path: Path
) -> None:
    spec = booting_bench.spec(home)
    machine = booting_bench.driver.boot(
        BootPlan(spec, booting_bench.accelerator, booting_bench.boot_files, tmp_path / RAM)
    )
    full = tmp_path / "full"
    full.mkdir()
    # Every write to it fails as on a full disk.
    (full / DEVICE_STATE).symlink_to("/dev/full")
    with pytest.raises(PyroError):
        booting_bench.driver.save(machine, full)
    assert not machine.is_alive()
    shutil.rmtree(full)
