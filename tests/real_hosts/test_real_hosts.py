"""The real Claude Code, Codex and OpenCode, headless, their model scripted: from `pyro host connect` to a reviewed fix.

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
from tests.real_hosts.scripted_model import Step, scripted_model
from tests.support.pyro_cli import pyro_json

if TYPE_CHECKING:
    from tests.real_hosts.scripted_model import ScriptedModel

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]
PROGRAMS = Path(os.environ["PYRO_TEST_HOSTS"])
OWN = Path(sysconfig.get_path("scripts"))
RUN_S = 400
ID = {"id": r"(ws_[a-z0-9]+)"}
FIX = "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"
TEST = {"workspace_id": "{id}", "command": "python3 -m unittest -q", "timeout_seconds": 120}
STEPS = (
    Step("workspace_create", {"environment": "debian:12", "seed_path": "."}, ID),
    Step("workspace_exec", TEST),
    Step("workspace_patch_apply", {"workspace_id": "{id}", "patch": FIX}),
    Step("workspace_exec", TEST),
    Step("workspace_diff", {"workspace_id": "{id}"}),
)
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


def project(place: Path) -> Path:
    """Make a repository whose one test fails."""
    place.mkdir()
    (place / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (place / "test_calc.py").write_text(
        "import unittest\n\nfrom calc import add\n\n\nclass Add(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
    )
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "start"]):
        process.run(["git", *words], timeout_s=60, cwd=place)
    return place


@pytest.mark.parametrize("host", COMMANDS)
def test_a_connected_host_fixes_a_bug_in_a_workspace(host: str, tmp_path: Path) -> None:
    checkout = project(tmp_path / "project")
    with scripted_model(STEPS) as model:
        variables = prepare(tmp_path / "home", model)
        connect = [OWN / "pyro", "host", "connect", host, "--mode", "repro-fix"]
        process.run(connect, timeout_s=60, env=variables, cwd=checkout)
        checked = process.run([OWN / "pyro", "host", "doctor", host], timeout_s=60, env=variables, cwd=checkout)
        assert f"{host:<12} ok" in checked.text
        program, *words = COMMANDS[host]
        done = process.run([PROGRAMS / program, *words], timeout_s=RUN_S, check=False, env=variables, cwd=checkout)
        told = done.stderr.decode("utf-8", "replace")[-2000:]
    assert done.returncode == 0, told
    assert len(model.results) == len(STEPS), (model.results, told)
    # Ours were there from the first request on.
    assert model.offered[0] or host == "claude-code"
    _, failed, _, passed, diff = model.results
    assert "FAILED" in failed
    assert "OK" in passed
    assert "+    return a + b" in diff
    # It survives the host.
    left = pyro_json("workspace", "list")["workspaces"]
    assert [each["state"] for each in left] == ["started"]
    pyro_json("workspace", "delete", left[0]["workspace_id"])
