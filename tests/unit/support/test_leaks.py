"""The census finds what a test leaves behind, and blames nobody else."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.sockets import listen_unix
from tests.support.leaks import Census, leaks_since
from tests.support.python import run_python

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def before(session_directories: Path) -> Census:
    return Census.take(session_directories)


def found_since(before: Census, root: Path) -> list[str]:
    return leaks_since(before, root, settle_s=0)


def test_nothing_done_is_nothing_left(before: Census, session_directories: Path) -> None:
    assert found_since(before, session_directories) == []


def test_a_running_child_is_found(before: Census, session_directories: Path) -> None:
    with process.start(["sleep", "1000"]) as child:
        found = found_since(before, session_directories)
    assert any(line.startswith(f"process {child.pid} ") and "sleep 1000" in line for line in found)


def test_a_process_is_found_however_it_was_detached(before: Census, session_directories: Path) -> None:
    code = (
        "from pyro_mcp.host import process\n"
        "with process.start(['setsid', '-f', 'env', '-i', '/bin/sleep', '1000'], detached=True): pass"
    )
    run_python(code)
    found = [line for line in found_since(before, session_directories) if line.endswith("/bin/sleep 1000")]
    assert len(found) == 1
    pid = int(found[0].split()[1])
    assert process.kill(pid, process.start_time(pid) or 0)


def test_an_open_descriptor_is_found(before: Census, session_directories: Path) -> None:
    reading, writing = os.pipe()
    found = found_since(before, session_directories)
    os.close(reading)
    os.close(writing)
    assert [line.split(" -> ")[0] for line in found] == [f"descriptor {reading}", f"descriptor {writing}"]


def test_a_running_thread_is_found(before: Census, session_directories: Path) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="straggler")
    thread.start()
    found = found_since(before, session_directories)
    go_on.set()
    thread.join()
    assert found == ["thread straggler"]


def test_a_socket_and_a_file_are_found_and_the_layout_is_not(before: Census, session_directories: Path) -> None:
    vm = session_directories / "run" / "vms" / "vm_1"
    vm.mkdir(parents=True)
    listen_unix(vm / "qmp").close()
    (vm / "lanes").mkdir()
    (vm / "lanes" / "2.lock").touch()
    (session_directories / "state" / "state.db").write_text("")
    (session_directories / "tmp" / "left").write_text("")
    found = found_since(before, session_directories)
    remove_tree(session_directories / "run" / "vms")
    remove_tree(session_directories / "tmp" / "left")
    remove_tree(session_directories / "state" / "state.db")
    assert sorted(found) == sorted(
        f"file {path}" for path in (vm, vm / "lanes", vm / "qmp", session_directories / "tmp" / "left")
    )


def test_a_test_that_leaves_something_behind_fails(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini(f"[pytest]\npythonpath = {ROOT}")
    pytester.makepyfile(
        """
        import os

        def test_that_is_tidy():
            assert True

        def test_that_leaves_a_descriptor():
            os.pipe()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the test left behind:*", "*descriptor * -> pipe:*"])
