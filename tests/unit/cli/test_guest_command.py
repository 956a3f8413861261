"""A guest's output on its way through `pyro run`: live, unchanged into files, harmless on terminals."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from pyro_mcp.host import process

ROOT = Path(__file__).resolve().parents[3]
RUN = ("run", "debian:12", "--", "x")
# A whole `pyro` with a runner whose "guest" does what the code says; `call` is what the surface gave it.
PYRO = """
import os, sys
from enum import StrEnum
from pyro_mcp.cli import guest_command
from pyro_mcp.cli.main import main
from tests.support.fake_runner import FakeRunner, exec_result

class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"

def answer(operation, request, call):
    facts = {{}}
    out = lambda data: call.on_output(Stream.STDOUT, data)
    err = lambda data: call.on_output(Stream.STDERR, data)
    {guest}
    return exec_result(**facts)

guest_command.Runner = lambda: FakeRunner(answer)
sys.exit(main(sys.argv[1:]))
"""


def pyro(guest: str, *words: str, input: bytes | None = None) -> process.Completed:  # noqa: A002 - as process.run
    return process.run(command(guest, words), input=input, timeout_s=20, check=False, cwd=ROOT)


def command(guest: str, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-c", PYRO.format(guest=guest), *words]


def test_both_streams_reach_ours_unchanged_with_the_phases_between() -> None:
    guest = (
        "call.progress.phase('create', 'environment=debian:12'); call.progress.phase('start', 'vm_id=vm_x');"
        " call.progress.phase('execute', 'vm_id=vm_x');"
        " out(bytes(range(256))); err(b'\\x1b]0;t\\x07'); facts['exit_code'] = 3"
    )
    done = pyro(guest, *RUN)
    assert done.returncode == 3
    assert done.stdout == bytes(range(256))
    assert done.stderr == (
        b"[run] phase=create environment=debian:12\n"
        b"[run] phase=start vm_id=vm_x\n"
        b"[run] phase=execute vm_id=vm_x\n"
        b"\x1b]0;t\x07"
        b"[run] environment=debian:12 execution_mode=guest_virtio_serial exit_code=3 duration_ms=12\n"
    )


def test_a_phase_that_takes_long_gets_a_sign_of_life_until_the_command_runs() -> None:
    guest = (
        "from pyro_mcp.host import progress; progress.HEARTBEAT_S = 0.01; import threading\n"
        "    call.progress.phase('template', 'booting \\x1b[2J a guest'); call.progress.advance(0.5, 'saving')\n"
        "    beat = next(thread for thread in threading.enumerate() if thread.name == 'progress')\n"
        "    call.progress.phase('execute', 'vm_id=vm_x')\n"
        "    assert not beat.is_alive()"
    )
    done = pyro(guest, *RUN)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "[run] phase=template booting ^[[2J a guest"
    assert lines[-2] == "[run] phase=execute vm_id=vm_x"


def test_with_json_stdout_has_one_document_and_stderr_nothing() -> None:
    guest = "call.progress.phase('create'); assert call.on_output is None; facts['stdout'] = 'caf\\xe9 \\x1b[2J'"
    done = pyro(guest, "run", "debian:12", "--json", "--", "x")
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.startswith(b"{")
    assert b'"stdout": "caf\\u00e9 \\u001b[2J"' in done.stdout


def test_a_reader_that_goes_away_ends_pyro_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with process.start(
            command("[out(b'y' * 65536) for _ in range(99)]", RUN), stdout=writing, stderr=process.PIPE, cwd=ROOT
        ) as child:
            assert child.stderr is not None
            said = os.read(child.stderr, 65536)
            assert child.wait(20) == 141
    finally:
        os.close(writing)
    assert b"Traceback" not in said
    assert b"error" not in said


def test_a_full_device_is_an_error_of_ours() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with process.start(command("out(b'hello')", RUN), stdout=full, stderr=process.PIPE, cwd=ROOT) as child:
            assert child.stderr is not None
            said = os.read(child.stderr, 65536)
            assert child.wait(20) == 125
    finally:
        os.close(full)
    assert b"could not write to stdout: No space left on device" in said


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_do_no_harm(closed: str) -> None:
    line = f'exec "$@" {closed}'
    done = process.run(
        ["sh", "-c", line, "sh", *command("out(b'o'); err(b'e')", RUN)], timeout_s=20, check=False, cwd=ROOT
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert done.stdout == (b"" if "1>&-" in closed else b"o")


def test_input_from_a_pipe_or_a_file_is_passed_on_and_a_null_device_is_not() -> None:
    guest = "out(b'none' if call.stdin is None else os.read(call.stdin, 99))"
    assert pyro(guest, *RUN).stdout == b"none"
    assert pyro(guest, *RUN, input=b"from a pipe").stdout == b"from a pipe"


def on_a_terminal(guest: str) -> bytes:
    """Run with stdout and stderr on one terminal, and return what it was sent."""
    controller, terminal = pty.openpty()
    try:
        with process.start(command(guest, RUN), stdout=terminal, stderr=terminal, cwd=ROOT) as child:
            os.close(terminal)
            terminal = -1
            seen = b""
            while True:
                try:
                    data = os.read(controller, 65536)
                except OSError:
                    break
                if not data:
                    break
                seen += data
            assert child.wait(20) == 0
    finally:
        os.close(controller)
        if terminal >= 0:
            os.close(terminal)
    return seen


def test_on_a_terminal_escape_sequences_of_the_guest_are_shown_not_obeyed() -> None:
    seen = on_a_terminal("out(b'\\x1b[32mok\\x1b[0m\\n'); out(b'a\\x1b'); out(b']52;c;xx\\x07b\\x9b2J\\n')")
    assert b"\x1b[32mok\x1b[0m" in seen
    assert b"a^[]52;c;xx^Gb\\x9b2J" in seen


def test_on_a_terminal_the_summary_begins_a_line_of_its_own() -> None:
    seen = on_a_terminal("out(b'no newline')")
    assert b"no newline\r\n[run] environment=debian:12" in seen


def test_a_signal_unwinds_the_operation_and_ends_with_130() -> None:
    guest = (
        "import signal, threading\n"
        "    try:\n"
        "        err(b'ready\\n'); threading.Event().wait()\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGTERM); err(b'given back\\n')"
    )
    for number in (2, 15, 1):
        with process.start(command(guest, RUN), stderr=process.PIPE, cwd=ROOT) as child:
            assert child.stderr is not None
            assert os.read(child.stderr, 100) == b"ready\n"
            child.send_signal(number)
            assert child.wait(20) == 130
            assert os.read(child.stderr, 1000) == (b"[pyro] cleaning up\ngiven back\nerror: interrupted\n")
