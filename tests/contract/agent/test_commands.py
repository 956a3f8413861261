"""What the agent promises about commands: how they start, what they are told, what they answer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import ExecRequest
from pyro_mcp.errors import ErrorCode, PyroError
from tests.support.agents import Ran, run

if TYPE_CHECKING:
    from pyro_mcp.agent import AgentSession


def refused(session: AgentSession, *argv: str, cwd: str = "/workspace") -> PyroError:
    with pytest.raises(PyroError) as caught:
        session.exec(ExecRequest(argv, timeout_s=30, cwd=cwd))
    assert run(session, "echo still there").stdout == b"still there\n"
    return caught.value


def test_a_commands_streams_and_exit_code_come_back(session: AgentSession) -> None:
    ran = run(session, "echo out; echo err >&2; exit 3")
    assert (ran.stdout, ran.stderr) == (b"out\n", b"err\n")
    assert ran.result.exit_code == 3
    assert (ran.result.stdout_bytes, ran.result.stderr_bytes) == (4, 4)
    assert not ran.result.timed_out
    assert not ran.result.oom_killed


def test_a_command_that_a_signal_ended_says_which(session: AgentSession) -> None:
    assert run(session, "kill -TERM $$").result.exit_code == 128 + 15
    assert run(session, "kill -SEGV $$").result.exit_code == 128 + 11


def test_arguments_keep_their_boundaries_and_whatever_is_in_them(session: AgentSession) -> None:
    arguments = ["", " a  b ", "$(id)", ";", "-x", "new\nline", "ü€😀", "'\"\\`", "*"]
    ran = run(session, "printf", "%s\\0", *arguments)
    assert ran.stdout.decode().split("\0")[:-1] == arguments


def test_arguments_variables_and_directories_need_not_be_text(session: AgentSession) -> None:
    odd = os.fsdecode(b"\xff\x80 caf\xe9")
    assert run(session, "printf", "%s", odd).stdout == os.fsencode(odd)
    assert run(session, 'printf %s "$ODD"', env={"ODD": odd}).stdout == os.fsencode(odd)
    run(session, "mkdir", "-p", odd)
    assert run(session, "pwd", cwd=f"/workspace/{odd}").stdout.rstrip(b"\n").endswith(os.fsencode(odd))


def test_a_command_runs_where_and_with_what_it_was_told(session: AgentSession) -> None:
    ran = run(session, 'pwd; echo "$NAME-$EMPTY-"; cd /; pwd', env={"NAME": "a=b", "EMPTY": ""}, cwd="/tmp")
    assert ran.stdout.decode().splitlines() == ["/tmp", "a=b--", "/"]


def test_commands_share_a_file_system_and_a_workspace(session: AgentSession) -> None:
    run(session, "mkdir -p below; echo kept > below/file")
    assert run(session, "cat", "file", cwd="/workspace/below").stdout == b"kept\n"


def test_signals_have_their_default_effect_in_a_command(session: AgentSession) -> None:
    # An agent in Python ignores SIGPIPE; what it starts must not. Signals 32 and 33 are the C library's own, which lets
    # nobody change them: on the host they stay as whatever started the tests left them.
    lines = run(session, "grep -E 'SigIgn|SigBlk' /proc/self/status").stdout.split()[1::2]
    assert [int(mask, 16) & ~(0b11 << 31) for mask in lines] == [0, 0]


def test_a_command_has_no_descriptors_but_its_streams(session: AgentSession) -> None:
    listed = run(session, "ls", "/proc/self/fd").stdout.split()
    # The fourth is ls's own.
    assert listed == [b"0", b"1", b"2", b"3"]


def test_a_command_that_is_not_there_is_an_error_with_the_shells_exit_code(session: AgentSession) -> None:
    error = refused(session, "no-such-command-anywhere")
    assert error.code is ErrorCode.NOT_FOUND
    assert error.message == "command not found: 'no-such-command-anywhere'"
    assert error.hint
    assert error.details["exit_code"] == 127


@pytest.mark.parametrize("name", ["/etc/passwd", "/"])
def test_a_command_that_is_no_program_is_an_error_with_the_shells_exit_code(session: AgentSession, name: str) -> None:
    error = refused(session, name)
    assert error.code is ErrorCode.PERMISSION
    assert name in error.message
    assert error.details["exit_code"] == 126


def test_a_script_with_a_missing_interpreter_is_not_found(session: AgentSession) -> None:
    run(session, "echo '#!/no/interpreter' > script; chmod +x script")
    assert refused(session, "./script").code is ErrorCode.NOT_FOUND


def test_a_directory_that_is_not_there_is_an_error(session: AgentSession) -> None:
    error = refused(session, "true", cwd="/no/such/directory")
    assert error.code is ErrorCode.NOT_FOUND
    assert "'/no/such/directory'" in error.message


def test_a_single_argument_beyond_the_kernels_limit_is_an_error(session: AgentSession) -> None:
    # 128 KiB is the kernel's limit for one argument (MAX_ARG_STRLEN).
    error = refused(session, "true", "x" * 131072)
    assert error.code is ErrorCode.INVALID
    assert "too long" in error.message


def test_arguments_as_long_as_a_frame_still_arrive(session: AgentSession) -> None:
    arguments = ["x" * 100_000] * 10
    ran = run(session, "sh", "-c", 'echo $#; printf %s "$@" | wc -c', "sh", *arguments)
    assert ran.stdout.split() == [b"10", b"1000000"]


def test_many_arguments_arrive(session: AgentSession) -> None:
    assert run(session, "sh", "-c", "echo $#", "sh", *["x"] * 100_000).stdout == b"100000\n"


def test_arguments_beyond_a_frame_are_refused_before_anything_is_sent(session: AgentSession) -> None:
    error = refused(session, "true", *["x" * 100_000] * 32)
    assert error.code is ErrorCode.INVALID
    assert "stdin" in error.hint


def test_a_command_can_be_the_last_that_is_expected(session: AgentSession) -> None:
    for _ in range(2):
        result = session.exec(ExecRequest(("true",), timeout_s=30, is_last=True))
        assert result.exit_code == 0


def test_many_commands_in_a_row_leave_nothing_in_the_way(session: AgentSession) -> None:
    ran: list[Ran] = [run(session, "echo", str(number)) for number in range(40)]
    assert [each.stdout for each in ran] == [b"%d\n" % number for number in range(40)]
