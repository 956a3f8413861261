"""Progress is said in lines, and never silent for long."""

from __future__ import annotations

import io
import os
import pty
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.cli.execution import progress_on
from pyro_mcp.host.progress import HEARTBEAT_S, Lines, Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Generator


class Listener(io.StringIO):
    """A stream on which a test can wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = threading.Semaphore(0)

    def write(self, text: str) -> int:
        count = super().write(text)
        for _ in range(text.count("\n")):
            self.lines.release()
        return count


@pytest.fixture
def terminal() -> Generator[tuple[int, io.TextIOWrapper]]:
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream:
        yield ours, stream
    os.close(ours)


def test_each_phase_is_a_line() -> None:
    stream = Listener()
    with Lines(stream) as progress:
        progress.phase("kernel", "unpacking linux")
        progress.advance(0.5, "module 7")
        progress.phase("done")
    assert stream.getvalue() == "[kernel] unpacking linux\n[done]\n"


def test_in_a_long_phase_a_line_says_how_far_it_is() -> None:
    stream = Listener()
    with Lines(stream, heartbeat_s=0.01) as progress:
        progress.phase("download")
        progress.advance(0.42, "base.img")
        for _ in range(3):
            assert stream.lines.acquire(timeout=30)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[download]"
    assert lines[2].startswith("[download] 42% base.img (")
    assert lines[2].endswith(" s)")


def test_silence_never_lasts_five_seconds() -> None:
    assert HEARTBEAT_S < 5


def test_a_fraction_out_of_bounds_is_brought_back() -> None:
    stream = Listener()
    with Lines(stream, heartbeat_s=0.01) as progress:
        progress.phase("copy")
        progress.advance(7.0)
        for _ in range(3):
            assert stream.lines.acquire(timeout=30)
    assert "[copy] 100% (" in stream.getvalue()


def test_a_reader_that_has_gone_does_not_stop_the_work() -> None:
    stream = Listener()
    stream.close()
    with Lines(stream) as progress:
        progress.phase("kernel")
        progress.phase("initramfs")
    assert stream.closed


def test_closing_twice_is_once_too_many_and_harmless() -> None:
    progress = Lines(Listener())
    progress.phase("kernel")
    progress.close()
    progress.close()
    assert "progress" not in [thread.name for thread in threading.enumerate()]


def test_nobody_hears_silent_progress(capfd: pytest.CaptureFixture[str]) -> None:
    progress: Progress = Silent()
    progress.phase("kernel", "x")
    progress.advance(0.5, "y")
    assert capfd.readouterr() == ("", "")


def test_a_pipe_gets_lines() -> None:
    with progress_on(Listener()) as progress:
        assert type(progress) is Lines


def test_a_terminal_gets_a_bar(terminal: tuple[int, io.TextIOWrapper]) -> None:
    fd, stream = terminal
    with progress_on(stream) as progress:
        assert type(progress) is not Lines
        progress.phase("kernel", "unpacking [linux]")
        progress.advance(0.5, "module 7")
        progress.phase("initramfs", "packing")
    text = os.read(fd, 100_000).decode()
    assert "[kernel]" in text
    assert "module 7" in text
    assert "[initramfs]" in text
