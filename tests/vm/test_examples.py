"""The examples do what they show."""

from __future__ import annotations

import re
import sys

import pytest

from pyro_mcp.cli.main import main
from pyro_mcp.host import process
from pyro_mcp.hosts.known import CONFIGS
from tests.support.agent_examples import EXAMPLES, WORKSPACE, check_example

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
    "python_certificates.py": [
        "trusted  Company Root",
        "verified /etc/ssl/pyro-certificates.pem: OK",
        "kept     True",
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


# Run by make smoke-examples, since each needs a library that is not installed here.
LIBRARIES = {
    "openai_vm_run.py",
    "openai_workspace.py",
    "openai_agents_sdk.py",
    "langchain_agent.py",
    "pydantic_ai_agent.py",
}
PLAIN_AGENT = "plain_agent.py"


@pytest.mark.vm
@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_should(name: str) -> None:
    done = process.run([sys.executable, EXAMPLES / name], timeout_s=110, check=False)
    assert done.returncode == 0, done.stderr
    for text in PRINTED[name]:
        assert text in done.stdout.decode()


@pytest.mark.vm
def test_an_agent_without_a_library_drives_the_tools() -> None:
    check_example(PLAIN_AGENT, WORKSPACE)


def test_every_example_is_run_and_listed() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {*PRINTED, *LIBRARIES, PLAIN_AGENT}
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\S+)` ", page, re.MULTILINE)
    assert sorted(listed) == sorted([*names, *(f"hosts/{path.name}" for path in (EXAMPLES / "hosts").iterdir())])


def test_an_example_says_how_to_install_what_it_needs() -> None:
    for name in (*LIBRARIES, PLAIN_AGENT):
        assert "\nInstall: pip" in (EXAMPLES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_what_print_config_prints(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["host", "print-config", name, "--installed-package"]) == 0
    (example,) = (EXAMPLES / "hosts").glob(f"{name}.*")
    assert example.read_text(encoding="utf-8") == capfd.readouterr().out
