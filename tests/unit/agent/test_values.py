"""The client's values: what they refuse, and how they look on the wire."""

from __future__ import annotations

import os
import struct
import threading
from dataclasses import replace
from typing import Any

import pytest

from pyro_mcp.agent import CancelToken, ExecRequest, GuestConfig, RootDisk, Stream
from pyro_mcp.agent.exchange import Pump, Receiver
from pyro_mcp.agent.failures import failure_error
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.network.guest import GuestNetwork, InterfaceAddress
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import decode_trusted

CONFIG = GuestConfig(hostname="vm-abc", machine_id="0123456789abcdef" * 2)
REQUEST = ExecRequest(("echo", "hi"), timeout_s=1.5, env={"A": "b=c"})


def parts_of(body: bytes) -> tuple[tuple[int, ...], list[bytes]]:
    size = struct.calcsize(wire.EXEC_FORMAT)
    return struct.unpack_from(wire.EXEC_FORMAT, body), body[size:].split(b"\0")


def test_a_request_holds_timeout_flags_and_texts() -> None:
    assert parts_of(REQUEST.body(stdin=False)) == ((1500, 0, 2, 1), [b"/workspace", b"echo", b"hi", b"A=b=c", b""])
    assert parts_of(replace(REQUEST, is_last=True).body(stdin=True))[0] == (1500, 3, 2, 1)


def test_a_timeout_is_never_none_by_rounding_or_too_long_for_its_place() -> None:
    assert parts_of(replace(REQUEST, timeout_s=0.0001).body(stdin=False))[0][0] == 1
    assert parts_of(replace(REQUEST, timeout_s=1e12).body(stdin=False))[0][0] == 2**32 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"cwd": "/\0"},
        {"env": {"A": "\0"}},
        {"env": {"": "x"}},
        {"env": {"A=B": "x"}},
    ],
    ids=repr,
)
def test_what_no_kernel_would_run_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PyroError) as caught:
        replace(REQUEST, **changes)
    assert caught.value.code is ErrorCode.INVALID


def test_a_configuration_holds_what_makes_a_guest_itself() -> None:
    body = CONFIG.body()
    clock_ns, entropy, machine_id, length = struct.unpack_from(wire.CONFIGURE_FORMAT, body)
    assert clock_ns > 10**18
    assert entropy == CONFIG.entropy
    assert machine_id == b"0123456789abcdef" * 2
    assert body[struct.calcsize(wire.CONFIGURE_FORMAT) :] == b"vm-abc"
    assert length == 6


def test_what_is_not_always_needed_follows_as_json() -> None:
    network = GuestNetwork(InterfaceAddress("10.0.2.15", 24, "10.0.2.2"), None, ("10.0.2.3",), 1500)
    body = replace(CONFIG, network=network, root=RootDisk.ATTACH).body()
    rest = decode_trusted(body[struct.calcsize(wire.CONFIGURE_FORMAT) + len(CONFIG.hostname) :])
    assert rest == {"network": network.to_json(), "root": "attach"}


def test_each_configuration_has_entropy_of_its_own_that_its_text_does_not_show() -> None:
    other = GuestConfig(hostname="vm-abc", machine_id="0" * 32)
    assert CONFIG.entropy != other.entropy
    assert str(CONFIG.entropy) not in repr(CONFIG)


@pytest.mark.parametrize(
    "changes",
    [{"hostname": ""}, {"hostname": "x" * 65}, {"hostname": "ü"}, {"machine_id": "0" * 31}, {"entropy": b"short"}],
    ids=repr,
)
def test_a_configuration_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PyroError) as caught:
        replace(CONFIG, **changes)
    assert caught.value.code is ErrorCode.INVALID


@pytest.mark.parametrize("code", sorted(wire.FAILURE_CODES))
def test_every_code_of_the_agent_has_a_meaning(code: str) -> None:
    error = failure_error({"code": code, "message": "words", "exit_code": 127}, "run the command", REQUEST)
    assert error.code is not ErrorCode.PROTOCOL
    assert error.details["agent_code"] == code
    assert error.details["exit_code"] == 127


def test_an_exit_code_that_no_shell_gives_is_not_passed_on() -> None:
    error = failure_error({"code": wire.COMMAND_NOT_FOUND, "exit_code": 0}, "run the command", REQUEST)
    assert "exit_code" not in error.details


def test_a_cancelled_token_wakes_every_watcher_whenever_it_watches() -> None:
    token = CancelToken()
    with token.watch() as before:
        thread = threading.Thread(target=token.cancel)
        thread.start()
        thread.join()
        with token.watch() as after:
            assert os.eventfd_read(before) == os.eventfd_read(after) == 1
    token.cancel()
    assert token.cancelled
    with pytest.raises(PyroError) as caught:
        token.check()
    assert caught.value.code is ErrorCode.CANCELLED


def test_a_stream_is_acknowledged_in_large_steps_once_it_was_taken() -> None:
    taken = bytearray()
    receiver = Receiver(Stream.STDOUT, wire.STDOUT_STREAM, lambda _, data: taken.extend(data))
    half = bytes(wire.CREDIT_BYTES // 2)
    assert receiver.take(half) == 0
    # A stream that lasts gets more room, and is acknowledged in larger steps.
    assert receiver.take(half) > wire.CREDIT_BYTES
    assert receiver.received_bytes == len(taken) == wire.CREDIT_BYTES
    pieces = [receiver.take(half) for _ in range(8)]
    assert [piece for piece in pieces if piece] == [sum(map(len, [half] * 8))]


def test_more_of_a_stream_than_fits_into_its_window_is_a_breach() -> None:
    receiver = Receiver(Stream.STDERR, wire.STDERR_STREAM, None)
    with pytest.raises(PyroError) as caught:
        receiver.take(bytes(wire.WINDOW_BYTES + 1))
    assert caught.value.code is ErrorCode.PROTOCOL
    assert "stderr" in caught.value.message


def test_stdin_is_read_as_far_as_the_window_goes_and_then_as_far_as_it_was_taken() -> None:
    pump = Pump(bytes(wire.WINDOW_BYTES + 10))
    read = 0
    while pump.wanted:
        read += len(pump.read() or b"")
    assert read == wire.WINDOW_BYTES
    assert not pump.credit(wire.WINDOW_BYTES + 1)
    assert not pump.credit(0)
    assert pump.credit(100)
    assert pump.read() == bytes(10)
    assert pump.read() == b""
    assert not pump.wanted


def test_a_descriptor_that_can_not_be_read_is_an_empty_stdin() -> None:
    directory = os.open("/", os.O_RDONLY)
    try:
        assert Pump(directory).read() == b""
    finally:
        os.close(directory)
