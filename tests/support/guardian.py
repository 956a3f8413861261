"""Kills what a test process leaves running when it is killed itself.

pytest cannot clean up after SIGKILL, and a detached keeper or agent outlives it by design. Each test process therefore
starts one guardian, which waits for it to end and then kills every process that names one of its directories.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.process.identity import ProcessStat, all_processes, tree_of
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 20.0


@contextmanager
def guarded(*directories: Path) -> Generator[None]:
    """Have everything that uses `directories` killed, and the first of them removed, if this process is killed."""
    watched = os.pidfd_open(os.getpid())
    since = process.start_time(os.getpid()) or 0
    try:
        with process.start(
            [sys.executable, "-m", "tests.support.guardian", str(watched), str(since), *map(str, directories)],
            pass_fds=[watched],
            cwd=ROOT,
            stderr=None,
        ):
            yield
    finally:
        os.close(watched)


def users_of(directories: Sequence[str], *, since: int) -> list[ProcessStat]:
    """Return the processes, started at `since` or later, that name one of `directories`, and their descendants."""
    names = re.compile(b"|".join(re.escape(os.fsencode(each)) + rb"(?=[/\0]|$)" for each in directories))
    found: dict[int, ProcessStat] = {}
    for each in all_processes():
        if each.start_time >= since and any(names.search(text) for text in _texts(each.pid)):
            found |= {member.pid: member for member in (each, *tree_of(each.pid))}
    return [each for each in found.values() if each.pid != os.getpid() and not each.is_dead]


def _texts(pid: int) -> Generator[bytes]:
    """Yield the command line, the environment, the working directory and the open files of a process."""
    for name in ("cmdline", "environ"):
        with suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
            yield file.read()
    with suppress(OSError):
        yield os.readlink(os.fsencode(f"/proc/{pid}/cwd"))
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(os.fsencode(f"/proc/{pid}/fd/{name}"))


def main() -> None:
    watched, since, *directories = sys.argv[1:]
    # Ctrl-C is for the test process; the guardian has to see how that ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poller = select.poll()
    poller.register(int(watched), select.POLLIN)
    poller.poll()

    def nothing_left() -> bool:
        users = users_of(directories, since=int(since))
        for each in users:
            process.kill(each.pid, each.start_time)
        return not users

    with suppress(PyroError):
        wait_until(nothing_left, timeout_s=TIMEOUT_S, what="the processes of a killed test run to end")
    remove_tree(Path(directories[0]))


if __name__ == "__main__":
    main()
