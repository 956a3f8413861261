"""The options that hands know, on every command that has them, in text and as JSON, with one real guest."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.person import at_a_terminal
from tests.support.pyro_cli import pyro, starting_pyro

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.vm
ENVIRONMENT = "debian:12"
TELL = 'echo "$COLOUR $SIZE $PWD $(id -un)"'
TOLD = "deep blue 7 /tmp user\n"
COLUMNS = 60
LISTS = (
    "ws ls", "ps", "ws top WS", "images", "env list", "ws snapshot ls WS", "ws shell ls WS", "ws service ls WS",
    "vm ls", "ws logs WS", "ws file ls WS", "ws diff --stat WS", "ws diff --name-only WS",
)  # fmt: skip


@pytest.fixture(scope="module")
def ident() -> Generator[str]:
    """Create a workspace with one of everything, so that all lists have rows."""
    made = output("ws", "create", ENVIRONMENT, "--name", "one-with-a-name-that-is-long", "-q").strip()
    output("ws", "exec", "-q", made, "--", "seq 9 > a-file-of-the-workspace; true")
    output("ws", "shell", "open", made, "-q")
    output("ws", "service", "start", made, "a-service", "--", "echo begun; exec sleep 600")
    output("ws", "snapshot", "create", made, "kept")
    yield made
    output("ws", "snapshot", "delete", made, "kept")
    output("ws", "rm", made)


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "variables").write_text("SIZE=7\n# none\n")
    return "-e", "COLOUR=deep blue", "--env-file", str(tmp_path / "variables"), "-w", "/tmp", "-u", "user"


def output(*words: str) -> str:
    """Return what a command that works prints on stdout."""
    done = pyro(*words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_vm_takes_variables_a_directory_and_a_user(options: tuple[str, ...]) -> None:
    quick = ("--timeout", "2m", "--memory", "0.5g", "--cpus", "1")
    assert output("run", ENVIRONMENT, "--quiet", *quick, *options, "--", TELL) == TOLD
    assert json.loads(output("run", ENVIRONMENT, "--json", *options, "--", TELL))["stdout"] == TOLD


def test_a_workspace_takes_them_for_commands_shells_and_services(options: tuple[str, ...]) -> None:
    # A workspace of its own, with which the records of the services go.
    ident = output("ws", "create", ENVIRONMENT, "-q").strip()
    assert output("ws", "exec", ident, *options, "--", TELL) == TOLD
    assert json.loads(output("ws", "exec", ident, "--json", *options, "--", TELL))["stdout"] == TOLD
    shell = output("ws", "shell", "open", ident, "-q", *options).strip()
    output("ws", "shell", "write", ident, shell, "--input", TELL)
    assert TOLD in output("ws", "shell", "read", ident, shell, "--plain", "--wait-for-idle-ms", "500")
    line = f"{TELL}; until [ -e go-on ]; do sleep 0.1; done; echo last"
    output("ws", "service", "start", ident, "told", *options, "--", line)
    with starting_pyro("ws", "service", "logs", "-f", ident, "told") as child:
        output("ws", "exec", "-q", ident, "--", "touch /tmp/go-on")
        assert child.stdout is not None
        shown = b""
        while data := os.read(child.stdout, 65536):
            shown += data
        assert child.wait(30) == 0
    assert shown.decode() == f"{TOLD}last\n"
    assert json.loads(output("ws", "service", "logs", ident, "told", "--json"))["stdout"] == f"{TOLD}last\n"
    output("ws", "rm", ident)


@pytest.mark.parametrize("words", LISTS)
def test_a_list_fits_sixty_columns_and_is_a_document_too(ident: str, words: str) -> None:
    filled = [ident if word == "WS" else word for word in words.split()]
    with at_a_terminal(*filled, cols=COLUMNS, rows=50) as person:
        assert person.status() == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", person.shown.decode())
    long = [line for line in shown.splitlines() if len(line) > COLUMNS]
    assert not long or "file ls" in words or "logs" in words or "diff" in words, long
    assert "Traceback" not in shown
    plain = [word for word in filled if word not in {"--stat", "--name-only"}]
    assert isinstance(json.loads(output(*plain, "--json")), dict)


@pytest.mark.parametrize("words", ["ws ls", "ps", "ws top WS", "images", "ws shell ls WS", "ws service ls WS", "stats"])
def test_a_list_shows_ids_alone(ident: str, words: str) -> None:
    ids = output(*(ident if word == "WS" else word for word in words.split()), "-q").split("\n")[:-1]
    assert ids
    assert all(" " not in each for each in ids)
