"""Start-up is fast because it loads little: what is on the hot path imports the standard library alone, and not all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.style.source import ROOT

# Loaded by every `pyro run`, `env list` and SDK create.
HOT = (
    "pyro_mcp",
    "pyro_mcp.cli.main",
    "pyro_mcp.errors",
    "pyro_mcp.host.durable",
    "pyro_mcp.host.faults",
    "pyro_mcp.host.locks",
    "pyro_mcp.host.paths",
    "pyro_mcp.host.process",
    "pyro_mcp.host.programs",
    "pyro_mcp.host.progress",
    "pyro_mcp.host.sockets",
    "pyro_mcp.host.waiting",
    "pyro_mcp.image",
    "pyro_mcp.sdk",
)
# Each costs more than it is worth there; most come in by way of something that looks harmless.
HEAVY = frozenset(
    {
        "anyio", "asyncio", "bz2", "concurrent", "email", "http", "logging", "lzma", "mcp", "multiprocessing",
        "pydantic", "random", "rich", "shutil", "tarfile", "tempfile", "typing_extensions", "urllib.request",
        "zipfile", "importlib.metadata", "ssl",
    }
)  # fmt: skip


def loaded_by(module: str) -> set[str]:
    code = (
        f"import sys; before = set(sys.modules); import {module}, json; print(json.dumps([*set(sys.modules) - before]))"
    )
    # -I and -S: neither this machine's site-packages hooks nor PYTHON* variables are the product's.
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {code}"]
    return set(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


@pytest.mark.parametrize("module", HOT)
def test_a_module_of_the_hot_path_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module) & HEAVY == set()


def test_help_loads_no_request() -> None:
    loaded = loaded_by("pyro_mcp.cli.listing")
    assert {name for name in loaded if name.startswith("pyro_mcp.operations.")} == {"pyro_mcp.operations.table"}
    assert not loaded & {"argparse", "dataclasses", "inspect"}


def test_the_check_sees_what_is_loaded_indirectly() -> None:
    assert {"shutil", "bz2"} <= loaded_by("tempfile") & HEAVY
