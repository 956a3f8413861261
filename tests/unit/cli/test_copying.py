"""`pyro cp`: which side is which, and copies through stdin and stdout."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from pyro_mcp.cli.main import main
from tests.support.person import at_a_terminal
from tests.support.pyro_cli import pyro


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "b"], "neither path is one in a workspace"),
        (["a:b", "c:d"], "both paths are in workspaces"),
        (["./a:b", "c"], "neither path"),
        (["/x:y/a:b", "c"], "neither path"),
        (["a"], "missing DESTINATION"),
    ],
)
def test_exactly_one_side_is_in_a_workspace(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", *words]) == 2
    assert said in capfd.readouterr().err


def test_trees_and_files_go_through_stdin_and_stdout(on_host: str, tmp_path: Path) -> None:
    packed = io.BytesIO()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("content")
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tmp_path / "sub", "sub")
    assert pyro("cp", "-", "mend:", input=packed.getvalue()).returncode == 0
    assert pyro("cp", "-", f"{on_host}:sub/new", input=b"\xff\0").returncode == 0
    assert pyro("cp", "mend:sub/new", "-").stdout == b"\xff\0"
    with tarfile.open(fileobj=io.BytesIO(pyro("cp", "mend:sub", "-").stdout)) as archive:
        assert {name for name in archive.getnames() if name != "."} == {"file", "new"}
    refused = pyro("cp", "-", "mend:sub/", input=b"no archive")
    assert refused.returncode == 1
    assert pyro("cp", "mend:none", "-").returncode == 1


def test_a_copy_does_not_go_to_a_terminal() -> None:
    with at_a_terminal("cp", "mend:file", "-") as person:
        person.sees("stdout is a terminal")
        assert person.status() == 2
