"""A conversation is interrupted by signals, whenever and wherever they arrive."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import AgentSession
from pyro_mcp.host.waiting import wait_until
from tests.support.agents import PairTransport

if TYPE_CHECKING:
    from types import FrameType

# asm/unistd_64.h
_POLL = 7


class Interrupted(Exception):  # noqa: N818 - what a handler raises, as KeyboardInterrupt
    """The signal's handler ran."""


def test_a_signal_that_does_not_interrupt_the_poll_is_handled_before_its_end() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        handled.set()
        raise Interrupted

    handled = threading.Event()
    in_time: list[bool] = []
    transport = PairTransport()
    before = signal.signal(signal.SIGUSR1, interrupt)
    # The signal goes to another thread: this one's poll goes on, as it does when a signal arrives just before it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    main = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def polls() -> bool:
        return main.read_text().startswith(f"{_POLL} ")

    def send() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        wait_until(polls, timeout_s=10, what="the main thread to poll")
        os.kill(os.getpid(), signal.SIGUSR1)
        in_time.append(handled.wait(10))
        transport.theirs.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with AgentSession.open(transport, timeout_s=1) as session, pytest.raises(Interrupted):
            session.ready(timeout_s=60)
    finally:
        thread.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)
        transport.close()
    assert in_time == [True]
