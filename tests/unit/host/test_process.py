"""Programs run within bounds, and their failures say what happened."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.output import OutputBuffer
from pyro_mcp.host.process.run import MAX_LINE_BYTES, LineSplitter

if TYPE_CHECKING:
    from pathlib import Path

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as another user")


class TestRun:
    def test_output_status_and_arguments_are_kept(self) -> None:
        done = process.run(["sh", "-c", 'printf "%s" "$1"; echo oops >&2', "sh", "a b;$(c)\n-d"], timeout_s=30)
        assert (done.stdout, done.stderr, done.returncode) == (b"a b;$(c)\n-d", b"oops\n", 0)
        assert done.argv[0].endswith("/sh")
        assert done.text == "a b;$(c)\n-d"

    def test_input_larger_than_any_pipe_passes_through(self) -> None:
        data = os.urandom(3_000_000)
        assert process.run(["cat"], input=data, timeout_s=30).stdout == data

    def test_a_program_that_ignores_its_input_is_no_error(self) -> None:
        assert process.run(["true"], input=b"x" * 3_000_000, timeout_s=30).returncode == 0

    def test_without_input_stdin_is_empty(self) -> None:
        assert process.run(["cat"], timeout_s=30).stdout == b""

    def test_a_failure_shows_the_last_of_what_was_said(self) -> None:
        with pytest.raises(PyroError) as caught:
            process.run(["sh", "-c", "echo useless; echo no such device >&2; exit 3"], timeout_s=30)
        assert caught.value.code is ErrorCode.PROGRAM_FAILED
        assert caught.value.message == "sh ended with exit status 3:\nno such device"
        assert caught.value.details["returncode"] == 3

    def test_a_failure_is_a_result_where_it_may_be(self) -> None:
        assert process.run(["sh", "-c", "exit 3"], timeout_s=30, check=False).returncode == 3

    def test_the_signal_that_ended_it_is_named(self) -> None:
        with pytest.raises(PyroError, match="sh ended with signal 9"):
            process.run(["sh", "-c", "kill -9 $$"], timeout_s=30)

    def test_a_full_disk_is_told_from_other_failures(self) -> None:
        with pytest.raises(PyroError) as caught:
            process.run(["sh", "-c", "echo 'write: No space left on device' >&2; exit 1"], timeout_s=30)
        assert caught.value.code is ErrorCode.NO_SPACE
        assert "pyro env prune" in caught.value.hint

    def test_a_flood_of_output_is_kept_at_both_ends_and_counted(self) -> None:
        done = process.run(
            [sys.executable, "-c", "print('start'); print('x' * 3_000_000); print('end')"],
            timeout_s=30,
            max_output_bytes=1000,
        )
        assert len(done.stdout) == 1000
        assert done.stdout.startswith(b"start\n")
        assert done.stdout.endswith(b"end\n")
        assert done.dropped_bytes == 3_000_011 - 1000

    def test_what_it_left_running_in_its_group_ends_with_it(self) -> None:
        done = process.run(["sh", "-c", "sleep 1000 & echo $!"], timeout_s=30)
        assert process.wait_for_exit(int(done.text), process.start_time(int(done.text)) or 0, timeout_s=30)

    def test_a_timeout_ends_the_whole_tree_and_says_what_was_waited_for(self) -> None:
        script = "sh -c 'sleep 1000 & setsid sleep 1000 & wait' & echo started >&2; wait"
        with pytest.raises(PyroError) as caught:
            process.run(["sh", "-c", script], timeout_s=0.5)
        assert caught.value.code is ErrorCode.TIMEOUT
        assert caught.value.message == "waited 0.5 s for sh to finish; the last output was:\nstarted"

    def test_an_endless_flood_does_not_outrun_the_timeout(self) -> None:
        with pytest.raises(PyroError, match=r"waited 0\.3 s for yes to finish"):
            process.run(["yes"], timeout_s=0.3, max_output_bytes=100)

    def test_before_a_kill_the_program_may_tidy_up(self, tmp_path: Path) -> None:
        script = f"trap 'touch {tmp_path}/tidied; exit' TERM; echo up >&2; while :; do sleep 0.01; done"
        with pytest.raises(PyroError, match="waited"):
            process.run(["sh", "-c", script], timeout_s=0.5, grace_s=30)
        assert (tmp_path / "tidied").exists()

    def test_the_environment_is_the_callers_or_the_one_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYRO_TEST_VALUE", "inherited")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        script = ["sh", "-c", 'echo "$PYRO_TEST_VALUE $PATH"']
        assert process.run(script, timeout_s=30).text == "inherited /usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
        assert process.run(script, timeout_s=30, env={"PYRO_TEST_VALUE": "given", "PATH": "/bin"}).text == "given /bin"

    def test_the_working_directory_is_the_one_given(self, tmp_path: Path) -> None:
        assert process.run(["pwd"], cwd=tmp_path, timeout_s=30).text == str(tmp_path)

    def test_only_the_descriptors_passed_are_inherited(self) -> None:
        reading, writing = os.pipe()
        other = os.dup(writing)
        os.set_inheritable(other, True)
        try:
            list_them = [sys.executable, "-c", "import os; print(*sorted(os.listdir('/proc/self/fd'), key=int))"]
            done = process.run(list_them, pass_fds=[writing], timeout_s=30)
        finally:
            for fd in (reading, writing, other):
                os.close(fd)
        found = set(done.text.split())
        assert str(writing) in found
        assert str(other) not in found

    @root_only
    def test_another_user_can_be_taken_on_without_any_group(self) -> None:
        done = process.run(["id", "-u", "-r"], user=65534, group=65534, extra_groups=[], timeout_s=30)
        groups = process.run(["id", "-G"], user=65534, group=65534, extra_groups=[], timeout_s=30)
        assert (done.text, groups.text) == ("65534", "65534")


class TestFailuresToStart:
    def test_a_program_that_is_not_there(self) -> None:
        with pytest.raises(PyroError, match="the program no-such-program is not installed") as caught:
            process.run(["no-such-program"], timeout_s=30)
        assert caught.value.code is ErrorCode.MISSING_PROGRAM

    def test_a_path_that_is_not_there(self) -> None:
        with pytest.raises(PyroError) as caught:
            process.run(["/nonexistent/qemu"], timeout_s=30)
        assert caught.value.code is ErrorCode.MISSING_PROGRAM

    def test_a_working_directory_that_is_not_there(self) -> None:
        with pytest.raises(PyroError, match="could not start true: No such file") as caught:
            process.run(["true"], cwd="/nonexistent", timeout_s=30)
        assert caught.value.code is ErrorCode.NOT_FOUND

    def test_a_file_that_may_not_be_executed(self, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("")
        with pytest.raises(PyroError) as caught:
            process.run([tmp_path / "tool"], timeout_s=30)
        assert caught.value.code is ErrorCode.PERMISSION

    def test_an_argument_with_a_nul(self) -> None:
        with pytest.raises(PyroError, match="embedded null byte") as caught:
            process.run(["echo", "a\0b"], timeout_s=30)
        assert caught.value.code is ErrorCode.INVALID

    def test_an_argument_list_that_is_too_long(self) -> None:
        with pytest.raises(PyroError, match="Argument list too long") as caught:
            process.run(["true", "x" * 10_000_000], timeout_s=30)
        assert caught.value.code is ErrorCode.INVALID
        assert "stdin" in caught.value.hint


class TestStream:
    def test_each_line_comes_as_it_is_printed_from_both_streams(self) -> None:
        lines: list[str] = []
        script = "echo one; echo two >&2; printf '10%%\\r20%%\\r\\nlast'"
        assert process.stream(["sh", "-c", script], on_line=lines.append, timeout_s=30) == 0
        assert lines == ["one", "two", "10%", "20%", "last"]

    def test_a_failure_shows_the_last_lines(self) -> None:
        with pytest.raises(PyroError, match=r"^sh ended with exit status 2:\nE: no mirror \["):
            process.stream(["sh", "-c", "echo 'E: no mirror' >&2; exit 2"], on_line=lambda _: None, timeout_s=30)

    def test_a_listener_that_fails_ends_the_program(self) -> None:
        def fail(line: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            process.stream(["sh", "-c", "echo x; exec sleep 1000"], on_line=fail, timeout_s=30)

    def test_a_timeout_ends_it_and_shows_where_it_stood(self) -> None:
        with pytest.raises(PyroError, match="the last output was:\nunpacking"):
            process.stream(
                ["sh", "-c", "echo unpacking; exec sleep 1000"], on_line=lambda _: None, timeout_s=0.3, grace_s=0
            )


class TestOutput:
    def test_a_short_stream_is_kept_whole(self) -> None:
        output = OutputBuffer(5, 5)
        for piece in (b"ab", b"", b"cdefg", b"hij"):
            output.add(piece)
        assert (output.data(), output.dropped_bytes) == (b"abcdefghij", 0)

    def test_the_middle_of_a_long_stream_is_dropped(self) -> None:
        output = OutputBuffer(3, 2)
        for piece in (b"abcd", b"efgh", b"ij"):
            output.add(piece)
        assert (output.data(), output.dropped_bytes) == (b"abcij", 5)

    def test_an_endless_line_is_cut(self) -> None:
        lines: list[str] = []
        splitter = LineSplitter(lines.append)
        for _ in range(100):
            splitter.add(b"x" * 1000)
        splitter.add(b"\nnext\n")
        splitter.finish()
        assert [len(line) for line in lines] == [MAX_LINE_BYTES, 4]

    def test_a_line_split_over_reads_is_put_together_even_inside_a_character(self) -> None:
        lines: list[str] = []
        splitter = LineSplitter(lines.append)
        for byte in "Grüße\n\xff".encode("latin-1").replace(b"\xfc\xdf", "üß".encode()):
            splitter.add(bytes([byte]))
        splitter.finish()
        assert lines == ["Grüße", "\ufffd"]


def test_standard_streams_can_be_descriptors_of_the_caller(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        with process.start(["sh", "-c", "echo out; echo err >&2"], stdout=log.fileno(), stderr=process.STDOUT) as child:
            assert child.wait(30) == 0
        assert child.returncode == 0
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_a_program_dies_with_its_parent_when_asked() -> None:
    code = (
        "import os, signal; from pyro_mcp.host import process\n"
        "child = process.start(['sleep', '1000'], parent_death_signal=signal.SIGKILL)\n"
        "import select; poll = lambda: open(f'/proc/{child.pid}/comm').read()\n"
        "from pyro_mcp.host.waiting import wait_until\n"
        "wait_until(lambda: poll() == 'sleep\\n', timeout_s=30, what='the exec')\n"
        "print(child.pid, child.start_time, flush=True); os.kill(os.getpid(), 9)"
    )
    done = process.run([sys.executable, "-c", code], timeout_s=30, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, started = map(int, done.text.split())
    assert process.wait_for_exit(pid, started, timeout_s=30)
