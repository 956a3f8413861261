"""Processes end surely, with their trees, and never somebody else's."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.process.identity import ProcessIdentity, read_stat, tree_of
from pyro_mcp.host.waiting import wait_until
from tests.support.python import python_that_says_ready, run_python

if TYPE_CHECKING:
    from collections.abc import Generator

TREE = "sh -c 'sleep 1000 & setsid sleep 1000 & wait' & sleep 1000 & echo up; wait"


@pytest.fixture
def sleeper() -> Generator[process.Child]:
    with process.start(["sleep", "1000"]) as child:
        yield child


def sleepers_below(child: process.Child) -> list[ProcessIdentity]:
    found = [stat for stat in tree_of(child.pid) if stat.name == "sleep"]
    return [ProcessIdentity(stat.pid, stat.start_time, process.boot_id()) for stat in found]


class TestIdentity:
    def test_a_process_is_known_by_pid_start_time_and_boot(self, sleeper: process.Child) -> None:
        assert process.start_time(sleeper.pid) == sleeper.start_time
        assert sleeper.identity == ProcessIdentity.of(sleeper.pid)
        assert sleeper.identity.is_running()

    def test_an_ended_process_does_not_run_even_before_it_is_reaped(self, sleeper: process.Child) -> None:
        sleeper.send_signal(signal.SIGKILL)
        assert process.wait_for_exit(sleeper.pid, sleeper.start_time, timeout_s=30)
        assert read_stat(sleeper.pid) is not None
        assert process.start_time(sleeper.pid) is None
        assert not sleeper.identity.is_running()
        assert ProcessIdentity.of(sleeper.pid) is None

    def test_the_same_pid_of_another_boot_is_another_process(self, sleeper: process.Child) -> None:
        assert not ProcessIdentity(sleeper.pid, sleeper.start_time, "another boot").is_running()

    def test_a_name_with_brackets_and_spaces_is_read_right(self) -> None:
        code = "open('/proc/self/comm', 'w').write(') S 1 (x'); print('ready', flush=True); input()"
        with python_that_says_ready(code) as child:
            stat = read_stat(child.pid)
            assert stat is not None
            assert (stat.name, stat.parent) == (") S 1 (x", os.getpid())

    def test_no_process_has_no_start_time(self) -> None:
        assert process.start_time(2**22 + 1) is None


class TestKill:
    def test_a_process_is_ended_once(self, sleeper: process.Child) -> None:
        assert process.kill(sleeper.pid, sleeper.start_time) is True
        assert process.kill(sleeper.pid, sleeper.start_time) is False
        assert sleeper.wait(30) == -signal.SIGKILL

    def test_another_process_of_the_same_pid_is_left_alone(self, sleeper: process.Child) -> None:
        assert process.kill(sleeper.pid, sleeper.start_time + 1, tree=True) is False
        assert process.send_signal(sleeper.pid, sleeper.start_time + 1, signal.SIGKILL) is False
        assert process.wait_for_exit(sleeper.pid, sleeper.start_time + 1, timeout_s=0)
        assert sleeper.poll() is None

    def test_a_process_that_is_not_there_is_ended_already(self) -> None:
        assert process.kill(2**22 + 1, 1) is False
        assert process.send_signal(2**22 + 1, 1, signal.SIGTERM) is False
        assert process.wait_for_exit(2**22 + 1, 1, timeout_s=0)

    def test_a_stopped_process_ends(self, sleeper: process.Child) -> None:
        assert process.send_signal(sleeper.pid, sleeper.start_time, signal.SIGSTOP)
        assert process.kill(sleeper.pid, sleeper.start_time, grace_s=30)
        assert sleeper.wait(30) == -signal.SIGTERM

    def test_one_that_ignores_sigterm_ends_all_the_same(self) -> None:
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); input()"
        with python_that_says_ready(code) as child:
            assert process.kill(child.pid, child.start_time, grace_s=0.05)
            assert child.wait(30) == -signal.SIGKILL

    def test_a_tree_ends_with_what_left_its_group_and_session(self) -> None:
        with process.start(["sh", "-c", TREE], stdout=process.PIPE) as child:
            members = wait_until(lambda: (found := sleepers_below(child))[2:] and found, timeout_s=30, what="the tree")
            assert process.kill(child.pid, child.start_time, tree=True)
            assert [member for member in members if member.is_running()] == []

    def test_a_wait_for_an_exit_that_does_not_come_says_so(self, sleeper: process.Child) -> None:
        assert not process.wait_for_exit(sleeper.pid, sleeper.start_time, timeout_s=0.01)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not signal this process")
    def test_a_process_of_somebody_else_is_an_error_of_ours(self, sleeper: process.Child) -> None:
        code = (
            "import os, sys; from pyro_mcp.host import process; from pyro_mcp.errors import PyroError\n"
            "os.setgroups([]); os.setuid(65534)\n"
            "try: process.kill(int(sys.argv[1]), int(sys.argv[2]))\n"
            "except PyroError as error: print(error.code.value)\n"
        )
        assert run_python(code, str(sleeper.pid), str(sleeper.start_time)).text == "permission"
        assert sleeper.poll() is None


class TestChild:
    def test_leaving_the_block_ends_the_tree(self) -> None:
        with process.start(["sh", "-c", TREE], stdout=process.PIPE) as child:
            members = wait_until(lambda: (found := sleepers_below(child))[2:] and found, timeout_s=30, what="the tree")
        assert child.returncode == -signal.SIGKILL
        assert [member for member in members if member.is_running()] == []

    def test_a_detached_child_outlives_the_block(self) -> None:
        with process.start(["sleep", "1000"], detached=True) as child:
            pass
        assert child.identity.is_running()
        assert process.kill(child.pid, child.start_time)
        assert read_stat(child.pid) is None

    def test_a_detached_child_ends_when_the_block_fails(self) -> None:
        with pytest.raises(ValueError, match="later"), process.start(["sleep", "1000"], detached=True) as child:
            raise ValueError("later")
        assert not child.identity.is_running()

    def test_a_detached_child_outlives_its_parent(self) -> None:
        code = (
            "from pyro_mcp.host import process\n"
            "with process.start(['sleep', '1000'], detached=True) as child: print(child.pid, child.start_time)"
        )
        pid, started = map(int, run_python(code).text.split())
        assert process.start_time(pid) == started
        assert process.kill(pid, started)

    def test_a_detached_child_is_nobodys_descendant(self) -> None:
        code = (
            "import os; from pyro_mcp.host import process; from pyro_mcp.host.process.identity import tree_of\n"
            "with process.start(['sleep', '1000'], detached=True) as child:\n"
            "    print(child.pid, child.start_time, *(each.pid for each in tree_of(os.getpid())))"
        )
        pid, started, *descendants = map(int, run_python(code).text.split())
        assert process.kill(pid, started)
        assert pid not in descendants

    def test_ended_detached_children_do_not_stay_zombies(self) -> None:
        with process.start(["true"], detached=True) as child:
            pass
        wait_until(lambda: process.start_time(child.pid) is None, timeout_s=30, what="its end")
        process.reap_detached()
        assert read_stat(child.pid) is None

    def test_a_wait_in_vain_leaves_the_process_as_it_is(self, sleeper: process.Child) -> None:
        with pytest.raises(PyroError, match=rf"waited 0\.01 s for sleep \(pid {sleeper.pid}\) to end") as caught:
            sleeper.wait(0.01)
        assert caught.value.code is ErrorCode.TIMEOUT
        assert sleeper.poll() is None

    def test_the_exit_status_can_be_asked_for_again_and_again(self) -> None:
        with process.start(["sh", "-c", "exit 7"]) as child:
            assert child.wait(30) == 7
            assert (child.poll(), child.wait(0), child.kill()) == (7, 7, 7)
            child.send_signal(signal.SIGTERM)

    def test_pipes_lead_to_the_child(self) -> None:
        with process.start(["cat"], stdin=process.PIPE, stdout=process.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            os.write(child.stdin, b"hello")
            assert os.read(child.stdout, 10) == b"hello"
            child.close_stdin()
            assert child.wait(30) == 0

    def test_a_status_that_somebody_else_took_is_not_made_up(self) -> None:
        with process.start(["true"]) as child:
            os.waitpid(child.pid, 0)
            assert child.wait(30) == 255
