"""The methods of `Pyro` about workspaces: what users type becomes the request that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import PyroError
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
