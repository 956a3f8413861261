"""What the agent promises about streams: all of them, whatever is in them, never more than fits."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import ExecRequest, OutputBuffer, Stream
from pyro_mcp.protocol import wire
from tests.support.agents import run

if TYPE_CHECKING:
    from pyro_mcp.agent import AgentSession

MIB = 1024 * 1024
EVERY_BYTE = bytes(range(256))


def test_an_empty_stdin_ends_at_once(session: AgentSession) -> None:
    assert run(session, "cat; echo over").stdout == b"over\n"
    assert run(session, "cat; echo over", stdin=b"").stdout == b"over\n"


def test_stdin_may_be_bytes_a_descriptor_or_a_file(session: AgentSession) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"through a pipe")
        os.close(writing)
        assert run(session, "cat", stdin=reading).stdout == b"through a pipe"
    finally:
        os.close(reading)
    assert run(session, "cat", stdin=b"bytes").stdout == b"bytes"
    assert run(session, "cat", stdin=io.BytesIO(b"a file in memory")).stdout == b"a file in memory"
    with open(__file__, "rb") as file:
        content = run(session, "cat", stdin=file).stdout
    with open(__file__, "rb") as file:
        assert content == file.read()


def test_binary_data_passes_unchanged_both_ways(session: AgentSession) -> None:
    data = EVERY_BYTE * 1000 + os.urandom(300_001)
    assert run(session, "cat", stdin=data).stdout == data


def test_data_that_spells_the_lanes_magic_passes_as_data(session: AgentSession) -> None:
    data = (wire.LANE_MAGIC * 3 + b"x") * 100
    assert run(session, "cat", stdin=data).stdout == data


def test_more_than_any_window_passes_both_ways_at_once(session: AgentSession) -> None:
    data = os.urandom(MIB) * 4
    assert run(session, "cat", stdin=data).stdout == data


def test_output_without_an_end_of_line_comes_as_it_is(session: AgentSession) -> None:
    assert run(session, "printf", "no newline").stdout == b"no newline"


def test_both_streams_are_kept_apart_however_they_are_mixed(session: AgentSession) -> None:
    ran = run(session, "for i in 1 2 3 4 5 6 7 8; do echo o$i; echo e$i >&2; done")
    assert ran.stdout == b"".join(b"o%d\n" % number for number in range(1, 9))
    assert ran.stderr == b"".join(b"e%d\n" % number for number in range(1, 9))


def test_output_comes_while_the_command_runs(session: AgentSession) -> None:
    reading, writing = os.pipe()
    seen: list[bytes] = []

    def answer(stream: Stream, data: bytes) -> None:
        assert stream is Stream.STDOUT
        seen.append(data)
        # The command gets its answer only if its question was seen before it ended.
        os.write(writing, b"go on\n" if len(seen) == 1 else b"")

    try:
        request = ExecRequest(("/bin/sh", "-c", "echo question; read -r answer; echo got: $answer"), timeout_s=30)
        result = session.exec(request, stdin=reading, on_output=answer)
    finally:
        os.close(reading)
        os.close(writing)
    assert result.exit_code == 0
    assert b"".join(seen) == b"question\ngot: go on\n"


def test_a_flood_is_counted_and_only_its_ends_are_kept(session: AgentSession) -> None:
    kept = OutputBuffer(1000, 1000)
    digest = hashlib.sha256()

    def take(_stream: Stream, data: bytes) -> None:
        kept.add(data)
        digest.update(data)

    line = "0123456789abcde\n"
    result = session.exec(
        ExecRequest(("/bin/sh", "-c", f"yes {line.strip()} | head -c {16 * MIB}"), timeout_s=60), on_output=take
    )
    assert result.stdout_bytes == kept.total_bytes == 16 * MIB
    assert digest.hexdigest() == hashlib.sha256(line.encode() * MIB).hexdigest()
    assert len(kept.text()) < 2100


def test_a_million_tiny_writes_are_one_stream(session: AgentSession) -> None:
    ran = run(session, "i=0; while [ $i -lt 3000 ]; do echo; i=$((i+1)); done")
    assert ran.stdout == b"\n" * 3000


def test_a_command_that_does_not_read_its_stdin_ends_all_the_same(session: AgentSession) -> None:
    ran = run(session, "exec true", stdin=bytes(8 * MIB))
    assert ran.result.exit_code == 0


def test_a_command_that_closes_its_stdin_is_not_held_up_by_more_of_it(session: AgentSession) -> None:
    ran = run(session, "head -c 10 > /dev/null; exec 0<&-; head -c 100000 /dev/zero | wc -c", stdin=bytes(4 * MIB))
    assert ran.stdout.strip() == b"100000"


def test_a_command_that_closes_its_output_runs_on(session: AgentSession) -> None:
    ran = run(session, "exec 1>&- 2>&-; echo done > closed-output; exit 7")
    assert ran.result.exit_code == 7
    assert run(session, "cat", "closed-output").stdout == b"done\n"


def test_a_slow_reader_gets_everything(session: AgentSession) -> None:
    turns = threading.Semaphore(0)
    received = bytearray()

    def take(_stream: Stream, data: bytes) -> None:
        turns.acquire()
        received.extend(data)

    releaser = threading.Thread(target=lambda: [turns.release() for _ in range(100_000)])
    releaser.start()
    try:
        session.exec(ExecRequest(("/bin/sh", "-c", f"head -c {2 * MIB} /dev/zero"), timeout_s=30), on_output=take)
    finally:
        releaser.join()
    assert len(received) == 2 * MIB


def test_a_reader_that_goes_away_ends_the_command(session: AgentSession) -> None:
    def broken(_stream: Stream, _data: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        session.exec(ExecRequest(("yes",), timeout_s=30), on_output=broken)


def test_last_words_of_what_a_command_left_running_still_come(session: AgentSession) -> None:
    assert run(session, "(echo last words) & exit 0").stdout == b"last words\n"


def test_what_is_left_running_does_not_keep_the_result_back(session: AgentSession) -> None:
    ran = run(session, "(exec sleep 1000) & echo $! > left.pid; echo started")
    assert ran.stdout == b"started\n"
    # It is still there, and did not die of writing to nobody.
    assert run(session, "kill -0 $(cat left.pid) && kill -9 $(cat left.pid)").result.exit_code == 0
