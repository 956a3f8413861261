"""The real Claude Code, Codex and OpenCode, headless, their model scripted, play the recipes.

Run by `make smoke-hosts`, which installs the three pinned releases. Each has a HOME of its own and sees only loopback.
"""

from __future__ import annotations

import json
import os
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from tests.real_hosts.scripted_model import scripted_model
from tests.support.pyro_cli import pyro_json
from tests.support.recipes.recipe import Step
from tests.support.recipes.use_cases import USE_CASES

if TYPE_CHECKING:
    from tests.real_hosts.scripted_model import ScriptedModel
    from tests.support.recipes.recipe import Recipe

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]
PROGRAMS = Path(os.environ["PYRO_TEST_HOSTS"])
OWN = Path(sysconfig.get_path("scripts"))
RUN_S = 400
TURNS = 20
COMMANDS = {
    "codex": ["codex", "exec", "--json", "--skip-git-repo-check", "Go on."],
    "claude-code": ["claude", "-p", "Go on.", "--output-format", "stream-json", "--verbose"],
    "opencode": ["opencode", "run", "--format", "json", "-m", "scripted/scripted", "Go on."],
}


def prepare(home: Path, model: ScriptedModel) -> dict[str, str]:
    """Point each host at the model; return the variables that it needs."""
    (home / ".codex").mkdir(parents=True)
    (home / ".codex" / "config.toml").write_text(
        'model = "scripted"\nmodel_provider = "scripted"\n\n[model_providers.scripted]\nname = "scripted"\n'
        f'base_url = "{model.url}/v1"\nwire_api = "responses"\nenv_key = "SCRIPTED_KEY"\n'
    )
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "scripted",
        "models": {"scripted": {"name": "scripted", "tool_call": True}},
        "options": {"baseURL": f"{model.url}/v1", "apiKey": "none"},
    }
    (home / ".config" / "opencode").mkdir(parents=True)
    config = {"provider": {"scripted": provider}, "autoupdate": False, "share": "disabled"}
    (home / ".config" / "opencode" / "opencode.json").write_text(json.dumps(config))
    return {
        "HOME": str(home),
        "PATH": f"{PROGRAMS}:{OWN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "SCRIPTED_KEY": "none",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        **{name: os.environ[name] for name in os.environ if name.startswith("PYRO_")},
        "PYRO_ENVIRONMENT_CACHE_DIR": os.environ.get(
            "PYRO_ENVIRONMENT_CACHE_DIR", str(Path.home() / ".cache" / "pyro-mcp")
        ),
    }


@pytest.mark.parametrize("recipe", USE_CASES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("host", COMMANDS)
def test_a_connected_host_completes_the_recipe(host: str, recipe: Recipe, tmp_path: Path) -> None:
    checkout = recipe.project(tmp_path / "project")
    with scripted_model(recipe.steps) as model:
        variables = prepare(tmp_path / "home", model)
        connect = [OWN / "pyro", "host", "connect", host, *recipe.options]
        process.run(connect, timeout_s=60, env=variables, cwd=checkout)
        checked = process.run([OWN / "pyro", "host", "doctor", host], timeout_s=60, env=variables, cwd=checkout)
        assert f"{host:<12} ok" in checked.text
        program, *words = COMMANDS[host]
        done = process.run([PROGRAMS / program, *words], timeout_s=RUN_S, check=False, env=variables, cwd=checkout)
        told = done.stderr.decode("utf-8", "replace")[-2000:]
    left = pyro_json("workspace", "list")["workspaces"]
    # They survive the host, and work.
    outcomes = [pyro_json("workspace", "exec", each["workspace_id"], "--", "true")["exit_code"] for each in left]
    for each in left:
        pyro_json("workspace", "delete", each["workspace_id"])
    assert done.returncode == 0, told
    assert len(model.results) == len(recipe.steps), (model.results, told)
    # Ours were there from the first request on.
    assert model.offered[0] or host == "claude-code"
    recipe.check(model.results, checkout)
    assert [each["state"] for each in left] == ["started"] * recipe.left
    assert outcomes == [0] * recipe.left


def test_every_turn_of_codex_has_our_tools_from_its_first_request_on(tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    had: list[bool] = []
    with scripted_model((Step("workspace_list", {}),)) as model:
        variables = prepare(tmp_path / "home", model)
        process.run([OWN / "pyro", "host", "connect", "codex"], timeout_s=60, env=variables, cwd=place)
        program, *words = COMMANDS["codex"]
        for _ in range(TURNS):
            model.offered.clear()
            model.results.clear()
            process.run([PROGRAMS / program, *words], timeout_s=RUN_S, env=variables, cwd=place)
            had.append(model.offered[0] and len(model.results) == 1)
    assert had == [True] * TURNS
