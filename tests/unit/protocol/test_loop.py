"""The loop calls what was registered, in its order, and waits for nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.protocol.loop import WRITABLE, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        os.close(fd)


@pytest.fixture
def loop() -> Generator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_events_come_first_then_answers_then_what_was_put_off(loop: Loop, pipe: tuple[int, int]) -> None:
    order: list[str] = []

    def on_event(mask: int) -> None:
        del mask
        os.read(pipe[0], 1)
        loop.later(lambda: order.append("later"))
        loop.flush_soon(lambda: order.append("flush"))
        order.append("event")

    loop.add(pipe[0], on_event)
    os.write(pipe[1], b"x")
    loop.step()
    assert order == ["event", "flush", "later"]


def test_what_is_removed_is_not_called_again(loop: Loop, pipe: tuple[int, int]) -> None:
    called: list[int] = []
    loop.add(pipe[1], called.append, WRITABLE)
    loop.step()
    loop.remove(pipe[1])
    loop.remove(pipe[1])
    loop.later(lambda: None)
    loop.step()
    assert len(called) == 1


def test_a_deadline_is_called_once_and_a_cancelled_one_never(loop: Loop) -> None:
    called: list[str] = []
    loop.cancel(loop.at(0.0, lambda: called.append("cancelled")))
    loop.at(0.001, lambda: called.append("first"))
    later = loop.at(0.002, lambda: called.append("second"))
    while len(called) < 2:
        loop.step()
    loop.cancel(later)
    assert called == ["first", "second"]


def test_a_deadline_may_cancel_another_that_is_due_too(loop: Loop) -> None:
    called: list[str] = []

    def first() -> None:
        called.append("first")
        loop.cancel(second)

    loop.at(0.0, first)
    second = loop.at(0.0, lambda: called.append("second"))
    loop.step()
    loop.later(lambda: None)
    loop.step()
    assert called == ["first"]


def test_an_error_in_one_event_leaves_the_others_for_the_next_step(loop: Loop, pipe: tuple[int, int]) -> None:
    reading, writing = os.pipe()
    seen: list[int] = []

    def fail(mask: int) -> None:
        del mask
        loop.remove(pipe[0])
        raise RuntimeError

    def on_event(mask: int) -> None:
        seen.append(mask)
        os.read(reading, 1)

    try:
        loop.add(pipe[0], fail)
        loop.add(reading, on_event)
        os.write(pipe[1], b"x")
        os.write(writing, b"x")
        with pytest.raises(RuntimeError):
            loop.step()
        if not seen:
            loop.step()
        assert len(seen) == 1
    finally:
        loop.remove(reading)
        os.close(reading)
        os.close(writing)


def test_an_event_of_a_closed_descriptor_does_not_reach_the_next_owner_of_its_number(loop: Loop) -> None:
    first, second = os.pipe(), os.pipe()
    seen: list[int] = []

    def replaces(own: int, other: int) -> Callable[[int], None]:
        # Both are readable in one batch: whichever comes first closes the other, whose number is used again.
        def on_event(mask: int) -> None:
            del mask
            loop.remove(own)
            loop.remove(other)
            os.close(other)
            os.dup2(fresh[0], other)
            loop.add(other, seen.append)

        return on_event

    fresh = os.pipe()
    loop.add(first[0], replaces(first[0], second[0]))
    loop.add(second[0], replaces(second[0], first[0]))
    for pipe in (first, second):
        os.write(pipe[1], b"x")
    loop.step()
    assert not seen
    for fd in (*first, *second, *fresh):
        os.close(fd)


def test_it_runs_until_it_is_told_not_to(loop: Loop) -> None:
    def stop() -> None:
        loop.running = False

    loop.later(stop)
    loop.run()
