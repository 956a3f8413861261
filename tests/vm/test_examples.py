"""The examples do what they show."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pyro_mcp.cli.builtins.table import SERVE
from pyro_mcp.cli.parsing import parse
from pyro_mcp.host import process

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRINTED = {
    "python_one_shot.py": ["git version 2.", "42\n", "exit 0 after"],
    "python_lifecycle.py": ["created vm_", "state   started", "network off", "output  Linux 6.", "gone    True"],
    "python_workspace.py": [
        "before   exit 1 FAILED (failures=1)",
        "after    exit 0",
        "\n+    return sum(values) / len(values)\n",
        "- modified `mean.py` +1 -1",
        "bytes: True",
        "reset    1",
        "again    exit 1",
        "deleted  True",
    ],
    "python_review.py": [
        "ignored  ['node_modules/']",
        "missing  [('logo.png', 'binary')]",
        'app.js   console.log("Good morning");',
        r"menu.txt b'caf\xe9\n'",
        r"logo.png b'\x89PNG\x00'",
        "named    node_modules/left-pad/7.js added",
        "deleted  True",
    ],
    "python_seeds.py": [
        "left out ['build', 'notes.txt']",
        "\napp.py\nfirst\n M app.py\n",
        "snapshot installed with the root: True",
        "attempt  1 checked\nattempt  2 checked\n",
        "deleted  True",
    ],
    "python_objects.py": [
        "before  AssertionError: 3.0",
        "after   exit 0",
        "\n+    return sum(values) / len(values)\n",
        "guest   PRETTY_NAME=",
        "reset   True",
    ],
    "python_secrets.py": [
        "secrets  TOKEN (literal)",
        "printed  [REDACTED] [REDACTED]",
        "used     20 characters",
        "noted    echo '[REDACTED]'",
        "kept     [REDACTED]",
        "deleted  True",
    ],
    "python_shell.py": [
        "\nin /workspace/sums at 0.19\n",
        "\nloaded 100%\n",
        "\nnet? \n",
        "\n42.0\n",
        "\ninterrupted: 130\n",
        "closed True",
    ],
    "python_web_app.py": [
        "open     running http://127.0.0.1:",
        "fetched  visit 1 and visit 2",
        '"GET / HTTP/1.1" 200',
        "service  database running",
        "service  web running",
        "stopped  stopped",
        "deleted  True",
    ],
    "mcp_client.py": ["vm_run - ", "\n12."],
}


@pytest.mark.vm
@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.py"))])
def test_an_example_prints_what_it_should(name: str) -> None:
    done = process.run([sys.executable, EXAMPLES / name], timeout_s=110, check=False)
    assert done.returncode == 0, done.stderr
    for text in PRINTED[name]:
        assert text in done.stdout.decode()


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.json"))])
def test_a_configuration_calls_a_server_that_there_is(name: str) -> None:
    entry = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["mcpServers"]["pyro"]
    assert entry["command"] == "pyro"
    assert entry["args"][:2] == ["mcp", "serve"]
    parse(SERVE.shape, entry["args"][2:])
