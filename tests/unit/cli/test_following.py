"""`logs -f`: what is written is shown until it ends, or until it is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp.cli.main import main
from tests.support.person import at_a_terminal
from tests.support.pyro_cli import pyro


def test_commands_are_shown_when_they_have_ended(on_host: str) -> None:
    assert pyro("ws", "exec", "-q", on_host, "--", "echo before-$((1 + 1))").returncode == 0
    with at_a_terminal("ws", "logs", "-f", "mend") as person:
        person.sees("before-2")
        assert pyro("ws", "exec", "-q", on_host, "--", "echo after-$((1 + 1))").returncode == 0
        person.sees("after-2")
        person.types("\x03")
        assert person.status() == 130


def test_a_services_log_is_shown_until_it_has_ended(on_host: str, tmp_path: Path) -> None:
    enough = tmp_path / "enough"
    line = f"for i in 1 2 3; do echo line $i; sleep 0.2; done; until [ -e {enough} ]; do sleep 0.1; done; echo over"
    assert pyro("ws", "service", "start", on_host, "web", "--", line).returncode == 0
    with at_a_terminal("ws", "service", "logs", "-f", "mend", "web", "--tail-lines", "1") as person:
        person.sees("line 3")
        enough.touch()
        person.sees("over")
        assert person.status() == 0


@pytest.mark.parametrize("words", [["--json"], ["--sequence", "2"]])
def test_what_is_one_document_does_not_go_on(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ws", "logs", "w", "-f", *words]) == 2
    captured = capfd.readouterr()
    assert "-f can't be combined with" in captured.out + captured.err
