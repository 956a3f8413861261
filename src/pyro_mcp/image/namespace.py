"""The namespaces in which root file systems are built, by root or an ordinary user.

An ordinary user becomes root of a user namespace: uid 0 there is the user, uids from 1 on are the range in /etc/subuid.
Mount and PID namespaces are used in both cases, so that no mount and no process outlives a build, however it ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import durable, process, programs

_PROBE_TIMEOUT_S = 20.0
_REMOVE_TIMEOUT_S = 300.0
_UNSHARE = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
_MAPPED = ("--user", "--map-auto", "--map-root-user")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Runs commands as root of a tree, with a command `prefix`."""

    prefix: tuple[str, ...]
    mapped: bool

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> process.Completed:
        """Run a program in the namespaces to completion."""
        return process.run(
            [*self.prefix, *argv],
            timeout_s=timeout_s,
            env=env,
            check=check,
            # mmdebstrap fails where the caller's directory is gone; every path here is absolute.
            cwd="/",
            max_output_bytes=64 * 1024 * 1024,
            parent_death_signal=signal.SIGKILL,
        )

    def stream(
        self,
        argv: Sequence[str | Path],
        *,
        on_line: Callable[[str], None],
        timeout_s: float,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a long program in the namespaces and return its status; it dies with this process."""
        return process.stream(
            [*self.prefix, *argv],
            on_line=on_line,
            timeout_s=timeout_s,
            env=env,
            check=False,
            cwd="/",
            # unshare ignores SIGTERM; with its end the PID namespace ends, and the mounts with that.
            grace_s=0.0,
            parent_death_signal=signal.SIGKILL,
        )

    def remove_tree(self, path: Path) -> None:
        """Remove a tree that was created in the namespaces, if it exists."""
        if self.mapped and os.path.lexists(path):
            self.run(["rm", "-rf", "--one-file-system", "--", path], timeout_s=_REMOVE_TIMEOUT_S)
        durable.remove_tree(path)


def enter_namespace() -> Namespace:
    """Return the namespaces that are available to this user.

    Raises:
        PyroError: PERMISSION, with a remedy, if an ordinary user can't create them; MISSING_PROGRAM.
    """
    mapped = os.geteuid() != 0
    programs.find_program("unshare")
    if mapped:
        programs.find_program("newuidmap")
    prefix = (*_UNSHARE, *(_MAPPED if mapped else ()), "--")
    done = process.run([*prefix, "true"], timeout_s=_PROBE_TIMEOUT_S, check=False)
    if done.returncode == 0:
        return Namespace(prefix, mapped)
    if not mapped:
        # Root in a container without CAP_SYS_ADMIN: mmdebstrap copes, with a warning.
        return Namespace((), mapped=False)
    reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise PyroError(
        ErrorCode.PERMISSION,
        "this user can't make the user namespace in which an image is built: "
        + (reason[-1] if reason else f"unshare ended with {done.returncode}"),
        hint=_way_out(),
    )


def _way_out() -> str:
    user = _user_name()
    if not _has_range("/etc/subuid", user) or not _has_range("/etc/subgid", user):
        return (
            f"Give {user} a range of subordinate ids: "
            f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        )
    return (
        "Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 and, where it exists, "
        "kernel.apparmor_restrict_unprivileged_userns=0), or run the command as root."
    )


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _has_range(path: str, user: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            owners = {line.partition(":")[0] for line in file}
    except OSError:
        return False
    return user in owners or str(os.geteuid()) in owners
