"""Short names of commands, short options, and the values that people write."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from pyro_mcp.cli import execution, units
from pyro_mcp.cli.commands import expanded
from pyro_mcp.cli.main import main
from pyro_mcp.cli.output.tables import table
from pyro_mcp.cli.quiet import IDS
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.progress import Silent
from pyro_mcp.mcp_server.shaping import results_in
from pyro_mcp.operations.operation import Effect
from pyro_mcp.operations.table import all_operations
from pyro_mcp.operations.workspaces.lifecycle import WorkspaceDeleteResult
from tests.support.fake_runner import exec_result
from tests.support.workspace_results import workspace, workspaces

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.support.fake_runner import FakeRunner

    Install = Callable[[Any], FakeRunner]
Capture = pytest.CaptureFixture[str]
DESTRUCTIVE = [" ".join(row.cli or ()) for row in all_operations() if row.effect is Effect.DESTROY]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ws ls", "workspace list"),
        ("ws rm a b", "workspace delete a b"),
        ("ws snapshot ls a", "workspace snapshot list a"),
        ("ws shell ls", "workspace shell list"),
        ("workspace rm -q", "workspace delete -q"),
        ("images", "env list"),
        ("vm rm x", "vm delete x"),
        ("ws exec a -- ls", "workspace exec a -- ls"),
        ("ws status ls", "workspace status ls"),
        ("run debian:12 -- ws ls", "run debian:12 -- ws ls"),
        ("env rm x", "env rm x"),
        ("ls", "ls"),
        ("", ""),
    ],
)
def test_short_names_stand_for_commands(typed: str, meant: str) -> None:
    assert expanded(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("text", "value"),
    [("30", 30), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86_400), ("0.5", 0.5), ("1m0.25s", 60.25)],
)
def test_a_duration_is_read_as_people_write_it(text: str, value: float) -> None:
    assert units.seconds(text) == value
    assert type(units.seconds(text)) is type(value)


@pytest.mark.parametrize(("text", "value"), [("512", 512), ("512m", 512), ("2g", 2048), ("2GiB", 2048), ("1.5g", 1536)])
def test_a_size_is_read_as_people_write_it(text: str, value: int) -> None:
    assert units.mebibytes(text) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [("--timeout", "5x"), ("--timeout", ""), ("--timeout", "-5"), ("--timeout", "9" * 400), ("--memory", "much")],
)
def test_a_value_that_is_none_is_wrong_usage(option: str, text: str, capfd: Capture) -> None:
    assert main(["run", "debian:12", f"{option}={text}", "--", "true"]) == 2
    assert option in capfd.readouterr().err.splitlines()[0]


def test_short_options_stand_beside_the_long_ones(runner: Install, capfd: Capture) -> None:
    fake = runner(exec_result())
    words = ["run", "debian:12", "--cpus", "2", "--memory", "2g", "--timeout", "5m", "--ttl", "1h", "-q", "--", "true"]
    assert main(words) == 0
    assert capfd.readouterr().err == ""
    request = fake.asked[-1][1]
    assert (request.vcpu_count, request.mem_mib, request.timeout_seconds, request.ttl_seconds) == (2, 2048, 300, 3600)
    assert main(["run", "debian:12", "--timeout", "none", "--", "true"]) == 0
    assert fake.asked[-1][1].timeout_seconds is None
    assert main(["run", "debian:12", "--memory", "2g", "--mem-mib", "512", "--", "true"]) == 2
    assert main(["run", "debian:12", "--ttl", "none", "--", "true"]) == 2


def test_a_time_limit_says_that_it_was_one_and_what_raises_it(runner: Install, capfd: Capture) -> None:
    runner(exec_result(timed_out=True, exit_code=124))
    assert main(["run", "debian:12", "--timeout", "1.5", "--", "sleep", "9"]) == 124
    assert capfd.readouterr().err.splitlines()[-1] == (
        "[run] timed out: it was killed after its time limit of 1.5 s;"
        " --timeout 3s gives it more, --timeout none all it takes"
    )
    assert main(["run", "debian:12", "--network", "-q", "--", "sleep", "9"]) == 124
    assert "its time limit of 120 s" in capfd.readouterr().err


def test_lists_can_show_ids_alone(runner: Install, capfd: Capture) -> None:
    runner(workspaces(workspace(workspace_id="ws_a"), workspace(workspace_id="ws_b", state="stopped")))
    assert main(["ws", "ls", "-q"]) == 0
    assert capfd.readouterr().out == "ws_a\nws_b\n"
    assert main(["ps", "--quiet"]) == 0
    assert capfd.readouterr().out == "ws_a\n"
    assert main(["ps", "--json"]) == 0
    assert [each["workspace_id"] for each in json.loads(capfd.readouterr().out)["workspaces"]] == ["ws_a"]
    runner(workspaces())
    assert main(["ws", "ls", "-q"]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", IDS)
def test_the_ids_are_fields_of_the_results(name: str) -> None:
    items, field = IDS[name]
    result = next(row for row in all_operations() if row.name == name).result
    if items:
        (result,) = results_in(get_type_hints(result)[items])
    assert field in get_type_hints(result)


def test_creates_can_print_the_id_alone(runner: Install, capfd: Capture) -> None:
    runner(workspace(workspace_id="ws_a"))
    assert main(["ws", "create", "debian:12", "-q"]) == 0
    assert capfd.readouterr().out == "ws_a\n"


def deleted_but(lost: str) -> Callable[..., object]:
    def answer(_operation: object, request: Any, _call: object) -> object:
        if request.workspace_id == lost:
            raise PyroError(ErrorCode.NOT_FOUND, f"there is no workspace {lost!r}")
        return WorkspaceDeleteResult(request.workspace_id, deleted=True, reason="explicit_delete")

    return answer


def test_several_workspaces_are_deleted_at_once_whatever_becomes_of_one(runner: Install, capfd: Capture) -> None:
    fake = runner(deleted_but("b"))
    assert main(["ws", "rm", "a", "b", "c", "a"]) == 1
    captured = capfd.readouterr()
    assert captured.out == "deleted a\ndeleted c\n"
    assert captured.err == "error: there is no workspace 'b'\n"
    assert [request.workspace_id for _, request in fake.asked] == ["a", "b", "c"]
    assert main(["ws", "rm", "a", "--json", "b"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["count"] == 2
    assert document["results"][0] == {"workspace_id": "a", "deleted": True, "reason": "explicit_delete"}
    assert document["results"][1]["error"]["code"] == "not_found"
    assert main(["ws", "rm"]) == 2


@pytest.mark.parametrize(
    ("verb", "said"), [("stop", "stopped"), ("start", "started"), ("reset", "reset"), ("update", "updated")]
)
def test_a_change_is_reported_on_one_line(verb: str, said: str, runner: Install, capfd: Capture) -> None:
    runner(workspace(workspace_id="ws_a", name="mend"))
    assert main(["ws", verb, "mend"]) == 0
    assert capfd.readouterr().out == f"{said} ws_a (mend)\n"


@pytest.mark.parametrize("command", DESTRUCTIVE)
def test_no_suggestion_leads_to_a_command_that_destroys(command: str, capfd: Capture) -> None:
    *group, word = command.split(" ")
    for mistyped in (word[:-1], word + word[-1], word[0] + word[2:], word[1:]):
        assert main([*group, mistyped]) == 2
        err = capfd.readouterr().err
        offered = err.partition("Did you mean ")[2].partition("?")[0].split(" or ")
        assert not {" ".join([*group, each]) for each in offered} & set(DESTRUCTIVE), err


def test_a_command_of_workspaces_is_found_without_its_group(capfd: Capture) -> None:
    assert main(["exec", "w", "--", "ls"]) == 2
    assert "Did you mean workspace exec? See: pyro workspace --help" in capfd.readouterr().err
    assert main(["delete", "w"]) == 2
    assert "Did you mean" not in capfd.readouterr().err


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_terminal(_fd: int) -> bool:
        return True

    def its_size(_fd: int) -> os.terminal_size:
        return os.terminal_size((columns, 24))

    monkeypatch.setattr(os, "isatty", is_terminal)
    monkeypatch.setattr(os, "get_terminal_size", its_size)
    monkeypatch.setenv("NO_COLOR", "1")
    text = table(("ID", "NAME", "STATE", "CONTENT"), [("ws_" + "a" * 20, "x", "started", "words " * 30)])
    assert all(len(line) <= columns for line in text.splitlines())
    assert "ws_" + "a" * 20 in text


@pytest.mark.parametrize("words", [["workspace", "delete", "one"], ["workspace", "delete", "one", "two"]])
def test_progress_has_ended_when_a_result_is_printed(
    words: list[str], runner: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    @contextmanager
    def progress_of(_parsed: object) -> Generator[Silent]:
        order.append("progress")
        yield Silent()
        order.append("ended")

    def present(*_given: object) -> int:
        order.append("printed")
        return 0

    runner(WorkspaceDeleteResult("one", deleted=True, reason="explicit_delete"))
    monkeypatch.setattr(execution, "progress_of", progress_of)
    monkeypatch.setattr(execution, "present", present)
    assert main(words) == 0
    assert order == ["progress", "ended", "printed"] * (len(words) - 2)
