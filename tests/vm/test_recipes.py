"""The recipes of docs/use-cases, played by a plain MCP client (make smoke-use-cases, and one target for each)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.pyro_cli import pyro_json
from tests.support.recipes.client import play
from tests.support.recipes.use_cases import USE_CASES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recipes.recipe import Recipe

pytestmark = pytest.mark.vm
TIMEOUT_S = 100


@pytest.mark.parametrize("recipe", USE_CASES, ids=lambda recipe: recipe.name)
def test_a_plain_client_completes_the_recipe(recipe: Recipe, tmp_path: Path) -> None:
    checkout = recipe.project(tmp_path / "project")
    try:
        shown = play(recipe, checkout, timeout_s=TIMEOUT_S)
    finally:
        left = pyro_json("workspace", "list")["workspaces"]
        for each in left:
            pyro_json("workspace", "delete", each["workspace_id"])
    recipe.check(shown, checkout)
    # A workspace outlives its server.
    assert [each["state"] for each in left] == ["started"] * recipe.left
