"""The life of a one-shot VM, verb by verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation, StopReason
from pyro_mcp.model.states import VmState
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms, network_info_vm, status_vm
from pyro_mcp.workspace.vms.stop import stop_vm

if TYPE_CHECKING:
    from tests.support.host_fixture import HostFixture


def test_a_run_gives_the_commands_result_and_leaves_nothing(yard: HostFixture) -> None:
    result = yard.run("echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert (result.execution_mode, result.isolation) == (ExecutionMode.GUEST_VIRTIO_SERIAL, Isolation.TCG)
    assert yard.remains() == []


def test_a_run_says_its_phases_in_the_contracts_words(yard: HostFixture) -> None:
    result = yard.run()
    phases = [(name, message) for name, message in yard.said.phases if name != "template"]
    assert phases == [
        ("create", "environment=debian:12"),
        ("start", f"vm_id={result.vm_id}"),
        ("execute", f"vm_id={result.vm_id}"),
    ]


def test_a_created_vm_has_neither_files_nor_processes(yard: HostFixture) -> None:
    vm = yard.create()
    assert vm.state is VmState.CREATED
    assert not yard.files(vm).directory.exists()
    assert not yard.files(vm).runtime.exists()
    assert yard.processes() == []


def test_create_start_exec_runs_the_command_and_deletes_the_vm(yard: HostFixture) -> None:
    vm = yard.started()
    assert (vm.execution_mode, vm.isolation) == (ExecutionMode.GUEST_VIRTIO_SERIAL, Isolation.TCG)
    assert status_vm(yard.engine, vm.id) == vm
    assert list_vms(yard.engine) == [vm]
    assert yard.exec(vm, ("echo", "a  b", "*")).stdout == "a  b *\n"
    assert yard.remains() == []
    with pytest.raises(PyroError) as caught:
        status_vm(yard.engine, vm.id)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_output_comes_live_and_what_is_long_is_kept_at_both_ends(yard: HostFixture) -> None:
    seen: dict[Stream, bytearray] = {stream: bytearray() for stream in Stream}

    def take(stream: Stream, data: bytes) -> None:
        seen[stream] += data

    long = "printf begin; head -c 100000 /dev/zero | tr '\\0' x; printf end"
    result = yard.run(long, on_output=take, stream_bytes=1000)
    assert len(seen[Stream.STDOUT]) == result.stdout_bytes == 100008
    assert result.stdout_truncated
    assert not result.stderr_truncated
    assert result.stdout.startswith("begin")
    assert result.stdout.endswith("end")
    assert len(result.stdout) < 1200


def test_a_command_finds_the_environments_variables_set(yard: HostFixture) -> None:
    assert yard.exec(yard.started(), "echo $FROM_ENVIRONMENT").stdout == "yes\n"
    assert yard.run("echo $FROM_ENVIRONMENT").stdout == "yes\n"


def test_a_command_that_can_not_run_is_an_error_and_the_vm_is_deleted_all_the_same(yard: HostFixture) -> None:
    with pytest.raises(PyroError, match="command not found: 'no-such-program'") as caught:
        yard.exec(yard.started(), ("no-such-program",))
    assert caught.value.details["exit_code"] == 127
    assert yard.remains() == []


@pytest.mark.parametrize("command", ["", (), ("",), "a\0b", ("echo", "\0")])
def test_a_command_that_no_guest_could_run_is_refused_before_anything_is_made(
    yard: HostFixture, command: str | tuple[str, ...]
) -> None:
    with pytest.raises(PyroError) as caught:
        yard.run(command)
    assert caught.value.code is ErrorCode.INVALID
    assert yard.remains() == []


def test_a_command_needs_a_started_vm_and_an_early_one_harms_nothing(yard: HostFixture) -> None:
    vm = yard.create()
    with pytest.raises(PyroError, match="is created, and a command needs a started VM") as caught:
        yard.exec(vm)
    assert (caught.value.code, caught.value.hint) == (ErrorCode.CONFLICT, "Start it first.")
    assert status_vm(yard.engine, vm.id) == vm


def test_a_stopped_vm_keeps_its_disk_and_starts_again(yard: HostFixture) -> None:
    vm = yard.started()
    yard.files(vm).root_disk.write_bytes(b"what the guest wrote")
    stopped = stop_vm(yard.engine, vm.id)
    assert (stopped.state, stopped.stop_reason) == (VmState.STOPPED, StopReason.USER)
    assert not yard.files(vm).runtime.exists()
    assert status_vm(yard.engine, vm.id) == stopped
    again = start_vm(yard.engine, vm.id)
    assert (again.state, again.stop_reason) == (VmState.STARTED, None)
    assert yard.files(vm).root_disk.read_bytes() == b"what the guest wrote"
    assert yard.exec(again, "echo back").stdout == "back\n"
    assert yard.remains() == []


def test_starting_and_stopping_twice_is_as_good_as_once(yard: HostFixture) -> None:
    vm = yard.started()
    assert start_vm(yard.engine, vm.id) == vm
    stopped = stop_vm(yard.engine, vm.id)
    assert stop_vm(yard.engine, vm.id) == stopped
    delete_vm(yard.engine, vm.id)
    assert yard.remains() == []


@pytest.mark.parametrize("state", ["created", "started", "stopped"])
def test_a_vm_can_be_deleted_in_any_state(yard: HostFixture, state: str) -> None:
    vm = yard.create()
    if state != "created":
        start_vm(yard.engine, vm.id)
    if state == "stopped":
        stop_vm(yard.engine, vm.id)
    delete_vm(yard.engine, vm.id)
    assert yard.remains() == []


@pytest.mark.parametrize("verb", [start_vm, stop_vm, status_vm, delete_vm, network_info_vm])
def test_verbs_say_that_a_vm_is_not_there(yard: HostFixture, verb: object) -> None:
    vm_id = new_vm_id()
    with pytest.raises(PyroError, match=vm_id) as caught:
        verb(yard.engine, vm_id)  # type: ignore[operator]
    assert caught.value.code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("verb", [start_vm, stop_vm, status_vm, delete_vm, network_info_vm])
@pytest.mark.parametrize("vm_id", ["../../etc", "", "vm_x", "-rf", "vm_\n"])
def test_verbs_refuse_what_is_no_id(yard: HostFixture, verb: object, vm_id: str) -> None:
    with pytest.raises(PyroError) as caught:
        verb(yard.engine, vm_id)  # type: ignore[operator]
    assert caught.value.code is ErrorCode.INVALID


def test_a_vm_without_a_network_says_so(yard: HostFixture) -> None:
    info = network_info_vm(yard.engine, yard.create().id)
    assert (info.network_policy.value, info.network) == ("off", None)


def test_an_unknown_environment_is_named_before_anything_is_recorded(yard: HostFixture) -> None:
    for name, code in {"debian:99": ErrorCode.NOT_FOUND, "../etc": ErrorCode.INVALID, "": ErrorCode.INVALID}.items():
        from pyro_mcp.workspace.vms.create import VmSpec, create_vm

        with pytest.raises(PyroError) as caught:
            create_vm(yard.engine, VmSpec(name))
        assert caught.value.code is code
    assert yard.remains() == []
