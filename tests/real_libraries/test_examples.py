"""The examples that need another library, with that library from the package index (make smoke-examples)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.agent_examples import EXAMPLES, ONE_COMMAND, WORKSPACE, check_example, run_example
from tests.support.pyro_cli import pyro_json
from tests.support.recipes.use_cases import USE_CASES

if TYPE_CHECKING:
    from tests.support.recipes.recipe import Step

pytestmark = pytest.mark.vm
PLACE = Path(os.environ["PYRO_TEST_LIBRARIES"])
# Those that import pyro_mcp, and those whose library needs an older mcp package than pyro_mcp.
OPENAI, MCP = str(PLACE / "openai/bin/python"), str(PLACE / "mcp/bin/python")
SOURCE = str(EXAMPLES.parent / "src")
CASES = {
    "openai_vm_run.py": (OPENAI, ONE_COMMAND),
    "openai_agents_sdk.py": (OPENAI, WORKSPACE),
    "langchain_agent.py": (MCP, WORKSPACE),
    "pydantic_ai_agent.py": (MCP, WORKSPACE),
}


@pytest.mark.parametrize("name", CASES)
def test_a_library_drives_the_tools(name: str) -> None:
    python, steps = CASES[name]
    more = {"PYTHONPATH": SOURCE} if python == OPENAI else {}
    check_example(name, steps, python=python, **more)


def test_a_bug_is_fixed_in_a_workspace_that_starts_from_the_project(tmp_path: Path) -> None:
    recipe = next(each for each in USE_CASES if each.name == "repro-fix")
    steps: tuple[Step, ...] = recipe.steps
    checkout = recipe.project(tmp_path / "project")
    try:
        out, shown = run_example("openai_workspace.py", steps, checkout, python=OPENAI, PYTHONPATH=SOURCE)
    finally:
        for each in pyro_json("workspace", "list")["workspaces"]:
            pyro_json("workspace", "delete", each["workspace_id"])
    recipe.check(shown, checkout)
    assert "\n+++ b/" in out


def test_every_example_with_a_library_is_run() -> None:
    from tests.vm.test_examples import LIBRARIES

    assert {*CASES, "openai_workspace.py"} == LIBRARIES
