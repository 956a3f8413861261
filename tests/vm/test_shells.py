"""Shells as users have them: real guests, real programs, from Python, the command line and over MCP."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.programs import find_program
from pyro_mcp.host.waiting import wait_until
from tests.support.person import DETACH, at_a_terminal
from tests.support.pyro_cli import pyro, pyro_json

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.vm

ENVIRONMENT = "debian:12"
SEEN_TIMEOUT_S = 30.0


class Desk:
    """A shell in a workspace, and somebody who types and reads."""

    def __init__(self, pyro: Pyro, workspace_id: str) -> None:
        self.pyro = pyro
        self.workspace_id = workspace_id
        self.shell_id = pyro.open_shell(workspace_id, cols=80, rows=24).shell_id
        self.read()

    def read(self, cursor: int = 0, idle_ms: int = 300) -> str:
        return self.pyro.read_shell(
            self.workspace_id, self.shell_id, cursor=cursor, plain=True, wait_for_idle_ms=idle_ms
        ).output

    def does(self, text: str, expected: str, *, newline: bool = True) -> str:
        """Type, and read until something is to be seen."""
        cursor = self.pyro.write_shell(self.workspace_id, self.shell_id, input=text, append_newline=newline).cursor
        return self.sees(expected, cursor)

    def sees(self, expected: str, cursor: int = 0) -> str:
        """Read until something is to be seen."""
        seen: list[str] = []

        def is_there() -> bool:
            seen[:] = [self.read(cursor)]
            return expected in seen[0]

        wait_until(is_there, timeout_s=SEEN_TIMEOUT_S, what=f"{expected!r} to be seen", tail=lambda: repr(seen))
        return seen[0]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tree with this host's vim in it, and what that needs: a guest without a network can't install one."""
    seed = tmp_path_factory.mktemp("seed")
    (seed / "poem").write_text("roses are red\nviolets are blue\n")
    vim = find_program("vim")
    (seed / ".vim").mkdir()
    shutil.copy(os.path.realpath(vim), seed / ".vim" / "vim")
    for line in process.run(["ldd", vim], timeout_s=30).stdout.decode().splitlines():
        path = Path(line.partition("=>")[2].split()[0] if "=>" in line else "")
        if path.is_absolute() and path.name != "libc.so.6":
            shutil.copy(path, seed / ".vim")
    return seed


@pytest.fixture(scope="module")
def ident(seed: Path) -> Generator[str]:
    """Create one workspace for all tests of this module; each leaves no shell in it."""
    with Pyro() as pyro:
        ident = pyro.create_workspace(ENVIRONMENT, seed_path=seed).workspace_id
        yield ident
        pyro.delete_workspace(ident)


@pytest.fixture(autouse=True)
def leaves_no_shell(ident: str) -> Generator[None]:
    yield
    with Pyro() as pyro:
        for each in pyro.list_shells(ident).shells:
            pyro.close_shell(ident, each.shell_id)


@pytest.fixture
def desk(ident: str) -> Generator[Desk]:
    with Pyro() as pyro:
        yield Desk(pyro, ident)


def test_a_file_is_edited_with_vim(desk: Desk) -> None:
    desk.does("LD_LIBRARY_PATH=.vim .vim/vim -u NONE poem", "violets are blue\n~")
    desk.does("Goand so are you\x1b", "violets are blue\nand so are you", newline=False)
    assert desk.does(":wq", "/workspace# ").rstrip().endswith("/workspace#")
    assert "violets are blue\nand so are you\n" in desk.does("cat poem", "and so are you\n")


def test_less_shows_pages_and_leaves_the_shell_as_it_was(desk: Desk) -> None:
    first = desk.does("seq 200 | less", ":")
    assert first.splitlines()[0] == "1"
    assert desk.does(" ", "46", newline=False).splitlines()[0] == "24"
    assert desk.does("/150\n", "172", newline=False).splitlines()[0] == "150"
    assert desk.does("q", "/workspace# ", newline=False).strip().endswith("/workspace#")


def test_top_is_a_readable_table(desk: Desk) -> None:
    assert "PID USER" in desk.does("top", "COMMAND")
    desk.does("q", "/workspace# ", newline=False)


def test_a_progress_bar_is_one_line(desk: Desk) -> None:
    seen = desk.does("for i in 10 50 100; do printf '\\rat %d%%' $i; sleep 0.1; done; echo; echo do''ne", "\ndone\n")
    assert "\nat 100%\ndone\n" in seen


def test_enter_is_the_key_and_not_a_line_feed(desk: Desk) -> None:
    cursor = desk.pyro.write_shell(
        desk.workspace_id, desk.shell_id, input="stty raw -echo; echo re''ady; head -c 4 | od -An -tx1; stty sane"
    ).cursor
    desk.sees("ready", cursor)
    desk.pyro.write_shell(desk.workspace_id, desk.shell_id, input="A")
    desk.does("B\n", "41 0d 42 0d", newline=False)


def test_several_lines_are_pasted_where_a_program_supports_it(desk: Desk) -> None:
    # Typed, the second line would be what `read` reads.
    assert "[]" in desk.does('read -t 1 x\necho "[$x]"', "[]")
    # Without readline nobody has asked for it: the lines are typed one by one.
    desk.does("exec bash --noediting", "/workspace# ")
    desk.does("read x\nwas typed", "/workspace# ")
    desk.does('echo "<$x>"', "<was typed>")


def test_waiting_for_a_pause_begins_with_the_first_prompt(desk: Desk) -> None:
    with Pyro() as pyro:
        shell = pyro.open_shell(desk.workspace_id).shell_id
        pyro.write_shell(desk.workspace_id, shell, input="echo $((40 + 2))")
        seen = pyro.read_shell(desk.workspace_id, shell, plain=True, wait_for_idle_ms=300).output
    assert "/workspace# " in seen


def test_state_stays_between_calls_and_python_can_be_talked_to(desk: Desk) -> None:
    desk.does("cd /tmp; X=日本", "/tmp# ")
    assert "日本 /tmp\n" in desk.does("echo $X $PWD", "日本 /tmp\n")
    desk.does("python3", ">>> ")
    assert "日本日本\n>>> " in desk.does("print('日本' * 2)", "日本日本\n")
    desk.does("exit()", "/tmp# ")


def test_raw_output_by_cursor_is_always_the_same(desk: Desk) -> None:
    desk.does("seq 3000", "\n3000\n")
    whole = desk.pyro.read_shell(desk.workspace_id, desk.shell_id, max_chars=262_144).output
    parts: list[str] = []
    cursor = 0
    while True:
        reading = desk.pyro.read_shell(desk.workspace_id, desk.shell_id, cursor=cursor, max_chars=1000)
        parts.append(reading.output)
        cursor = reading.next_cursor
        if not reading.truncated:
            break
    assert "".join(parts) == whole


def test_a_stop_ends_shells_and_says_so(seed: Path) -> None:
    with Pyro() as pyro:
        ident = pyro.create_workspace(ENVIRONMENT).workspace_id
        try:
            shell = pyro.open_shell(ident).shell_id
            pyro.stop_workspace(ident)
            with pytest.raises(PyroError, match="its shells are gone") as caught:
                pyro.read_shell(ident, shell)
            assert caught.value.code is ErrorCode.NOT_FOUND
            # Opening one starts the workspace.
            other = pyro.open_shell(ident).shell_id
            with pytest.raises(PyroError, match="there is no such shell"):
                pyro.write_shell(ident, shell, input="x")
            pyro.reset_workspace(ident)
            with pytest.raises(PyroError, match="there is no such shell"):
                pyro.read_shell(ident, other)
        finally:
            pyro.delete_workspace(ident)


def test_the_command_line_opens_writes_reads_signals_and_closes(ident: str) -> None:
    opened = pyro("workspace", "shell", "open", ident, "--cwd", "/tmp", "--id-only")
    shell = opened.stdout.decode().strip()
    pyro("workspace", "shell", "read", ident, shell, "--wait-for-idle-ms", "50")
    assert pyro("workspace", "shell", "signal", ident, shell).returncode == 0
    written = pyro_json("workspace", "shell", "write", ident, shell, "--input", "echo $PWD")
    read = pyro(
        "workspace", "shell", "read", ident, shell, "--plain", "--wait-for-idle-ms", "500", "--cursor",
        str(written["cursor"]),
    )  # fmt: skip
    assert b"\n/tmp\n" in read.stdout
    assert b"\x1b" not in read.stdout
    assert b"state=running" in read.stderr
    assert pyro_json("workspace", "shell", "close", ident, shell)["closed"]
    assert pyro("workspace", "shell", "read", ident, shell).returncode == 1


def test_a_person_attaches_edits_and_comes_back(ident: str) -> None:
    with at_a_terminal("workspace", "shell", "attach", ident, cols=100, rows=30) as person:
        person.sees("shell_id=")
        person.types("less poem\n")
        person.sees("roses are red")
        person.types(DETACH)
        assert person.status() == 0
        shell = person.shown.decode().partition("shell_id=")[2].partition(";")[0]
        # The terminal is not left on the screen of a program that goes on elsewhere.
        assert b"\x1b[?1049l" in person.shown.rpartition(b"roses")[2]
    with at_a_terminal("workspace", "shell", "attach", ident, shell, cols=60, rows=20) as person:
        # What is there already; then it is drawn anew for the smaller terminal.
        person.sees("roses are red")
        person.sees("roses are red")
        person.sees("(END)")
        person.types("q")
        person.sees("/workspace# ")
        person.types("stty size; exit 3\n")
        person.sees("20 60")
        assert person.status() == 3


def test_any_program_is_run_at_ones_own_terminal(ident: str) -> None:
    words = ("workspace", "exec", "-it", ident, "-e", "GREETING=hello", "-w", "/tmp", "-u", "user", "--")
    line = 'stty size; echo "$GREETING $PWD $(id -un)"; trap "stty size; exit 7" WINCH; read line; echo "got $line"'
    line += "; while :; do sleep 0.1; done"
    with at_a_terminal(*words, line, cols=90, rows=20) as person:
        person.sees("20 90")
        person.sees("hello /tmp user")
        person.types("words\n")
        person.sees("got words")
        person.resizes(70, 15)
        person.sees("15 70")
        assert person.status() == 7
    with at_a_terminal("ws", "exec", "-it", ident, "--", "cat", cols=80, rows=24) as person:
        person.types("typed\n")
        person.sees("typed\r\ntyped")
        person.types("\x03")
        assert person.status() == 130
    with Pyro() as pyro:
        first, second = pyro.logs_workspace(ident).entries[-2:]
        assert (first.exit_code, second.exit_code, second.stdout) == (7, 130, "")
        assert "hello" not in str(first.values())
        assert pyro.list_shells(ident).count == 0


def test_a_program_that_one_detaches_from_goes_on_as_a_shell(ident: str) -> None:
    with at_a_terminal("workspace", "exec", "-it", ident, "--", "cat", cols=80, rows=24) as person:
        person.types("here\n")
        person.sees("here")
        person.types(DETACH)
        assert person.status() == 0
        person.sees("to reattach: pyro workspace shell attach")
    with Pyro() as pyro:
        (left,) = pyro.list_shells(ident).shells
        assert left.state == "running"
        assert (
            f"detached: it keeps running in the shell {left.shell_id}" in pyro.logs_workspace(ident).entries[-1].error
        )


def test_a_program_that_is_missing_is_status_127(ident: str) -> None:
    with at_a_terminal("workspace", "exec", "-it", ident, "--", "no-such-program", cols=80, rows=24) as person:
        assert person.status() == 127
    refused = pyro("workspace", "exec", "-it", ident, "--", "true")
    assert refused.returncode == 2
    assert b"stdin and stdout must be a terminal" in refused.stderr


def test_a_killed_client_leaves_the_shell_at_work(desk: Desk) -> None:
    with at_a_terminal("workspace", "shell", "attach", desk.workspace_id, desk.shell_id) as person:
        person.types('sh -c \'echo beg""un; sleep 2; echo fini""shed > result\'\n')
        person.sees("begun")
        person.is_killed()
    desk.sees("begun\nroot@")
    assert "finished\n" in desk.does("cat result", "finished\n")


def test_a_workload_that_kills_everything_takes_its_shells_and_no_more(desk: Desk) -> None:
    desk.pyro.exec_workspace(desk.workspace_id, command="kill -9 -1")
    reading = desk.pyro.read_shell(desk.workspace_id, desk.shell_id, wait_for_idle_ms=30_000)
    assert (reading.state, reading.exit_code) == ("stopped", 137)
    assert [each.state for each in desk.pyro.list_shells(desk.workspace_id).shells] == ["stopped"]
    other = Desk(desk.pyro, desk.workspace_id)
    other.does("echo he''re", "here\n")


def test_a_secret_is_redacted_however_it_is_read() -> None:
    value = "correct-horse-battery"
    with Pyro() as pyro:
        ident = pyro.create_workspace(ENVIRONMENT, secrets=[{"name": "TOKEN", "value": value}]).workspace_id
        try:
            shell = pyro.open_shell(ident, secret_env={"TOKEN": "T"}).shell_id
            pyro.read_shell(ident, shell, wait_for_idle_ms=300)
            typed = "echo ${#T} $T; printf '\\033[1m%s\\033[0m\\n' $T; echo do''ne"
            start = pyro.write_shell(ident, shell, input=typed).cursor
            wait_until(
                lambda: "\ndone" in pyro.read_shell(ident, shell, cursor=start, plain=True, wait_for_idle_ms=50).output,
                timeout_s=SEEN_TIMEOUT_S,
                what="both values to be printed",
            )
            whole = pyro.read_shell(ident, shell, cursor=start)
            assert "21 [REDACTED]" in whole.output
            assert "\x1b[1m[REDACTED]\x1b[0m" in whole.output
            plain = pyro.read_shell(ident, shell, cursor=start, plain=True).output
            assert "\n21 [REDACTED]\n[REDACTED]\n" in plain
            texts: list[str] = []
            cursor = start
            while cursor < whole.next_cursor:
                reading = pyro.read_shell(ident, shell, cursor=cursor, max_chars=3)
                texts.append(reading.output)
                cursor = reading.next_cursor
            assert "".join(texts) == whole.output
            # A cursor in the middle of the value shows no part of it either.
            for middle in range(start, whole.next_cursor):
                assert "horse" not in pyro.read_shell(ident, shell, cursor=middle).output
        finally:
            pyro.delete_workspace(ident)


def test_models_see_no_escape_sequence(desk: Desk) -> None:
    from pyro_mcp.mcp_server.shaping import shape_result

    cursor = desk.pyro.write_shell(
        desk.workspace_id, desk.shell_id, input="ls --color=always -d /tmp; tput bold"
    ).cursor
    desk.read(cursor)
    for plain in (True, False):
        result = desk.pyro.read_shell(desk.workspace_id, desk.shell_id, cursor=cursor, plain=plain)
        shown = json.dumps(shape_result(result), ensure_ascii=False)
        assert not set("\x1b\x07\r") & set(shown)
        assert "\\u001b" not in shown
