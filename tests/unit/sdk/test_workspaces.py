"""The methods of `Pyro` about workspaces: what users type becomes the request that was meant."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import AsyncPyro, ProgressEvent, Pyro
from pyro_mcp.errors import PyroError
from pyro_mcp.operations.operation import Call
from tests.support.fake_runner import FakeRunner
from tests.support.workspace_results import WORKSPACE_ID, workspace


@pytest.fixture
def pyro() -> Pyro:
    def answer(*_: object) -> object:
        return workspace()

    return Pyro(runner=FakeRunner(answer))


def asked(pyro: Pyro) -> Any:
    assert isinstance(pyro.runner, FakeRunner)
    return pyro.runner.asked[-1]


def test_paths_sequences_and_mappings_of_any_kind_are_taken(pyro: Pyro) -> None:
    created = pyro.create_workspace(
        "debian:12", seed_path=Path("/src"), labels={"a": "1"}, secrets=[{"name": "A", "value": "secret"}]
    )
    assert created.workspace_id == WORKSPACE_ID
    request = asked(pyro)[1]
    assert (request.seed_path, request.labels) == ("/src", {"a": "1"})
    assert request.secrets == ({"name": "A", "value": "secret"},)
    pyro.update_workspace("w", clear_labels=["a", "b"])
    assert asked(pyro)[1].clear_labels == ("a", "b")
    pyro.update_workspace("w", clear_labels="task")
    assert asked(pyro)[1].clear_labels == ("task",)
    pyro.exec_workspace("w", command=["a", "b c"])
    assert asked(pyro)[1].command == ("a", "b c")
    pyro.export_workspace("w", "x", output_path=Path("out"))
    assert asked(pyro)[1].output_path == "out"


@pytest.mark.parametrize(
    ("method", "arguments", "operation"),
    [
        ("list_workspaces", {}, "workspace_list"),
        ("status_workspace", {"workspace_id": "w"}, "workspace_status"),
        ("stop_workspace", {"workspace_id": "w"}, "workspace_stop"),
        ("start_workspace", {"workspace_id": "w"}, "workspace_start"),
        ("delete_workspace", {"workspace_id": "w"}, "workspace_delete"),
        ("logs_workspace", {"workspace_id": "w", "sequence": 2}, "workspace_logs"),
        ("push_workspace_sync", {"workspace_id": "w", "source_path": "/src"}, "workspace_sync_push"),
        ("list_workspace_files", {"workspace_id": "w"}, "workspace_file_list"),
        ("read_workspace_file", {"workspace_id": "w", "path": "x"}, "workspace_file_read"),
        ("write_workspace_file", {"workspace_id": "w", "path": "x", "text": ""}, "workspace_file_write"),
        ("apply_workspace_patch", {"workspace_id": "w", "patch": "p"}, "workspace_patch_apply"),
        ("diff_workspace", {"workspace_id": "w"}, "workspace_diff"),
        ("summarize_workspace", {"workspace_id": "w"}, "workspace_summary"),
        ("create_snapshot", {"workspace_id": "w", "snapshot_name": "s"}, "snapshot_create"),
        ("list_snapshots", {"workspace_id": "w"}, "snapshot_list"),
        ("delete_snapshot", {"workspace_id": "w", "snapshot_name": "s"}, "snapshot_delete"),
        ("reset_workspace", {"workspace_id": "w"}, "workspace_reset"),
        ("export_workspace_disk", {"workspace_id": "w", "output_path": "o"}, "workspace_disk_export"),
        ("list_workspace_disk", {"workspace_id": "w"}, "workspace_disk_list"),
        ("read_workspace_disk", {"workspace_id": "w", "path": "/etc/hosts"}, "workspace_disk_read"),
    ],
)
def test_a_method_asks_for_its_operation(pyro: Pyro, method: str, arguments: dict[str, Any], operation: str) -> None:
    getattr(pyro, method)(**arguments)
    name, request = asked(pyro)
    assert name == operation
    assert all(getattr(request, key) == value for key, value in arguments.items())


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("create_workspace", {"environment": "debian:12", "network_policy": "all"}, "network_policy is 'all'"),
        ("create_workspace", {"environment": "debian:12", "labels": {"a": 1}}, "labels is"),
        ("create_workspace", {"environment": "debian:12", "name": 7}, "name is 7"),
        ("status_workspace", {"workspace_id": "a b"}, "workspace_id is 'a b'"),
        ("exec_workspace", {"workspace_id": "w", "command": ""}, "command is empty"),
        ("read_workspace_file", {"workspace_id": "w", "path": "x", "max_bytes": 0}, "max_bytes is 0"),
        ("write_workspace_file", {"workspace_id": "w", "path": "x", "text": "x" * 1_048_577}, "text has 1048577"),
        ("update_workspace", {"workspace_id": "w", "clear_labels": ["x" * 64]}, "clear_labels has an item that has 64"),
    ],
)
def test_what_is_out_of_bounds_is_refused_before_anything_is_done(
    pyro: Pyro, method: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(PyroError) as caught:
        getattr(pyro, method)(**arguments)
    assert message in caught.value.message
    assert caught.value.hint


def test_an_object_asks_for_what_its_methods_are_given(pyro: Pyro) -> None:
    made = pyro.workspace("debian:12", seed_path=Path("/src"), name="app")
    assert (asked(pyro)[0], asked(pyro)[1].seed_path, asked(pyro)[1].name) == ("workspace_create", "/src", "app")
    made.exec(["a", "b"], cwd="src", user="user", env={"A": "b"}, timeout_seconds=None, keep="tail", merge_stderr=True)
    request = asked(pyro)[1]
    assert (request.workspace_id, request.command, request.cwd, request.user) == (
        WORKSPACE_ID,
        ("a", "b"),
        "src",
        "user",
    )
    assert (request.env, request.timeout_seconds, request.keep, request.merge_stderr) == (
        {"A": "b"},
        None,
        "tail",
        True,
    )
    made.diff(path="src")
    assert (asked(pyro)[0], asked(pyro)[1].workspace_id, asked(pyro)[1].path) == ("workspace_diff", WORKSPACE_ID, "src")
    with made:
        made.patch("p")
    assert asked(pyro)[0] == "workspace_delete"
    with pyro.workspace(id="app") as same:
        assert same.id == WORKSPACE_ID
    assert asked(pyro)[0] == "workspace_status"
    with pytest.raises(PyroError, match="can't be given for an existing workspace"):
        pyro.workspace(id="app", name="other")


def test_what_may_be_awaited_is_the_same(pyro: Pyro) -> None:
    async def main() -> None:
        async with AsyncPyro() as waiting:
            waiting.sync.runner = pyro.runner
            async with waiting.workspace("debian:12", keep=True) as made:
                await made.exec("ls", cwd="src")
                assert (asked(pyro)[1].command, asked(pyro)[1].cwd) == ("ls", "src")
            assert (await waiting.status_workspace("app")).workspace_id == WORKSPACE_ID

    asyncio.run(main())


def test_progress_may_be_told_to_a_callable() -> None:
    seen: list[ProgressEvent] = []

    def answer(operation: object, request: object, call: Call) -> object:
        del operation, request
        call.progress.phase("seed", "reading")
        call.progress.advance(0.5, "half")
        return workspace()

    Pyro(runner=FakeRunner(answer), progress=seen.append).status_workspace("app")
    assert seen == [("seed", "reading", None), ("seed", "half", 0.5)]
