"""What a workspace stands on stays, whatever becomes of its environment, until the workspace is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.operations.environments import ENV_PRUNE, EmptyRequest
from pyro_mcp.operations.runner import Runner
from pyro_mcp.workspace.lifecycle.delete import delete_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from tests.support.tiny_images import install_tiny_images

if TYPE_CHECKING:
    from tests.support.host_fixture import HostFixture


def test_a_prune_leaves_the_image_of_a_stopped_workspace(cold_yard: HostFixture) -> None:
    workspace = stop_workspace(cold_yard.engine, cold_yard.workspace().id)
    assert workspace.base is not None
    install_tiny_images(cold_yard.paths, content=b"the environment was upgraded")
    newer = cold_yard.workspace()
    assert newer.base != workspace.base
    Runner(cold_yard.paths).run(ENV_PRUNE, EmptyRequest())
    assert Path(workspace.base.path).exists()
    assert cold_yard.do(workspace, "echo works") == "works\n"
    assert reset_workspace(cold_yard.engine, workspace.id).base == workspace.base
    for each in (workspace, newer):
        delete_workspace(cold_yard.engine, each.id)
    Runner(cold_yard.paths).run(ENV_PRUNE, EmptyRequest())
    assert not Path(workspace.base.path).exists()
