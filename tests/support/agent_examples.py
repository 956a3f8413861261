"""Run an example of an agent against a scripted model, whichever library it is made with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from tests.real_hosts.scripted_model import DONE, scripted_model
from tests.support.pyro_cli import pyro_json
from tests.support.recipes.recipe import Step, fact

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KEEP_ID = {"ws": r'workspace_id"?\s?[:=]\s?"?(ws_\w+)'}
ONE_COMMAND = (Step("vm_run", {"command": "git --version"}, shows=(r"git version 2\.", fact("exit_code", 0))),)
NO_SUCH = Step("workspace_exec", {"workspace_id": "nope", "command": "true"}, shows=("there is no workspace 'nope'",))
# Calls fail, and a command: all are results that an agent must get to see.
WORKSPACE = (
    Step("workspace_create", {"environment": "debian:12"}, keep=KEEP_ID, shows=(fact("state", "started"),)),
    Step("workspace_exec", {"workspace_id": "{ws}", "command": "python3 --version"}, shows=(r"Python 3\.",)),
    *[NO_SUCH] * 2,
    Step("workspace_exec", {"workspace_id": "{ws}", "command": "sleep 6; exit 3"}, shows=(fact("exit_code", 3),)),
    Step("workspace_delete", {"workspace_id": "{ws}"}, shows=(fact("deleted", value=True),)),
)


def run_example(
    name: str, steps: Sequence[Step], *arguments: object, python: str = sys.executable, **more: str
) -> tuple[str, list[str]]:
    """Run an example to its end; return what it printed, and what the model was shown."""
    with scripted_model(steps) as model:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_API_KEY": "key",
            "OPENAI_BASE_URL": f"{model.url}/v1",
            "OPENAI_MODEL": "scripted",
            **more,
        }
        words = [python, EXAMPLES / name, *map(str, arguments)]
        done = process.run(words, timeout_s=110, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode()
    assert out.endswith(f"{DONE}\n")
    assert set(model.keys) == {"Bearer key"}
    assert all(step.tool in out for step in steps), out
    return out, model.results


def check_example(name: str, steps: Sequence[Step], *, python: str = sys.executable, **more: str) -> None:
    """Run an example, check the results of all steps, and that no workspace is left."""
    _, shown = run_example(name, steps, python=python, **more)
    assert len(shown) == len(steps), shown
    for step, text in zip(steps, shown, strict=True):
        step.check(text)
    assert pyro_json("workspace", "list")["count"] == 0
