"""Keepers: small shell processes that outlive the caller and clean up after a VMM.

They enforce a VMM's time to live without a daemon. A workspace's keeper first flushes the guest's disks when the host
shuts down.

    sh keeper.sh                     saves the end of the console, removes paths when the VMM ends
      setpriv … timeout … VMM        dies with the keeper; killed when the time to live expires
      tail                           buffers the last 64 KiB of console output
    sh keeper.sh (a second one)      only if paths must be removed at expiry, even if the VMM ended earlier
      sleep

The second one is a separate process so that it has none of the VMM's descriptors: a network helper, for example, ends
when the last copy of its socket is closed.
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
# The VMM is killed before its files are removed.
_AFTER_TTL_S = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The resource limits of a VMM (getrlimit(2)). Core dumps are disabled."""

    #: Private writable memory: the guest's, where it is mapped copy on write, and the VMM's own.
    data_bytes: int
    #: The maximum size of a file that it can create.
    file_bytes: int
    files: int = 512

    @property
    def words(self) -> str:
        """Return them in the units of the shell's ulimit: kibibytes, and blocks of 512 bytes."""
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
    """Start `command` under a detached keeper that removes the paths `remove` when the command has ended.

    `user` (root only) is the uid and gid of the command, with the supplementary `groups`; the keeper keeps this
    process's identity. With `flush`, SIGTERM to both runs that command, for at most 5 seconds, before the VMM is
    killed. If `owned`, the command is killed when this process ends for any reason.

    Raises:
        PyroError: MISSING_PROGRAM, INVALID, UNAVAILABLE.
    """
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    owner = [] if user is None else [f"--reuid={user}", f"--regid={user}", more]
    # A change of credentials clears the parent death signal, but setpriv sets it after changing them.
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
    """Start a detached process that only removes `paths` after `after_s` seconds.

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
        # normpath keeps two leading slashes.
        if os.path.normpath(text) != text or not text.startswith("/") or text.startswith("//") or text.count("/") < 2:
            raise PyroError(
                ErrorCode.INVALID,
                f"a keeper can't remove {text!r}",
                hint="Use a normalized absolute path that is not directly below /.",
            )
    return [str(len(paths)), *map(os.fspath, paths)]


def _whole_seconds(seconds: float) -> int:
    # Not every timeout(1) and sleep(1) supports fractions, and 0 would mean forever.
    return max(1, math.ceil(seconds))


def _program(name: str) -> str:
    return os.fspath(programs.find_program(name))
