"""Lanes: who may talk to a guest at the same time."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.vmm.driver import LANES
from pyro_mcp.vmm.transport import LaneTransport, lane_path, listen_lanes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Generator[Path]:
    with ExitStack() as stack:
        for listener in listen_lanes(tmp_path):
            stack.enter_context(listener)
        yield tmp_path


def refusal(runtime_dir: Path, timeout_s: float = 0.0) -> PyroError:
    with pytest.raises(PyroError) as caught:
        LaneTransport(runtime_dir).connect(timeout_s=timeout_s)
    return caught.value


def test_sixteen_callers_get_a_lane_each_and_the_seventeenth_is_told_to_wait(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    with ExitStack() as stack:
        connections = [stack.enter_context(transport.connect(timeout_s=1)) for _ in range(LANES)]
        peers = {connection.socket.getpeername() for connection in connections}
        assert len(peers) == LANES
        for timeout_s in (0.0, 0.05):
            error = refusal(runtime_dir, timeout_s)
            assert error.code is ErrorCode.BUSY
            assert error.hint


def test_a_lane_given_back_is_taken_by_who_waits(runtime_dir: Path) -> None:
    transport = LaneTransport(runtime_dir)
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(transport.connect(timeout_s=1)) for _ in range(LANES)]
        name = first.socket.getpeername()
        first.close()
        first.close()
        with transport.connect(timeout_s=1) as again:
            assert again.socket.getpeername() == name


def test_a_lane_is_free_again_when_connecting_failed(runtime_dir: Path) -> None:
    lane_path(runtime_dir, 0).unlink()
    assert refusal(runtime_dir).code is ErrorCode.GUEST_LOST
    # Not BUSY, sixteen times: no failure keeps a lane.
    for _ in range(LANES + 1):
        assert refusal(runtime_dir).code is ErrorCode.GUEST_LOST


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
    assert refusal(runtime_dir).code is ErrorCode.INVALID
    assert canary.read_text() == "untouched"
