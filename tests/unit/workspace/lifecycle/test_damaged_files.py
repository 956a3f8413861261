"""No single file of a workspace locks the work in when it is lost, emptied, or has a byte changed (fault 23).

Here on the host itself, where `/workspace` is a directory; `tests/vm/workspace/test_damaged_disks.py` has the disks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.sdk import Pyro
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    monkeypatch.setenv("PYRO_VMM", "none")
    host = HostFixture(private_paths)
    yield host
    host.close()


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [lose, empty, flip])
@pytest.mark.parametrize("is_running", [True, False])
def test_no_file_of_a_workspace_locks_the_work_in(
    host: HostFixture, tmp_path: Path, damage: Callable[[Path], None], *, is_running: bool
) -> None:
    faults: list[str] = []
    with Pyro(paths=host.paths) as pyro:
        workspace = pyro.create_workspace("debian:12", allow_host_compat=True).workspace_id
        pyro.exec_workspace(workspace, command="echo kept > file; seq 100000")
        pyro.create_snapshot(workspace, "one")
        if not is_running:
            pyro.stop_workspace(workspace)
        work = host.paths.workspaces / workspace / "lives" / "1" / "workspace" / "file"
        places = [host.paths.workspaces / workspace, host.paths.vms]
        files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file() and path != work]
        assert {"workspace.json", "life.json"} <= {path.name for path in files}
        for number, path in enumerate(files):
            if not path.is_file():
                continue
            before = path.read_bytes()
            damage(path)
            output = tmp_path / str(number)
            try:
                assert [each.workspace_id for each in pyro.list_workspaces().workspaces] == [workspace]
                pyro.export_workspace(workspace, "/workspace", output_path=output)
                assert (output / "file").read_text() == "kept\n"
                assert pyro.exec_workspace(workspace, command="cat file").stdout == "kept\n"
                assert len(pyro.list_snapshots(workspace).snapshots) == 2
            except Exception as error:  # noqa: BLE001 - any is a fault
                faults.append(f"{path.relative_to(host.paths.state)}: {error!r}")
            if path.parent.exists():
                path.write_bytes(before)
        assert faults == []
