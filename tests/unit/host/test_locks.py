"""Locks hold between processes and threads, end with their owner, and say who has them."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.locks import file_lock
from pyro_mcp.host.waiting import wait_until
from tests.support.python import python_that_says_ready

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from pyro_mcp.host.locks import file_lock
with file_lock(Path(sys.argv[1]), shared=sys.argv[2:] == ["shared"], timeout_s=20, waiting_for="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "env.lock"


def test_a_lock_held_by_another_process_is_refused_at_once_naming_that_process(path: Path) -> None:
    with (
        python_that_says_ready(HOLD, str(path)) as holder,
        pytest.raises(PyroError) as caught,
        file_lock(path, timeout_s=0, waiting_for="environment debian:12"),
    ):
        pass
    assert caught.value.code is ErrorCode.BUSY
    assert caught.value.message == f"environment debian:12 is in use by process {holder.pid}"
    assert caught.value.details == {"holder_pid": holder.pid}


def test_a_wait_for_a_lock_ends_with_its_timeout(path: Path) -> None:
    with (
        python_that_says_ready(HOLD, str(path)),
        pytest.raises(PyroError, match=r"for more than 0\.05 s \[") as caught,
        file_lock(path, timeout_s=0.05, waiting_for="it"),
    ):
        pass
    assert caught.value.code is ErrorCode.BUSY


def test_a_waiting_process_gets_the_lock_when_the_holder_gives_it_back(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path)) as holder:
        holder.close_stdin()
        with file_lock(path, timeout_s=30, waiting_for="it"):
            assert path.read_text() == str(os.getpid())


def test_a_killed_holder_loses_the_lock_at_once(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path)) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(30)
        with file_lock(path, timeout_s=0, waiting_for="it"):
            assert path.read_text() == str(os.getpid())


def test_shared_holders_share_and_keep_an_exclusive_one_out(path: Path) -> None:
    with python_that_says_ready(HOLD, str(path), "shared"):
        with file_lock(path, shared=True, timeout_s=0, waiting_for="it"):
            pass
        with pytest.raises(PyroError, match="another process"), file_lock(path, timeout_s=0, waiting_for="it"):
            pass


def test_two_threads_of_one_process_exclude_each_other(path: Path) -> None:
    inside: list[int] = []
    most = 0

    def enter(number: int) -> None:
        nonlocal most
        with file_lock(path, timeout_s=30, waiting_for="it"):
            inside.append(number)
            most = max(most, len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lock_file_stays_and_no_longer_names_anybody(path: Path) -> None:
    with file_lock(path, timeout_s=0, waiting_for="it"):
        pass
    assert path.read_text() == ""
    with file_lock(path, timeout_s=0, waiting_for="it"):
        assert path.exists()


def test_the_lock_is_given_back_when_the_block_fails(path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), file_lock(path, timeout_s=0, waiting_for="it"):
        raise ValueError("inside")
    with file_lock(path, timeout_s=0, waiting_for="it"):
        assert path.exists()


def test_a_timeout_raised_inside_the_block_is_not_taken_for_a_busy_lock(path: Path) -> None:
    inner = PyroError(ErrorCode.TIMEOUT, "the guest was slow")
    with pytest.raises(PyroError) as caught, file_lock(path, timeout_s=1, waiting_for="it"):
        raise inner
    assert caught.value is inner


def test_children_do_not_inherit_the_lock(path: Path) -> None:
    with file_lock(path, timeout_s=0, waiting_for="it"):
        holder = python_that_says_ready("print('ready', flush=True); input()")
        child = holder.__enter__()
    try:
        with file_lock(path, timeout_s=0, waiting_for="it"):
            assert child.poll() is None
    finally:
        holder.__exit__(None, None, None)


def test_a_link_in_place_of_the_lock_file_is_refused(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(PyroError, match="could not open the lock file"), file_lock(path, timeout_s=0, waiting_for="it"):
        pass
    assert not path.with_name("elsewhere").exists()


def test_a_lock_in_a_directory_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with (
        pytest.raises(PyroError, match="could not open the lock file"),
        file_lock(tmp_path / "no" / "lock", timeout_s=0, waiting_for="it"),
    ):
        pass


def test_one_waiter_of_many_processes_is_inside_at_a_time(path: Path) -> None:
    count = path.with_name("count")
    count.write_text("0")
    code = """
import sys
from pathlib import Path
from pyro_mcp.host.locks import file_lock
lock, count = map(Path, sys.argv[1:])
print("ready", flush=True)
for _ in range(20):
    with file_lock(lock, timeout_s=30, waiting_for="it"):
        count.write_text(str(int(count.read_text()) + 1))
"""
    with (
        python_that_says_ready(code, str(path), str(count)) as first,
        python_that_says_ready(code, str(path), str(count)) as second,
    ):
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert wait_until(count.read_text, timeout_s=1, what="the count") == "40"
