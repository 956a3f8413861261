"""Shells in a workspace whose commands run on the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent.shells import ShellSignal, ShellState
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.model.ids import new_shell_id
from pyro_mcp.model.kinds import ExecutionMode, Isolation
from pyro_mcp.workspace.lifecycle.lookup import find_workspace
from pyro_mcp.workspace.lifecycle.reset import reset_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.shells.read import read_shell
from pyro_mcp.workspace.shells.shell import (
    MAX_INPUT_BYTES,
    ShellSpec,
    close_shell,
    list_shells,
    open_shell,
    signal_shell,
    write_shell,
)
from tests.support.host_fixture import HostFixture

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

IDLE_MS = 30_000


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    forget_hits()
    monkeypatch.setenv("PYRO_VMM", "none")
    yard = HostFixture(private_paths)
    yield yard
    yard.close()


@pytest.fixture
def ident(host: HostFixture, tmp_path: Path) -> str:
    seed = tmp_path / "seed"
    seed.mkdir()
    return host.workspace(seed, allow_host_compat=True).id


def test_a_shell_lives_from_open_to_close(host: HostFixture, ident: str) -> None:
    opened = open_shell(host.engine, ident, ShellSpec(cols=100, rows=40))
    assert (opened.execution_mode, opened.isolation) == (ExecutionMode.HOST_COMPAT, Isolation.NONE)
    shell = opened.info.shell
    assert [(each.info.shell, each.info.cols) for each in list_shells(host.engine, ident)[1]] == [(shell, 100)]
    info = write_shell(host.engine, ident, shell, "echo he''re; exit 3\n").info
    reading = read_shell(host.engine, ident, shell, cursor=info.end, plain=True, wait_for_idle_ms=IDLE_MS)
    assert "\nhere\n" in reading.part.text
    assert (reading.info.state, reading.info.exit_code) == (ShellState.STOPPED, 3)
    assert close_shell(host.engine, ident, shell).info.exit_code == 3
    assert list_shells(host.engine, ident)[1] == ()


def test_nothing_of_a_shell_is_left_in_the_workspace(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    write_shell(host.engine, ident, shell, "true\nexit\n")
    read_shell(host.engine, ident, shell, wait_for_idle_ms=IDLE_MS)
    close_shell(host.engine, ident, shell)
    assert host.do(find_workspace(host.engine, ident), "ls -A") == ""


def test_reading_changes_nothing_and_writing_does(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    before = find_workspace(host.engine, ident).last_activity_at
    read_shell(host.engine, ident, shell)
    list_shells(host.engine, ident)
    assert find_workspace(host.engine, ident).last_activity_at == before
    write_shell(host.engine, ident, shell, "true\n")
    assert find_workspace(host.engine, ident).last_activity_at > before


def test_a_stopped_workspace_has_no_shells_and_is_not_started_to_see_that(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    stop_workspace(host.engine, ident)
    assert list_shells(host.engine, ident)[1] == ()
    for ask in (
        lambda: read_shell(host.engine, ident, shell),
        lambda: write_shell(host.engine, ident, shell, "x"),
        lambda: signal_shell(host.engine, ident, shell, ShellSignal.INT),
        lambda: close_shell(host.engine, ident, shell),
    ):
        with pytest.raises(PyroError, match="is stopped, and its shells are gone") as caught:
            ask()
        assert caught.value.code is ErrorCode.NOT_FOUND
    assert find_workspace(host.engine, ident).vm_id == ""


def test_a_reset_takes_the_shells(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    reset_workspace(host.engine, ident)
    with pytest.raises(PyroError, match="there is no such shell"):
        read_shell(host.engine, ident, shell)


def test_what_is_not_there_is_said(host: HostFixture, ident: str) -> None:
    with pytest.raises(PyroError, match="there is no such shell") as caught:
        read_shell(host.engine, ident, new_shell_id())
    assert caught.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(PyroError, match="can't open a shell in '/nowhere'"):
        open_shell(host.engine, ident, ShellSpec(cwd="/nowhere"))


def test_input_that_can_not_be_typed_is_refused(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    with pytest.raises(PyroError, match="half of a character"):
        write_shell(host.engine, ident, shell, "\ud800")
    with pytest.raises(PyroError, match="has 262145 bytes"):
        write_shell(host.engine, ident, shell, "x" * (MAX_INPUT_BYTES + 1))
