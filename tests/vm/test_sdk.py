"""The SDK with real guests."""

from __future__ import annotations

import threading

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError

pytestmark = pytest.mark.vm


def test_a_command_runs_and_nothing_of_its_vm_is_left() -> None:
    with Pyro() as pyro:
        result = pyro.run_in_vm("debian:12", ["sh", "-c", "echo $0; id -u; pwd", "a b"])
        assert result.exit_code == 0
        assert result.stdout == "a b\n0\n/workspace\n"
        assert result.execution_mode == "guest_virtio_serial"
        assert pyro.list_vms().count == 0


def test_a_vm_lives_step_by_step() -> None:
    with Pyro() as pyro:
        vm_id = pyro.create_vm("debian:12").vm_id
        assert pyro.start_vm(vm_id).state == "started"
        assert pyro.status_vm(vm_id).isolation in {"kvm", "tcg"}
        assert pyro.exec_vm(vm_id, command="exit 7").exit_code == 7
        with pytest.raises(PyroError) as caught:
            pyro.status_vm(vm_id)
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_one_pyro_serves_several_threads() -> None:
    results: dict[int, str] = {}

    with Pyro() as pyro:

        def run(number: int) -> None:
            results[number] = pyro.run_in_vm("debian:12", f"echo {number}").stdout

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {number: f"{number}\n" for number in range(4)}


def test_long_output_keeps_its_ends_and_is_counted_whole() -> None:
    result = Pyro().run_in_vm("debian:12", "head -c 3000000 /dev/zero | tr '\\0' x; echo end")
    assert result.stdout_size_bytes == 3_000_004
    assert result.stdout_truncated
    assert len(result.stdout) < 1_100_000
    assert result.stdout.startswith("xxx")
    assert result.stdout.endswith("xend\n")
