"""What decides whether, and by what, a VM is run; the host itself only when that was allowed."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import Accelerator, ExecutionMode, Isolation, NetworkPolicy
from pyro_mcp.workspace.machines.command import GuestCommand
from pyro_mcp.workspace.machines.disks import require_space
from pyro_mcp.workspace.vms.create import VmSpec, create_vm
from pyro_mcp.workspace.vms.run import run_in_vm

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.workspace.machines.command import Execution
    from tests.support.host_fixture import HostFixture

NO_QEMU = PyroError(ErrorCode.MISSING_PROGRAM, "qemu-system-x86_64 is not installed", hint="Run: apt-get install qemu.")


def run(yard: HostFixture, **changes: object) -> Execution:
    return run_in_vm(yard.engine, yard.spec(**changes), GuestCommand("pwd; echo hello"))


def refusal(yard: HostFixture, **changes: object) -> PyroError:
    with pytest.raises(PyroError) as caught:
        run(yard, **changes)
    assert yard.remains() == []
    return caught.value


def test_a_host_that_can_boot_no_guest_is_an_error_that_says_what_to_do_and_nothing_runs(yard: HostFixture) -> None:
    yard.fakes.no_guest = NO_QEMU
    error = refusal(yard)
    assert (error.code, error.message) == (NO_QEMU.code, NO_QEMU.message)
    assert error.hint.startswith("Run: apt-get install qemu. Or allow it: `--allow-host-compat`")
    assert yard.fakes.compat.calls == []


def test_with_the_flag_a_host_that_can_boot_no_guest_runs_the_command_itself_and_says_so(yard: HostFixture) -> None:
    yard.fakes.no_guest = NO_QEMU
    result = run(yard, allow_host_compat=True)
    assert (result.execution_mode, result.isolation) == (ExecutionMode.HOST_COMPAT, Isolation.NONE)
    assert result.stdout.endswith("hello\n")
    assert str(yard.paths.vms) in result.stdout
    assert yard.remains() == []


def test_with_the_flag_a_host_that_can_boot_a_guest_boots_one(yard: HostFixture) -> None:
    assert run(yard, allow_host_compat=True).execution_mode is ExecutionMode.GUEST_VIRTIO_SERIAL
    assert yard.fakes.compat.calls == []


def test_the_host_itself_needs_no_environment_to_be_installed(yard: HostFixture) -> None:
    yard.fakes.no_guest = NO_QEMU
    result = run_in_vm(yard.engine, VmSpec("debian:13", allow_host_compat=True), GuestCommand("true"))
    assert result.environment == "debian:13"


def test_pyro_vmm_none_is_an_error_without_the_flag_and_the_host_with_it(
    yard: HostFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_VMM", "none")
    assert refusal(yard).message == "PYRO_VMM=none forbids every VM"
    assert run(yard, allow_host_compat=True).execution_mode is ExecutionMode.HOST_COMPAT


@pytest.mark.parametrize("policy", [NetworkPolicy.EGRESS, NetworkPolicy.EGRESS_PUBLISHED_PORTS])
def test_a_network_policy_is_refused_on_the_host_itself(yard: HostFixture, policy: NetworkPolicy) -> None:
    yard.fakes.no_guest = NO_QEMU
    error = refusal(yard, allow_host_compat=True, network_policy=policy)
    assert error.code is ErrorCode.UNSUPPORTED
    assert policy.value in error.message


def test_require_kvm_refuses_less_by_argument_and_by_variable(
    yard: HostFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "KVM is required" in refusal(yard, require_kvm=True).message
    # Nor does it fall back to something weaker still.
    assert "KVM is required" in refusal(yard, require_kvm=True, allow_host_compat=True).message
    monkeypatch.setenv("PYRO_REQUIRE_KVM", "1")
    assert "KVM is required" in refusal(yard, allow_host_compat=True).message
    monkeypatch.setenv("PYRO_VMM", "none")
    assert "PYRO_VMM=none forbids every VM" in refusal(yard, allow_host_compat=True).message
    monkeypatch.delenv("PYRO_VMM")
    yard.fakes.accelerator = Accelerator.KVM
    assert run(yard).isolation is Isolation.KVM


def test_a_vm_that_was_created_on_the_host_itself_starts_there_even_if_guests_boot_by_then(yard: HostFixture) -> None:
    yard.fakes.no_guest = NO_QEMU
    vm = yard.create(allow_host_compat=True)
    assert vm.base is None
    yard.fakes.no_guest = None
    from pyro_mcp.workspace.vms.start import start_vm

    assert start_vm(yard.engine, vm.id).execution_mode is ExecutionMode.HOST_COMPAT
    assert yard.exec(vm).execution_mode is ExecutionMode.HOST_COMPAT


@pytest.mark.parametrize("changes", [{"ttl_s": 0}, {"ttl_s": 10**9}, {"ttl_s": -1}])
def test_absurd_times_to_live_are_refused(yard: HostFixture, changes: dict[str, int]) -> None:
    with pytest.raises(PyroError) as caught:
        create_vm(yard.engine, yard.spec(**changes))
    assert caught.value.code is ErrorCode.INVALID


def test_too_little_space_is_an_error_that_says_where_and_how_much(tmp_path: Path) -> None:
    with pytest.raises(PyroError, match=f"the disk that holds {tmp_path} has [0-9]+ MiB free") as caught:
        require_space(tmp_path, 2**62)
    assert caught.value.code is ErrorCode.NO_SPACE


def _answer(found: os.statvfs_result, _path: object) -> os.statvfs_result:
    return found


def test_nothing_is_made_where_there_is_no_space(yard: HostFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = yard.create()
    found = os.statvfs(yard.paths.state)
    full = os.statvfs_result((*found[:4], 100, *found[5:]))
    monkeypatch.setattr(os, "statvfs", partial(_answer, full))
    for attempt in (yard.run, yard.create):
        with pytest.raises(PyroError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.NO_SPACE
    monkeypatch.undo()
    assert yard.remains() == [f"row {vm.id} created"]
