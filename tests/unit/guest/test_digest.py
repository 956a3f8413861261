"""The digest that identifies a build of the agent covers all of its sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp.guest.main import agent_digest, source_digest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name in ("guest/main.py", "guest/shells/shell.py", "guest/tasks/area.py", "protocol/wire.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize("name", ["guest/main.py", "guest/shells/shell.py", "guest/tasks/area.py", "protocol/wire.py"])
def test_a_change_in_any_folder_changes_the_digest(package: Path, name: str) -> None:
    before = source_digest(str(package))
    (package / name).write_text("x = 2\n")
    assert source_digest(str(package)) != before


def test_other_files_do_not_count(package: Path) -> None:
    before = source_digest(str(package))
    (package / "guest/main.pyc").write_bytes(b"code")
    assert source_digest(str(package)) == before


def test_an_agent_reports_the_digest_of_its_own_sources() -> None:
    assert agent_digest() == source_digest(str(Path(__file__).parents[3] / "src/pyro_mcp"))
