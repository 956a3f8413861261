"""Keepers: the small shell processes that outlive the caller and clean up behind a VMM.

They bound a VMM's time to live without a daemon.
A workspace's has the guest write its disks first when the host shuts down.

    sh keeper.sh                     keeps the console's end, removes what must vanish with the VMM
      setpriv … timeout … VMM        dies with the keeper; killed when the time to live is up
      tail                           holds the last 64 KiB of console output
    sh keeper.sh (a second one)      only if something must vanish when the time is up, however early the VMM ended
      sleep

The second one is a process of its own so that it holds none of the VMM's descriptors: a network helper, for
example, ends when the last copy of its socket is closed.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process, programs
from pyro_mcp.host.process import Child

SCRIPT = Path(__file__).with_name("keeper.sh")
CONSOLE = "console.log"
# The VMM is killed first, then its files go.
_AFTER_TTL_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a VMM, in the kernel's own terms (getrlimit(2)). It never dumps its core."""

    #: Private writable memory: the guest's, where it is mapped copy on write, and the VMM's own.
    data_bytes: int
    #: The largest size that it can give to a file.
    file_bytes: int
    files: int = 512

    @property
    def words(self) -> str:
        """Return them as a shell's ulimit takes them: kibibytes, and blocks of 512 bytes."""
        return f"c=0 n={self.files} d={-(-self.data_bytes // 1024)} f={-(-self.file_bytes // 512)}"


def start_keeper(
    command: Sequence[str],
    *,
    console: Path,
    ttl_s: float,
    remove: Sequence[Path],
    pass_fds: Sequence[int],
    user: int | None = None,
    groups: Sequence[int] = (),
    limits: Limits | None = None,
    flush: Sequence[str] = (),
    owned: bool = False,
) -> Child:
    """Start `command` under a keeper that removes the paths `remove` once it has ended. Detached.

    `user` (root only) is the uid and gid that the command gets, besides `groups`; the keeper itself stays what this
    process is. With `flush`, SIGTERM to both runs that command, for at most 5 seconds, before the VMM is killed. If
    `owned`, the command is killed as soon as this process ends, however that ends.

    Raises:
        PyroError: MISSING_PROGRAM, INVALID, UNAVAILABLE.
    """
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    owner = [] if user is None else [f"--reuid={user}", f"--regid={user}", more]
    # The death signal is lost when credentials change, and setpriv sets it after it changed them.
    bounded = [
        *(_program("setpriv"), *owner, "--pdeathsig", "KILL", "--"),
        *(_program("timeout"), "-s", "KILL", str(_whole_seconds(ttl_s))),
        *command,
    ]
    limited = "" if limits is None else limits.words
    flushed = f"exec {shlex.join(flush)}" if flush else ""
    words = ["0", os.fspath(console), limited, flushed, "owned" if owned else "", *_removals(remove), *bounded]
    return _start(words, pass_fds, stdin=process.lifeline() if owned else process.DEVNULL)


def start_remover(paths: Sequence[Path], *, after_s: float) -> Child:
    """Start a detached process that removes `paths` after `after_s` seconds, and does nothing else.

    Raises:
        PyroError: MISSING_PROGRAM, INVALID, UNAVAILABLE.
    """
    return _start([str(_whole_seconds(after_s) + _AFTER_TTL_S), os.devnull, "", "", "", *_removals(paths)], ())


def _start(arguments: list[str], pass_fds: Sequence[int], stdin: int = process.DEVNULL) -> Child:
    return process.start(
        ["/bin/sh", SCRIPT, *arguments],
        # Nothing of the caller's environment: it may hold secrets, and LD_PRELOAD or BASH_ENV would change what runs.
        env={"PATH": os.pathsep.join(programs.search_path())},
        cwd="/",
        stdin=stdin,
        pass_fds=pass_fds,
        umask=0o077,
        detached=True,
    )


def _removals(paths: Sequence[Path]) -> list[str]:
    for path in paths:
        text = os.fspath(path)
        # normpath(3) leaves two slashes at the start alone.
        if os.path.normpath(text) != text or not text.startswith("/") or text.startswith("//") or text.count("/") < 2:
            raise PyroError(
                ErrorCode.INVALID,
                f"{text!r} can't be left to a keeper to remove",
                hint="Name an absolute path below a directory, without dots.",
            )
    return [str(len(paths)), *map(os.fspath, paths)]


def _whole_seconds(seconds: float) -> int:
    # Not every timeout(1) and sleep(1) takes fractions, and 0 would mean for ever.
    return max(1, math.ceil(seconds))


def _program(name: str) -> str:
    return os.fspath(programs.find_program(name))
