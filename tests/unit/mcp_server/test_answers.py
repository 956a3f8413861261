"""Every message over stdio that asks for an answer gets one, and the server goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import pytest

from pyro_mcp.host import process
from pyro_mcp.mcp_server.messages import MAX_LINE_BYTES
from tests.support.mcp_wire import PATIENT, RUN, serving

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, METHOD_NOT_FOUND = -32700, -32600, -32602, -32601
INIT = (
    b'{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    b'"clientInfo":{"name":"t","version":"1"}}}\n'
)

# A line, and the id and code of the answer.
WRONG: list[tuple[bytes, Any, int]] = [
    (b"not json", None, PARSE_ERROR),
    (b"\xff\xfe", None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping"', None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping"}\0', None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":NaN}}', None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}', None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":' + b"[" * 20_000 + b"]" * 20_000 + b"}", None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":"\xff"}}', 5, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}', None, PARSE_ERROR),
    (b"7", None, INVALID_REQUEST),
    (b'"ping"', None, INVALID_REQUEST),
    (b"null", None, INVALID_REQUEST),
    (b"{}", None, INVALID_REQUEST),
    (b"[]", None, INVALID_REQUEST),
    (b'[{"jsonrpc":"2.0","id":5,"method":"ping"}]', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 1.5, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":[5],"method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":{"a":5},"method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', 5, INVALID_REQUEST),
    (b'{"id":5,"method":"ping"}', 5, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":5}', 5, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":5,"method":5}', 5, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":5}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":5,"method":"\\udfff"}', 5, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":[1]}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":null}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":["\\ud800"]}}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"\\ud800":1}}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"_meta":5}}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"vm_run","arguments":[]}}', 5, INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":5,"method":"no/such"}', 5, METHOD_NOT_FOUND),
    (
        b'{"jsonrpc":"2.0","id":"a\\"","method":"ping","params":{"a":"' + b"x" * MAX_LINE_BYTES + b'"}}',
        'a"',
        INVALID_REQUEST,
    ),
    (b'{"params":{"id":6,"a":"' + b"x" * MAX_LINE_BYTES + b'"},"id":5}', None, INVALID_REQUEST),
    (b"x" * (2 * MAX_LINE_BYTES), None, INVALID_REQUEST),
]
UNASKED = [
    b"",
    b" \t\r",
    b'{"jsonrpc":"2.0","method":"notifications/\\ud800"}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":5}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
    b'{"jsonrpc":"2.0","id":77,"result":{}}',
    b'{"jsonrpc":"2.0","id":[],"result":5}',
    b'{"jsonrpc":"2.0","id":77,"error":{}}',
]


def test_each_wrong_message_is_answered_with_an_error_and_the_server_goes_on() -> None:
    with serving() as wire:
        wire.begin()
        for number, (line, ident, code) in enumerate(WRONG):
            wire.put(line)
            answer = json.loads(wire.line())
            assert "error" in answer, (line[:100], answer)
            assert (answer["id"], answer["error"]["code"]) == (ident, code), line[:100]
            assert len(answer["error"]["message"]) < 200
            wire.send("ping", ident=1000 + number)
            assert json.loads(wire.line()) == {"jsonrpc": "2.0", "id": 1000 + number, "result": {}}


def test_wrong_messages_before_the_handshake_do_not_prevent_it() -> None:
    with serving() as wire:
        for line, _, _ in WRONG[:30]:
            wire.put(line)
        for _ in WRONG[:30]:
            assert "error" in json.loads(wire.line())
        wire.begin()


def test_a_message_that_asks_for_nothing_gets_no_answer() -> None:
    with serving() as wire:
        wire.begin()
        for number, line in enumerate(UNASKED):
            wire.put(line)
            wire.send("ping", ident=2000 + number)
            assert json.loads(wire.line())["id"] == 2000 + number, line


def test_a_byte_order_mark_and_line_ends_of_windows_are_accepted() -> None:
    with serving() as wire:
        wire.put(b"\xef\xbb\xbf" + INIT.rstrip() + b"\r")
        assert "result" in wire.answer("i")


def test_all_requests_before_the_end_of_stdin_are_answered() -> None:
    with serving() as wire:
        wire.put(INIT + b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % number for number in range(50)))
        wire.child.close_stdin()
        assert "result" in wire.answer("i")
        for number in range(50):
            assert "result" in wire.answer(number)
        assert wire.child.wait(20) == 0


def test_a_call_that_the_end_of_stdin_cancels_is_answered_with_an_error() -> None:
    with serving(PATIENT) as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        wire.said(b"begun")
        wire.child.close_stdin()
        assert "error" in wire.answer(2)
        assert wire.child.wait(20) == 0


@pytest.mark.parametrize("redirection", ["</dev/null", "<&-", ">&- </dev/null", "2>&- </dev/null", "<&- >&- 2>&-"])
def test_a_server_whose_pipes_are_closed_at_the_start_ends_cleanly(redirection: str) -> None:
    done = process.run(
        ["sh", "-c", f'exec "$0" -m pyro_mcp mcp serve {redirection}', sys.executable],
        timeout_s=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_client_that_closes_stdout_ends_the_calls_and_the_server() -> None:
    with serving(PATIENT) as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        wire.said(b"begun")
        assert wire.child.stdout is not None
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, wire.child.stdout)
        os.close(nothing)
        wire.send("ping", ident=3)
        wire.said(b"given back")
        assert wire.child.wait(20) == 0


def test_a_client_that_reads_nothing_does_not_keep_the_server_from_ending() -> None:
    with serving() as wire:
        wire.begin()
        wire.put(b"\n".join(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}' % number for number in range(40)))
        wire.child.send_signal(signal.SIGTERM)
        assert wire.child.wait(20) == 0


def test_a_result_that_utf_8_has_no_bytes_for_is_answered() -> None:
    with serving("return exec_result(environment='a\\udcffb')") as wire:
        wire.begin()
        wire.send("tools/call", RUN, ident=2)
        assert wire.answer(2)["result"]["structuredContent"]["environment"] == "a\ufffdb"
