"""What the agent promises about shells: a real terminal each, whose output is there for whoever reads it, and when."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken
from pyro_mcp.agent.shells import GuestShells, ShellOutput, ShellSignal, ShellState
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import shells as limits
from tests.support.agents import TIMEOUT_S, run
from tests.support.shells import Typist, read_all

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import Guest

IDLE_MS = 300
# Enough for output to come just when somebody reads.
_MANY = 40
# A plain prompt, and no history: what comes out is what a test puts in.
ENV = {"PS1": "$ ", "PROMPT_COMMAND": "", "HISTFILE": ""}


@pytest.fixture
def shells(session: AgentSession) -> Generator[GuestShells]:
    """Give a test the guest's shells, and close those it leaves."""
    shells = GuestShells(session)
    yield shells
    for each in shells.list():
        shells.close(each.shell)


@contextmanager
def opened(shells: GuestShells, name: str = "sh_a") -> Generator[Typist]:
    shells.open(name, cwd="/workspace", env=ENV, cols=80, rows=24)
    typist = Typist(shells, name)
    # No line editor, so that nothing but what is typed is echoed; and the shell's own prompt stays out of the way.
    typist.says("set +o emacs 2>/dev/null; PS1='$ '; echo rea''dy\n", "ready\r\n")
    yield typist


def test_a_shell_has_a_terminal_of_its_own(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.says("tty; stty size; echo $TERM\n", "/dev/pts/")
        typist.says("", "24 80\r\nxterm-256color\r\n")


def test_a_shell_outlives_the_session_that_opened_it(guest: Guest, shells: GuestShells) -> None:
    with guest.session() as first:
        GuestShells(first).open("sh_a", cwd="/workspace", cols=80, rows=24, env=ENV)
        GuestShells(first).write("sh_a", "X=4''2\n")
    with guest.session() as second:
        Typist(GuestShells(second), "sh_a").says("echo X is $X\n", "X is 42\r\n")
    assert shells.list()[0].state is ShellState.RUNNING


def test_a_cursor_gives_the_same_again(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.says("seq 1000\n", "\r\n1000\r\n")
        whole = read_all(shells, "sh_a")
        for cursor in (0, 1, 77, 1000):
            assert shells.read("sh_a", cursor, max_bytes=500).data == whole[cursor : cursor + 500]


def test_reading_waits_for_a_pause_and_no_longer_than_it_may(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.write("for i in 1 2 3; do sleep 0.1; echo step $i; done\n")
        output = shells.read("sh_a", typist.cursor, max_bytes=10_000, idle_ms=1000)
        assert b"step 3\r\n" in output.data
        typist.write("while :; do echo again; sleep 0.05; done\n")
        output = shells.read("sh_a", output.stop, max_bytes=10_000, idle_ms=2000, wait_ms=400)
        assert b"again" in output.data


def test_a_reading_that_waits_can_be_called_off(guest: Guest, shells: GuestShells) -> None:
    with opened(shells) as typist, guest.session() as other:
        cancel = CancelToken()
        typist.write("while :; do echo again; sleep 0.05; done\n")
        timer = threading.Timer(0.2, cancel.cancel)
        timer.start()
        with pytest.raises(PyroError) as caught:
            GuestShells(other, cancel=cancel).read("sh_a", 0, max_bytes=1000, idle_ms=60_000)
        timer.join()
        assert caught.value.code is ErrorCode.CANCELLED
        other.ping(timeout_s=TIMEOUT_S)


def test_an_exit_ends_the_waiting_at_once_with_the_last_words(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.write("echo last words; exit 7\n")
        output = shells.read("sh_a", typist.cursor, max_bytes=10_000, idle_ms=60_000)
        assert output.info.state is ShellState.STOPPED
        assert output.info.exit_code == 7
        assert output.data.endswith(b"\r\nlast words\r\nexit\r\n")


def test_what_an_exited_shell_said_stays_until_it_is_closed(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.write("exit 3\n")
        typist.wait_for_exit()
        assert b"ready" in read_all(shells, "sh_a")
        with pytest.raises(PyroError, match="it has exited"):
            shells.signal("sh_a", ShellSignal.INT)
        assert shells.close("sh_a").exit_code == 3
        with pytest.raises(PyroError, match="no such shell") as caught:
            shells.read("sh_a", 0, max_bytes=1)
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_signals_go_to_the_foreground_group(shells: GuestShells) -> None:
    # Something has said that it runs before it is signalled: by then it has the foreground.
    sleeper = "sh -c 'echo beg\"\"un; sleep 1000; echo no'"
    with opened(shells) as typist:
        typist.says(f"{sleeper} | cat\necho status $?\n", "begun\r\n")
        shells.signal("sh_a", ShellSignal.INT)
        typist.says("", "status 130\r\n")
        typist.says(f"{sleeper}\necho status $?\n", "begun\r\n")
        shells.signal("sh_a", ShellSignal.TERM)
        typist.says("", "status 143\r\n")
        typist.says(f"{sleeper}\necho status $?\n", "begun\r\n")
        shells.signal("sh_a", ShellSignal.HUP)
        typist.says("", "status 129\r\n")
        typist.says("exec sh -c 'echo beg\"\"un; sleep 1000'\n", "begun\r\n")
        shells.signal("sh_a", ShellSignal.KILL)
        assert typist.wait_for_exit() == 137


def test_resizing_is_told_to_what_runs(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.says("trap 'stty size' WINCH; echo se''t\n", "set\r\n")
        shells.resize("sh_a", 133, 41)
        typist.says("\n", "41 133\r\n")
        output = shells.read("sh_a", 0, max_bytes=10_000, context_bytes=100)
        assert [(size.cols, size.rows) for size in output.sizes] == [(80, 24), (133, 41)]
        assert (output.info.cols, output.info.rows) == (133, 41)


def test_closing_ends_all_that_the_shell_started(session: AgentSession, shells: GuestShells) -> None:
    mark = f"123456.{os.getpid()}"
    with opened(shells) as typist:
        typist.write(f"trap '' HUP; sleep {mark} & setsid nohup sleep {mark} & echo bo''th\n")
        typist.says("", "both\r\n")
        assert mark.encode() in _processes(session)
        shells.close("sh_a")
    assert mark.encode() not in _processes(session)


def _processes(session: AgentSession) -> bytes:
    return run(session, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true").stdout


def test_several_shells_do_not_hear_each_other(shells: GuestShells) -> None:
    with opened(shells) as first, opened(shells, "sh_b") as second:
        first.says("Y=one; echo $Y\n", "one\r\n")
        second.says("echo [$Y]\n", "[]\r\n")
        assert [each.shell for each in shells.list()] == ["sh_a", "sh_b"]


def test_there_are_so_many_shells_and_no_more(shells: GuestShells) -> None:
    for number in range(limits.MAX_SHELLS):
        shells.open(f"sh_{number}", cwd="/workspace", cols=80, rows=24, env=ENV)
    with pytest.raises(PyroError, match="16 are already open") as caught:
        shells.open("sh_more", cwd="/workspace", cols=80, rows=24, env=ENV)
    assert caught.value.code is ErrorCode.CONFLICT
    shells.close("sh_0")
    assert shells.open("sh_more", cwd="/workspace", cols=80, rows=24, env=ENV).end == 0


def test_a_directory_that_is_not_there_is_refused(shells: GuestShells) -> None:
    with pytest.raises(PyroError, match="can't open a shell in '/nowhere'") as caught:
        shells.open("sh_a", cwd="/nowhere", cols=80, rows=24, env=ENV)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert shells.list() == ()


def test_a_flood_is_kept_to_its_end_and_bounded(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.write("head -c 3000000 /dev/zero | tr '\\0' x | fold -w 600 | cat -n; echo do''ne\n")
        output = typist.sees("done\r\n", timeout_s=60)
        assert output.info.end > 3_000_000
        assert output.info.first >= output.info.end - limits.KEPT_BYTES - 64 * 1024
        old = shells.read("sh_a", 0, max_bytes=1000, context_bytes=limits.CONTEXT_BYTES)
        assert old.start == old.info.first
        assert len(old.context) == limits.CONTEXT_BYTES
        # Not a byte is missing or double after the first that is kept.
        lines = (old.context + read_all(shells, "sh_a", old.start)).split(b"\r\n")[1:-2]
        numbered = [line.split(b"\t") for line in lines]
        assert [int(number) for number, _ in numbered] == list(range(int(numbered[0][0]), 5000))
        assert {text for _, text in numbered} == {b"x" * 600}


def test_what_nobody_reads_can_be_typed_up_to_a_bound(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.write("stty raw -echo; sleep 1000\n")
        shells.read("sh_a", typist.cursor, max_bytes=1000, idle_ms=IDLE_MS)
        shells.write("sh_a", "x" * 700_000)
        with pytest.raises(PyroError, match="too much unread input") as caught:
            shells.write("sh_a", "x" * 700_000)
        assert caught.value.code is ErrorCode.CONFLICT


def test_long_input_arrives_whole(shells: GuestShells) -> None:
    with opened(shells) as typist:
        text = "".join(f"line {number} äöü\n" for number in range(2000))
        typist.write("stty -echo; cat > typed; cksum typed; stty echo\n")
        shells.read("sh_a", typist.cursor, max_bytes=1000, idle_ms=IDLE_MS)
        typist.write(text)
        typist.write("\x04")
        typist.sees(f" {len(text.encode())} typed\r\n")


def test_an_attached_terminal_shows_all_and_passes_on_what_is_typed(guest: Guest, shells: GuestShells) -> None:
    with opened(shells) as typist, guest.session() as other:
        reading, writing = os.pipe()
        seen = bytearray()

        def take(data: bytes) -> None:
            seen.extend(data)
            if b"$ " in seen and b"typed" not in seen and not typed:
                typed.append(os.write(writing, b"echo ty''ped; exit 5\n"))

        typed: list[int] = []
        try:
            typist.write("\n")
            GuestShells(other).attach("sh_a", 0, stdin=reading, on_data=take, on_skip=_skipped)
        finally:
            os.close(reading)
            os.close(writing)
        assert b"ready\r\n" in seen
        assert bytes(seen).rstrip().endswith((b"typed", b"exit"))
        assert shells.list()[0].exit_code == 5


def test_an_attached_terminal_misses_nothing_that_a_reading_takes(guest: Guest, shells: GuestShells) -> None:
    seen, arrived = bytearray(), threading.Condition()

    def take(data: bytes) -> None:
        with arrived:
            seen.extend(data)
            arrived.notify_all()

    def attach(to: AgentSession) -> None:
        with suppress(PyroError):
            GuestShells(to, cancel=cancel).attach("sh_a", 0, stdin=None, on_data=take, on_skip=_skipped)

    with opened(shells) as typist, guest.session() as other:
        cancel = CancelToken()
        attached = threading.Thread(target=attach, args=(other,))
        attached.start()
        try:
            for number in range(_MANY):
                typist.write(f"printf 'a%s' ''; printf 'b%s\\n' {number}\n")
                for _ in range(5):
                    shells.read("sh_a", 0, max_bytes=1)
                word = f"b{number}\r\n".encode()
                with arrived:
                    assert arrived.wait_for(lambda word=word: word in seen, TIMEOUT_S), f"{word} was not shown"
        finally:
            cancel.cancel()
            attached.join()


def test_letting_go_leaves_the_shell_as_it_was(guest: Guest, shells: GuestShells) -> None:
    with opened(shells) as typist, guest.session() as other:
        cancel = CancelToken()
        with pytest.raises(PyroError) as caught:
            GuestShells(other, cancel=cancel).attach(
                "sh_a", 0, stdin=None, on_data=lambda _data: cancel.cancel(), on_skip=_skipped
            )
        assert caught.value.code is ErrorCode.CANCELLED
        typist.says("echo sti''ll here\n", "still here\r\n")


def test_a_session_that_breaks_off_while_attached_takes_nothing_with_it(guest: Guest, shells: GuestShells) -> None:
    with opened(shells) as typist:
        with guest.session() as other, pytest.raises(KeyboardInterrupt):
            GuestShells(other).attach("sh_a", 0, stdin=None, on_data=_interrupt, on_skip=_skipped)
        typist.says("echo sti''ll here\n", "still here\r\n")


def _skipped(count: int) -> None:
    raise AssertionError(f"{count} bytes were lost")


def _interrupt(data: bytes) -> None:
    raise KeyboardInterrupt


def test_a_cursor_beyond_the_end_is_refused(shells: GuestShells) -> None:
    with opened(shells), pytest.raises(PyroError, match="is beyond the end") as caught:
        shells.read("sh_a", 1_000_000, max_bytes=10)
    assert caught.value.code is ErrorCode.INVALID


def test_reading_returns_at_most_what_was_asked_for(shells: GuestShells) -> None:
    with opened(shells) as typist:
        typist.says("seq 5000\n", "\r\n5000\r\n")
        output: ShellOutput = shells.read("sh_a", 100, max_bytes=50, context_bytes=30)
        assert (len(output.data), len(output.context), output.start, output.stop) == (50, 30, 100, 150)


def test_waiting_for_a_pause_begins_with_the_first_prompt(shells: GuestShells) -> None:
    shells.open("sh_a", cwd="/workspace", cols=80, rows=24, env=ENV)
    assert shells.read("sh_a", 0, max_bytes=1000, idle_ms=1).data
