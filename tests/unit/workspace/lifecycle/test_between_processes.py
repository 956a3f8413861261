"""Several processes at one workspace, interrupted ones, and what commands write (faults 2, 8, 21, 27, 29, 34)."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken, Stream
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.model.ids import new_workspace_id
from pyro_mcp.model.states import WorkspaceState
from pyro_mcp.model.workspace import ReviewKind
from pyro_mcp.state.journal import RECENT_COMMANDS
from pyro_mcp.state.store import this_process
from pyro_mcp.workspace.commands.exec import exec_workspace
from pyro_mcp.workspace.commands.logs import events_workspace, logs_workspace
from pyro_mcp.workspace.commands.output import command_output
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.lookup import find_workspace, list_workspaces, status_workspace, update_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.spec import WorkspaceChange
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.machines.command import CommandStreams, GuestCommand
from pyro_mcp.workspace.vms.delete import delete_vm
from pyro_mcp.workspace.vms.run import exec_vm
from pyro_mcp.workspace.vms.start import start_vm
from pyro_mcp.workspace.vms.status import list_vms, status_vm
from pyro_mcp.workspace.vms.stop import stop_vm
from tests.support.one_verb import INTERRUPTED, Running, Verbs, verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.workspace.engine import Engine
    from tests.support.host_fixture import HostFixture

STOPPED = WorkspaceState.STOPPED
SLEEP = "echo begun; sleep 600"
PATIENCE_S = 60.0


@pytest.fixture
def others(tmp_path: Path, yard: HostFixture) -> Generator[Verbs]:
    list_workspaces(yard.engine)
    with verbs(tmp_path) as others:
        yield others


def begun(running: Running) -> Running:
    wait_until(lambda: "begun" in running.stdout(), timeout_s=PATIENCE_S, what="the command to begin")
    return running


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (delete_workspace, "was deleted meanwhile"),
        (reset_workspace, "was reset meanwhile"),
        (stop_workspace, "was stopped meanwhile"),
    ],
)
def test_a_command_whose_guest_is_taken_away_says_by_what(
    yard: HostFixture, others: Verbs, verb: Callable[[Engine, str], object], said: str
) -> None:
    workspace = yard.workspace()
    running = begun(others.start("ws-exec", workspace.id, SLEEP))
    verb(yard.engine, workspace.id)
    ended = running.wait()
    assert ended.status == 1
    assert said in ended.stderr
    for each in list_workspaces(yard.engine):
        assert yard.do(each, "echo works") == "works\n"
        delete_workspace(yard.engine, each.id)
    assert yard.remains() == []


def test_a_workspace_that_is_being_reset_refuses_commands_at_once(yard: HostFixture) -> None:
    workspace = yard.workspace()
    yard.engine.store.workspaces.update(
        workspace.id, lambda now: replace(now, state=WorkspaceState.RESETTING, owner=this_process())
    )
    with pytest.raises(PyroError, match="is resetting") as caught:
        yard.do(workspace, "true")
    assert caught.value.code is ErrorCode.CONFLICT
    yard.engine.store.workspaces.update(workspace.id, lambda now: replace(now, owner=None))
    # Nobody does it any more.
    assert yard.do(workspace, "echo works") == "works\n"


def test_many_commands_run_at_the_same_time(yard: HostFixture) -> None:
    workspace = yard.workspace()
    barrier = threading.Barrier(6)
    said: list[str] = []

    def run(number: int) -> None:
        barrier.wait()
        said.append(yard.do(workspace, f"echo {number}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"{number}\n" for number in range(6)]
    assert [each.exit_code for each in logs_workspace(yard.engine, workspace.id)] == [0] * 6
    assert status_workspace(yard.engine, workspace.id).command_count == 6


def test_two_processes_start_a_stopped_workspace_once(yard: HostFixture, others: Verbs) -> None:
    workspace = stop_workspace(yard.engine, yard.workspace().id)
    running = [others.start("ws-exec", workspace.id, "echo done") for _ in range(3)]
    assert [each.wait().stdout for each in running] == ["done\n"] * 3
    assert len(yard.engine.store.vms.all()[0]) == 1


def test_a_name_that_several_have_is_no_address(yard: HostFixture, others: Verbs) -> None:
    running = [others.start("ws-named", "same") for _ in range(2)]
    assert [each.wait().status for each in running] == [0, 0]
    newest, oldest = sorted(list_workspaces(yard.engine), key=lambda each: -each.created_at)
    with pytest.raises(
        PyroError, match=f"'same' is the name of several workspaces: {newest.id}, {oldest.id}"
    ) as caught:
        find_workspace(yard.engine, "same")
    assert caught.value.code is ErrorCode.CONFLICT
    assert caught.value.details["workspaces"] == [newest.id, oldest.id]
    update_workspace(yard.engine, newest.id, WorkspaceChange(clear_name=True))
    assert find_workspace(yard.engine, "same").id == oldest.id


def test_two_deletions_at_once_leave_nothing(yard: HostFixture, others: Verbs) -> None:
    workspace = yard.workspace()
    ended = [each.wait() for each in [others.start("ws-delete", workspace.id) for _ in range(2)]]
    assert all(each.status == 0 or "there is no workspace" in each.stderr for each in ended)
    assert 0 in {each.status for each in ended}
    assert yard.remains() == []


def test_an_interrupted_command_ends_and_the_workspace_goes_on(yard: HostFixture, others: Verbs) -> None:
    workspace = yard.workspace()
    running = begun(others.start("ws-exec", workspace.id, SLEEP))
    running.interrupt()
    assert running.wait().status == INTERRUPTED
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert (record.exit_code, record.stdout, record.error) == (None, "begun\n", "the call was interrupted")
    assert yard.do(workspace, "echo works") == "works\n"


def test_a_command_whose_caller_was_killed_is_told_from_one_that_runs(yard: HostFixture, others: Verbs) -> None:
    workspace = yard.workspace()
    running = begun(others.start("ws-exec", workspace.id, SLEEP))
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert (record.exit_code, record.error) == (None, "")
    process.kill(running.pid, running.start_time)
    running.wait()
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert "was killed" in record.error


def test_a_cancelled_command_is_journaled_as_such(yard: HostFixture) -> None:
    workspace = yard.workspace()
    cancel = CancelToken()

    def call_off(_stream: Stream, _data: bytes) -> None:
        cancel.cancel()

    with pytest.raises(PyroError) as caught:
        yard.do(workspace, SLEEP, cancel=cancel, on_output=call_off)
    assert caught.value.code is ErrorCode.CANCELLED
    assert logs_workspace(yard.engine, workspace.id)[0].error == "the operation was cancelled"


def test_a_reset_cut_off_by_an_interrupt_leaves_what_was_there(yard: HostFixture, others: Verbs) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "echo kept > file")
    running = others.start("ws-reset", workspace.id, env={"PYRO_FAULT_POINT": "ws_machine.launched:raise"})
    assert running.wait().status == 1
    now = status_workspace(yard.engine, workspace.id)
    assert (now.state, now.reset_count, now.vm_id) == (WorkspaceState.STARTED, 0, workspace.vm_id)
    assert yard.do(workspace, "cat file") == "kept\n"


def test_long_output_is_kept_in_part_and_lies_whole_beside(yard: HostFixture) -> None:
    workspace = yard.workspace()
    done = exec_workspace(
        yard.engine,
        workspace.id,
        GuestCommand("seq 1 40000; seq 1 3 >&2"),
        CommandStreams(stream_bytes=1000),
    )
    whole = "".join(f"{number}\n" for number in range(1, 40001)).encode()
    assert done.stdout_truncated
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert (record.stdout_bytes, record.stdout_file_bytes, record.stdout_truncated) == (len(whole), len(whole), True)
    assert len(record.stdout) < 70_000
    assert record.stdout.startswith("1\n2\n")
    assert record.stdout.endswith("39999\n40000\n")
    assert command_output(yard.engine, workspace.id, record.seq, Stream.STDOUT) == whole
    assert (record.stderr, record.stderr_file_bytes) == ("1\n2\n3\n", 0)
    with pytest.raises(PyroError, match="lies in a file"):
        command_output(yard.engine, workspace.id, record.seq, Stream.STDERR)


def test_the_journal_shortens_what_is_old(yard: HostFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RECENT_COMMANDS > 100
    monkeypatch.setattr("pyro_mcp.state.journal.RECENT_COMMANDS", 2)
    workspace = yard.workspace()
    for _ in range(4):
        yard.do(workspace, "seq 1 2000")
    lengths = [len(each.stdout) for each in logs_workspace(yard.engine, workspace.id)]
    assert lengths == [1024, 1024, 8893, 8893]


def test_the_journal_tells_what_happened_since_the_last_reset(yard: HostFixture) -> None:
    workspace = yard.workspace()
    yard.do(workspace, "true")
    reset_workspace(yard.engine, workspace.id)
    yard.do(workspace, "false; true")
    stop_workspace(yard.engine, workspace.id)
    kinds = [event.kind for event in events_workspace(yard.engine, workspace.id)]
    assert kinds == [ReviewKind.RESET, ReviewKind.COMMAND, ReviewKind.STOP]
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert record.command == "false; true"


def test_words_that_are_no_text_are_kept_as_they_were(yard: HostFixture) -> None:
    workspace = yard.workspace()
    words = ("printf", "%s|", "a  b", "", "\udcff", "new\nline")
    done = exec_workspace(yard.engine, workspace.id, GuestCommand(words))
    assert done.stdout == "a  b||\ufffd|new\nline|"
    (record,) = logs_workspace(yard.engine, workspace.id)
    assert record.command == words


@pytest.mark.parametrize("verb", [start_vm, stop_vm, delete_vm, status_vm])
def test_the_vm_of_a_workspace_is_not_for_the_verbs_of_vms(
    yard: HostFixture, verb: Callable[[Engine, str], object]
) -> None:
    workspace = yard.workspace()
    assert list_vms(yard.engine) == []
    with pytest.raises(PyroError, match="runs the workspace") as caught:
        verb(yard.engine, workspace.vm_id)
    assert caught.value.code is ErrorCode.CONFLICT
    with pytest.raises(PyroError, match="runs the workspace"):
        exec_vm(yard.engine, workspace.vm_id, GuestCommand("true"))
    assert yard.do(workspace, "echo works") == "works\n"


def test_workspaces_are_found_by_id_name_and_prefix(yard: HostFixture) -> None:
    first, second = yard.workspace(name="first"), yard.workspace(name="second")
    engine = yard.engine
    assert find_workspace(engine, first.id).id == find_workspace(engine, "first").id == first.id
    assert find_workspace(engine, second.id[:12]).id == second.id
    for _ in range(33):
        # Of 33 ids, two begin alike: there are 32 signs.
        yard.engine.store.workspaces.insert(replace(first, id=new_workspace_id(), name=None, vm_id="", state=STOPPED))
    firsts = [each.id[:4] for each in list_workspaces(engine)]
    twice = next(each for each in firsts if firsts.count(each) > 1)
    with pytest.raises(PyroError, match="begins the ids of several workspaces") as caught:
        find_workspace(engine, twice)
    assert caught.value.code is ErrorCode.CONFLICT
    for handle in ("third", "ws_", "", "first\n", "a\0b", "%", "ws_%", "FIRST"):
        with pytest.raises(PyroError, match="there is no workspace") as caught:
            find_workspace(engine, handle)
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_names_and_labels_change_without_touching_what_runs(yard: HostFixture) -> None:
    workspace = yard.workspace(name="before", labels={"a": "1", "b": "2"})
    change = WorkspaceChange(name="after", labels={"c": "3"}, clear_labels=("a",))
    now = update_workspace(yard.engine, "before", change)
    assert (now.name, now.labels, now.vm_id) == ("after", {"b": "2", "c": "3"}, workspace.vm_id)
    with pytest.raises(PyroError, match="has no label 'a'"):
        update_workspace(yard.engine, "after", change)
    assert update_workspace(yard.engine, "after", WorkspaceChange(clear_name=True)).name is None
    for bad in ("", "-x", "a b", "ws_x", "x" * 64, "ünï", "a/b", "a\n"):
        with pytest.raises(PyroError) as caught:
            WorkspaceChange(name=bad)
        assert caught.value.code is ErrorCode.INVALID
    with pytest.raises(PyroError):
        WorkspaceChange(labels={"key": "new\nline"})
