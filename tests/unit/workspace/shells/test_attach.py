"""A person at a shell, with a workspace on the host itself: `pyro` is a process of its own, at a real terminal."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent.shells import ShellState
from pyro_mcp.host.faults import forget_hits
from pyro_mcp.host.waiting import wait_until
from pyro_mcp.workspace.commands.logs import logs_workspace
from pyro_mcp.workspace.lifecycle.stop import stop_workspace
from pyro_mcp.workspace.shells.read import read_shell
from pyro_mcp.workspace.shells.shell import ShellSpec, list_shells, open_shell, write_shell
from tests.support.host_fixture import HostFixture
from tests.support.person import DETACH, SEEN_TIMEOUT_S, at_a_terminal
from tests.support.pyro_cli import pyro

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

ATTACH = ("workspace", "shell", "attach")
EXEC = ("workspace", "exec", "-it")


@pytest.fixture
def host(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[HostFixture]:
    forget_hits()
    monkeypatch.setenv("PYRO_VMM", "none")
    monkeypatch.setenv("PS1", "$ ")
    yard = HostFixture(private_paths)
    yield yard
    yard.close()


@pytest.fixture
def ident(host: HostFixture, tmp_path: Path) -> str:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "file").write_text("content\n")
    return host.workspace(seed, allow_host_compat=True).id


def sees(host: HostFixture, ident: str, shell: str, expected: str) -> None:
    """Read the shell's output until it holds a text, however slow the shell is."""
    seen: list[str] = []

    def is_shown() -> bool:
        seen[:] = [read_shell(host.engine, ident, shell, cursor=0, plain=True, wait_for_idle_ms=20).part.text]
        return expected in seen[0]

    wait_until(is_shown, timeout_s=SEEN_TIMEOUT_S, what=f"{expected!r} to be seen", tail=lambda: repr(seen))


def test_a_new_shell_works_like_ones_own_and_its_exit_is_the_commands(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        before = person.modes()
        person.sees("Ctrl-] detaches")
        person.types("stty size; cat file; echo d''one\n")
        person.sees("24 80")
        person.sees("content")
        person.sees("done")
        person.types("exit 7\n")
        assert person.status() == 7
        assert person.modes() == before
        person.sees("has exited with 7")


def test_the_detach_key_lets_go_and_the_shell_goes_on(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec(cols=80, rows=24)).info.shell
    write_shell(host.engine, ident, shell, "X=here; echo re''ady\n")
    sees(host, ident, shell, "ready")
    with at_a_terminal(*ATTACH, ident, shell) as person:
        before = person.modes()
        # What is on the screen already is shown.
        person.sees("ready")
        person.types("echo I am $X\n")
        person.sees("I am here")
        person.types(DETACH)
        assert person.status() == 0
        assert person.modes() == before
        person.sees("[attach] detached")
    write_shell(host.engine, ident, shell, "echo still $X\n")
    sees(host, ident, shell, "still here")


def test_another_key_may_let_go(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident, "--detach-key", "ctrl-a") as person:
        person.sees("Ctrl-a detaches")
        person.types("printf '[%s]\\n' d''one\n")
        person.sees("[done]")
        person.types("\x01")
        assert person.status() == 0


def test_the_size_of_the_terminal_is_the_shells(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident, cols=100, rows=33) as person:
        person.types("stty size\n")
        person.sees("33 100")
        person.types("until stty size | grep '19 71'; do sleep 0.02; done\n")
        person.resizes(71, 19)
        person.sees("\r19 71")
        person.types("exit\n")
        person.status()


def test_ctrl_c_is_for_what_runs_in_the_shell(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        person.types("PS1='%'' '\n")
        person.sees("% ")
        person.types("sh -c 'echo beg\"\"un; sleep 1000'\n")
        person.sees("begun")
        person.types("\x03")
        # A shell may drop what was typed while it handles the interrupt.
        person.sees("% ")
        person.types("echo st''atus $?\n")
        person.sees("status 130")
        person.types("exit\n")
        assert person.status() == 0


def test_any_program_is_run_at_ones_own_terminal(host: HostFixture, ident: str) -> None:
    line = 'stty size; echo "$GREETING"; trap "stty size; exit 7" WINCH; read line; echo "got $line"'
    line += "; while :; do sleep 0.1; done"
    with at_a_terminal(*EXEC, ident, "-e", "GREETING=hello", "--", line, cols=90, rows=20) as person:
        person.sees("20 90")
        person.sees("hello")
        person.types("words\n")
        person.sees("got words")
        person.resizes(70, 15)
        person.sees("15 70")
        assert person.status() == 7
    with at_a_terminal(*EXEC, ident, "--", "no-such-program", "argument") as person:
        assert person.status() == 127
    first, second = logs_workspace(host.engine, ident)
    assert (first.exit_code, first.stdout) == (7, "")
    assert second.exit_code is None
    assert "no-such-program" in second.error
    assert list_shells(host.engine, ident)[1] == ()


def test_a_program_that_one_detaches_from_goes_on_as_a_shell(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*EXEC, ident, "--", "cat") as person:
        person.types("here\n")
        person.sees("here\r\nhere")
        person.types(DETACH)
        assert person.status() == 0
        person.sees("to reattach: pyro workspace shell attach")
    (left,) = list_shells(host.engine, ident)[1]
    assert left.info.state is ShellState.RUNNING
    assert left.info.shell in logs_workspace(host.engine, ident)[-1].error


def test_a_program_ends_with_the_call_that_is_interrupted(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*EXEC, ident, "--", "echo ready; cat") as person:
        person.sees("ready")
        person.is_told(signal.SIGTERM)
        assert person.status() == 130
    assert list_shells(host.engine, ident)[1] == ()


def test_what_programs_switched_on_is_switched_off(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        person.types("printf '\\033[?1049h\\033[?1000h\\033[?25l'; echo o''n\n")
        person.sees("on")
        person.types(DETACH)
        person.status()
        end = person.shown.decode().rpartition("on")[2]
        for undone in ("\x1b[?1049l", "\x1b[?1000l", "\x1b[?25h", "\x1b[?2004l"):
            assert undone in end


def test_output_does_not_reach_beyond_the_screen(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        person.types("printf '\\033]52;c;c3RvbGVu\\007<\\033]0;title\\007>\\033[31mr''ed\\n'\n")
        person.sees("<>\x1b[31mred")
        person.types("exit\n")
        person.status()
        assert b"\x1b]" not in person.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(host: HostFixture, ident: str, number: int) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        before = person.modes()
        person.types("echo re''ady\n")
        person.sees("ready")
        assert person.modes() != before
        person.is_told(number)
        person.status()
        assert person.modes() == before


def test_a_killed_client_takes_nothing_with_it(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    with at_a_terminal(*ATTACH, ident, shell) as person:
        person.types("sh -c 'echo beg\"\"un; cat > typed'\n")
        person.sees("begun")
        person.types("one line\n")
        person.sees("one line")
        person.is_killed()
    write_shell(host.engine, ident, shell, "another\n\x04")
    write_shell(host.engine, ident, shell, "cat typed\n")
    sees(host, ident, shell, "one line\nanother\n")


def test_two_people_at_one_shell_see_the_same(host: HostFixture, ident: str) -> None:
    shell = open_shell(host.engine, ident, ShellSpec()).info.shell
    with at_a_terminal(*ATTACH, ident, shell) as one, at_a_terminal(*ATTACH, ident, shell) as other:
        one.sees("# ")
        other.sees("# ")
        one.types("echo from o''ne\n")
        one.sees("from one")
        other.sees("from one")
        other.types("echo from oth''er\n")
        one.sees("from other")
        other.types("exit 4\n")
        assert (one.status(), other.status()) == (4, 4)


def test_a_workspace_that_is_stopped_says_so_and_gives_the_terminal_back(host: HostFixture, ident: str) -> None:
    with at_a_terminal(*ATTACH, ident) as person:
        before = person.modes()
        person.types("echo re''ady\n")
        person.sees("ready")
        stop_workspace(host.engine, ident)
        assert person.status() != 0
        assert person.modes() == before


def test_without_a_terminal_it_is_refused(host: HostFixture, ident: str) -> None:
    result = pyro(*ATTACH, ident)
    assert result.returncode == 2
    assert b"stdin and stdout must be a terminal" in result.stderr
