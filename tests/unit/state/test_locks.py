"""Named locks hold apart processes and threads, and leave no file for each name behind."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.state.locks import named_lock
from tests.support.python import python_that_says_ready

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from pyro_mcp.state.locks import named_lock
with named_lock(Path(sys.argv[1]), sys.argv[2], shared=sys.argv[3:] == ["shared"], timeout_s=20, waiting_for="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "vms.lock"


def test_a_name_held_by_another_process_is_busy_and_other_names_are_free(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path), "vm_one"):
        with (
            pytest.raises(PyroError, match=r"^the VM is in use by another process \[") as caught,
            named_lock(path, "vm_one", timeout_s=0, waiting_for="the VM"),
        ):
            pass
        assert caught.value.code is ErrorCode.BUSY
        with named_lock(path, "vm_two", timeout_s=0, waiting_for="the other VM"):
            pass


def test_threads_of_one_process_are_held_apart_too(path: Path) -> None:
    caught: list[PyroError] = []

    def attempt() -> None:
        try:
            with named_lock(path, "vm_one", timeout_s=0, waiting_for="it"):
                pass
        except PyroError as error:
            caught.append(error)

    with named_lock(path, "vm_one", timeout_s=0, waiting_for="it"):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert [error.code for error in caught] == [ErrorCode.BUSY]


def test_shared_holders_do_not_wait_for_each_other_but_an_exclusive_one_does(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path), "t", "shared"):
        with named_lock(path, "t", shared=True, timeout_s=0, waiting_for="it"):
            pass
        with (
            pytest.raises(PyroError, match=r"for more than 0\.05 s"),
            named_lock(path, "t", timeout_s=0.05, waiting_for="it"),
        ):
            pass


def test_a_stale_lock_of_a_killed_process_is_free_at_once(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path), "vm_one") as holder:
        holder.send_signal(signal.SIGKILL)
        wait_until(lambda: holder.poll() is not None, timeout_s=10, what="the holder to die")
        with named_lock(path, "vm_one", timeout_s=0, waiting_for="it"):
            pass


def test_a_waiter_gets_the_lock_when_it_is_given_back(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path), "vm_one") as holder:
        holder.close_stdin()
        with named_lock(path, "vm_one", timeout_s=20, waiting_for="it"):
            pass


def test_a_thousand_names_are_one_empty_file(path: Path) -> None:
    for number in range(1000):
        with named_lock(path, f"vm_{number}", timeout_s=0, waiting_for="it"):
            pass
    assert os.listdir(path.parent) == ["vms.lock"]
    assert path.stat().st_size == 0


def test_an_empty_name_has_a_lock_too(tmp_path: Path) -> None:
    # A damaged row may have one.
    with named_lock(tmp_path / "locks", "", timeout_s=0, waiting_for="it"):
        pass
