"""The pages that walk through something do what they show, in real guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp import Pyro
from tests.style.source import ROOT
from tests.support.documents import SHELL, Command, allows, blocks, pages, run
from tests.support.host_fixture import HostFixture
from tests.support.sample_repo import make_repo

pytestmark = pytest.mark.vm

WALKS = [
    "README.md",
    "docs/cli.md",
    "docs/first-run.md",
    "docs/integrations.md",
    "docs/workspaces.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").glob("use-cases/*.md"))),
]


def commands_of(page: str) -> list[Command]:
    found = [block for block in blocks(ROOT / page) if block.language in SHELL | {"python"} and not block.not_run]
    return [command for block in found for command in block.commands]


# Some show only what a test does not do.
PAGES = [page for page in WALKS if commands_of(page)]


def test_pages_are_found() -> None:
    assert len(PAGES) > 8


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    found = [block for page in pages() for block in blocks(page) if block.language in SHELL]
    assert {block.page for block in found if not block.not_run} <= set(WALKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).name)
def test_a_page_shows_what_happens(page: str, guests: HostFixture, tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "stats"
    home.mkdir()
    make_repo(project)
    commands = commands_of(page)
    done = run(commands, cwd=project, home=home)
    assert len(done) == len(commands)
    for command, (status, printed) in zip(commands, done, strict=True):
        assert allows(command.output, printed, status), f"$ {command.line}\n{printed}\n[exit status {status}]"
    # What a page makes, it deletes.
    assert Pyro().list_workspaces().count == 0
