"""Lanes: who may talk to a guest at the same time."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.transport import LaneUse
from pyro_mcp.vmm.driver import COMMAND_LANES, LANES, SHORT_LANES
from pyro_mcp.vmm.transport import LaneConnection, LaneTransport, lane_path, listen_lanes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Generator[Path]:
    with ExitStack() as stack:
        for listener in listen_lanes(tmp_path):
            stack.enter_context(listener)
        yield tmp_path


def refusal(runtime_dir: Path, timeout_s: float = 0.0, use: LaneUse = LaneUse.SHORT) -> PyroError:
    with pytest.raises(PyroError) as caught:
        LaneTransport(runtime_dir).connect(timeout_s=timeout_s, use=use)
    return caught.value


def commands(transport: LaneTransport, stack: ExitStack) -> list[LaneConnection]:
    return [stack.enter_context(transport.connect(timeout_s=1, use=LaneUse.COMMAND)) for _ in range(COMMAND_LANES)]


def test_sixteen_commands_get_a_lane_each_and_the_seventeenth_is_told_to_wait(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    with ExitStack() as stack:
        peers = {connection.socket.getpeername() for connection in commands(transport, stack)}
        assert len(peers) == COMMAND_LANES == 16
        for timeout_s in (0.0, 0.05):
            error = refusal(runtime_dir, timeout_s, LaneUse.COMMAND)
            assert error.code is ErrorCode.BUSY
            assert "16 commands" in error.message
            assert str(runtime_dir) not in error.message
            assert error.hint


def test_short_calls_and_a_stop_have_lanes_that_commands_do_not_take(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    with ExitStack() as stack:
        commands(transport, stack)
        for _ in range(SHORT_LANES):
            stack.enter_context(transport.connect(timeout_s=1))
        assert refusal(runtime_dir).code is ErrorCode.BUSY
        stack.enter_context(transport.connect(timeout_s=1, use=LaneUse.STOP))
        assert refusal(runtime_dir, use=LaneUse.STOP).code is ErrorCode.BUSY


def test_a_lane_given_back_is_taken_by_who_waits(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    with ExitStack() as stack:
        first, *_ = commands(transport, stack)
        name = first.socket.getpeername()
        first.close()
        first.close()
        with transport.connect(timeout_s=1, use=LaneUse.COMMAND) as again:
            assert again.socket.getpeername() == name


def test_those_who_wait_get_lanes_in_their_order(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    served: list[int] = []
    with ExitStack() as stack:
        held = commands(transport, stack)
        # Left of a waiter that was killed: it holds nobody up.
        (runtime_dir / "lanes" / "command.00000000000000000001-1.lock").touch()

        def wait(number: int, waits: threading.Event) -> None:
            stack.enter_context(transport.connect(timeout_s=20, use=LaneUse.COMMAND, while_waiting=waits.set))
            served.append(number)

        threads: list[threading.Thread] = []
        for number in range(3):
            waits = threading.Event()
            threads.append(threading.Thread(target=wait, args=(number, waits)))
            threads[-1].start()
            assert waits.wait(10)
        for lane, thread in enumerate(threads):
            held[lane].close()
            thread.join(20)
    assert served == [0, 1, 2]
    assert not list((runtime_dir / "lanes").glob("command.*"))


def test_waiting_ends_with_what_the_callback_raises(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)

    def cancelled() -> None:
        raise PyroError(ErrorCode.CANCELLED, "the operation was cancelled")

    with ExitStack() as stack:
        commands(transport, stack)
        with pytest.raises(PyroError) as caught:
            transport.connect(timeout_s=20, use=LaneUse.COMMAND, while_waiting=cancelled)
        assert caught.value.code is ErrorCode.CANCELLED


def test_a_machine_of_an_older_version_has_the_first_lanes_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for listener in listen_lanes(tmp_path / "run", COMMAND_LANES):
            stack.enter_context(listener).listen(8)
        transport = LaneTransport(tmp_path / "run")
        for use in LaneUse:
            stack.enter_context(transport.connect(timeout_s=1, use=use))


def test_a_lane_is_free_again_when_connecting_failed(runtime_dir: Path) -> None:
    lane_path(runtime_dir, 0).unlink()
    assert refusal(runtime_dir, use=LaneUse.COMMAND).code is ErrorCode.GUEST_LOST
    # Not BUSY, sixteen times: no failure keeps a lane.
    for _ in range(LANES + 1):
        assert refusal(runtime_dir, use=LaneUse.COMMAND).code is ErrorCode.GUEST_LOST


def test_a_machine_that_has_ended_is_lost_whether_its_directory_is_there_or_not(tmp_path: Path) -> None:
    for listener in listen_lanes(tmp_path):
        listener.close()
    assert refusal(tmp_path).code is ErrorCode.GUEST_LOST
    assert refusal(tmp_path / "gone").code is ErrorCode.GUEST_LOST


def test_descriptors_are_not_inherited(runtime_dir: Path) -> None:
    with LaneTransport(runtime_dir).connect(timeout_s=1) as connection:
        assert not os.get_inheritable(connection.socket.fileno())


@pytest.mark.parametrize("name", ["x" * 120, "with a space", "ünï©ødé", "-leading", "new\nline"])
def test_any_directory_name_does(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    with ExitStack() as stack:
        for listener in listen_lanes(directory):
            stack.enter_context(listener)
        stack.enter_context(LaneTransport(directory).connect(timeout_s=1))


def test_lanes_are_private_and_made_once(runtime_dir: Path) -> None:
    assert lane_path(runtime_dir, 3).stat().st_mode & 0o777 == 0o600
    with pytest.raises(PyroError) as caught:
        listen_lanes(runtime_dir)
    assert caught.value.code is ErrorCode.CONFLICT


def test_a_lock_that_is_a_link_is_not_followed(runtime_dir: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    (runtime_dir / "lanes" / "0.lock").symlink_to(canary)
    assert refusal(runtime_dir, use=LaneUse.COMMAND).code is ErrorCode.INVALID
    assert canary.read_text() == "untouched"
