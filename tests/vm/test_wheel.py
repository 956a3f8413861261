"""The wheel as users install it: in a virtualenv of its own, with the newest dependencies that it allows."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp.host import process
from tests.style.source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Building and installing asks the package index; what is cached takes some ten seconds.
pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
SDK = """
import json, sys
import pyro_mcp
with pyro_mcp.Pyro() as pyro:
    result = pyro.run_in_vm("debian:12", "git --version")
print(json.dumps([pyro_mcp.__file__, pyro_mcp.__version__, result.exit_code, result.stdout]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin directory of a virtualenv that holds the wheel and what it depends on, nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(ROOT)]
    process.run(pip, timeout_s=120)
    wheels = [str(place / name) for name in os.listdir(place) if name.endswith(".whl")]
    venv = place / "venv"
    process.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], timeout_s=120)
    target = [*PIP, "--python", str(venv / "bin" / "python"), "install", "--only-binary=:all:"]
    process.run([*target, *wheels], timeout_s=500)
    return venv / "bin"


def run(*command: str | Path, cwd: Path) -> str:
    return process.run(command, cwd=cwd, timeout_s=100).text


def test_the_command_starts_and_lists_the_environments(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "pyro", "--version", cwd=tmp_path).strip() == f"pyro {version('pyro-mcp')}"
    listed = json.loads(run(installed / "pyro", "env", "list", "--json", cwd=tmp_path))
    assert "debian:12" in {each["name"] for each in listed["environments"]}


def test_the_command_runs_a_guest(installed: Path, tmp_path: Path) -> None:
    ran = run(installed / "pyro", "run", "debian:12", "--", "git", "--version", cwd=tmp_path)
    assert ran.startswith("git version 2.")


def test_the_sdk_runs_a_guest(installed: Path, tmp_path: Path) -> None:
    file, known, exit_code, stdout = json.loads(run(installed / "python", "-c", SDK, cwd=tmp_path))
    assert file.startswith(str(installed.parent)), "it is the checkout that was imported"
    assert (known, exit_code) == (version("pyro-mcp"), 0)
    assert stdout.startswith("git version 2.")


def test_the_mcp_server_lists_its_tools_and_runs_a_guest(installed: Path, tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=str(installed / "pyro"),
        args=["mcp", "serve", "--profile", "vm-run"],
        env=dict(os.environ),
        cwd=tmp_path,
    )
    answers: list[Any] = []

    async def main() -> None:
        with anyio.fail_after(100):
            async with Client(server) as client:
                answers.append([tool.name for tool in (await client.list_tools()).tools])
                answers.append(await client.call_tool("vm_run", {"environment": "debian:12", "command": "echo hello"}))

    anyio.run(main)
    assert answers[0] == ["vm_run"]
    assert answers[1].structured_content["stdout"] == "hello\n"
