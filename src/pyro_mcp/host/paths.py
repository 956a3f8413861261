"""The product's directories on this host: cache, state and runtime, all private to the user."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error, os_errors

PROGRAM = "pyro-mcp"
_STATE = ".local/state"


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one user of the product."""

    cache: Path
    state: Path
    runtime: Path

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Paths:
        """Choose the directories from `env` (default: this process's environment), without creating them."""
        if env is None:
            env = os.environ
        state = _choose(env, "PYRO_STATE_DIR", "XDG_STATE_HOME", _STATE)
        return cls(
            cache=_choose(env, "PYRO_ENVIRONMENT_CACHE_DIR", "XDG_CACHE_HOME", ".cache"),
            state=state,
            runtime=_choose_runtime(env, state),
        )

    @classmethod
    def below(cls, *, state: Path | None = None, cache: Path | None = None) -> Paths:
        """Choose the given directories, and those of the environment for the others."""
        env, known = dict(os.environ), cls.from_environment()
        if state is not None and os.path.abspath(state) != str(known.state):
            # A runtime directory that was chosen for another state directory can't be shared with it.
            env.pop("PYRO_RUNTIME_DIR", None)
            env["PYRO_STATE_DIR"] = str(state)
        if cache is not None:
            env["PYRO_ENVIRONMENT_CACHE_DIR"] = str(cache)
        return cls.from_environment(env)

    @property
    def boot(self) -> Path:
        """Return the directory of boot sources, one per digest."""
        return self.cache / "boot"

    @property
    def environments(self) -> Path:
        """Return the directory of installed environments."""
        return self.cache / "environments"

    @property
    def templates(self) -> Path:
        """Return the directory of VM templates, one per shape."""
        return self.cache / "templates"

    @property
    def locks(self) -> Path:
        """Return the directory of lock files for the cache's contents."""
        return self.cache / "locks"

    @property
    def tmp(self) -> Path:
        """Return the cache's staging directory, on the same file system, so that files can be renamed into place."""
        return self.cache / "tmp"

    @property
    def database(self) -> Path:
        """Return the state store's file."""
        return self.state / "state.db"

    @property
    def vms(self) -> Path:
        """Return the directory of VM directories (disks, logs)."""
        return self.state / "vms"

    @property
    def workspaces(self) -> Path:
        """Return the directory of workspace directories."""
        return self.state / "workspaces"

    @property
    def quarantine(self) -> Path:
        """Return the directory of unusable files, kept until the user removes them."""
        return self.state / "quarantine"

    @property
    def exports(self) -> Path:
        """Return the directory of notes on exports in progress, with their destinations."""
        return self.state / "exports"

    @property
    def runtime_vms(self) -> Path:
        """Return the directory of VM runtime directories (sockets)."""
        return self.runtime / "vms"


def _choose(env: Mapping[str, str], own: str, xdg: str, below_home: str) -> Path:
    if chosen := env.get(own):
        return Path(os.path.abspath(chosen))
    base = env.get(xdg, "")
    # The XDG specification requires relative paths to be ignored.
    if os.path.isabs(base):
        return Path(base) / PROGRAM
    return _home(env) / below_home / PROGRAM


def _choose_runtime(env: Mapping[str, str], state: Path) -> Path:
    if chosen := env.get("PYRO_RUNTIME_DIR"):
        return Path(os.path.abspath(chosen))
    uid = os.geteuid()
    name = PROGRAM + _suffix(state, uid)
    base = env.get("XDG_RUNTIME_DIR", "")
    # `sudo -E` and `su` leave another user's directory here, which must not be written to.
    if os.path.isabs(base) and _owned_directory(base, uid):
        return Path(base) / name
    if uid == 0:
        return Path("/run") / name
    return Path("/tmp") / f"{PROGRAM}-{uid}{name.removeprefix(PROGRAM)}"  # noqa: S108 - ensure_private_dir checks its owner


def _suffix(state: Path, uid: int) -> str:
    """Distinguish the runtime directories of a user's state directories: reconciling one ends VMs it does not know.

    The suffix depends only on the state directory, however it was chosen, so that all its users share one.
    """
    import pwd
    import zlib

    own = os.path.realpath(state)
    try:
        if own == os.path.realpath(os.path.join(pwd.getpwuid(uid).pw_dir, _STATE, PROGRAM)):
            return ""
    except KeyError:
        # A user without an entry has no default.
        pass
    return f"-{zlib.crc32(os.fsencode(own)):08x}"


def _owned_directory(path: str, uid: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME", "")
    if os.path.isabs(home):
        return Path(home)
    import pwd

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"user {os.geteuid()} has no home directory and HOME is not set",
            hint="Set HOME, or PYRO_ENVIRONMENT_CACHE_DIR and PYRO_STATE_DIR.",
        ) from None


def ensure_private_dir(path: Path) -> Path:
    """Create the directory `path` (mode 0700) and its parents if missing, and return it.

    An existing directory keeps its mode, but must belong to this user and not be writable by others. A symbolic link is
    accepted only if it belongs to the user, so that nobody else can plant one in a shared /tmp.

    Raises:
        PyroError: PERMISSION if it belongs to another user, is writable by others, or can't be created.
    """
    hint = "Use another directory with PYRO_ENVIRONMENT_CACHE_DIR, PYRO_STATE_DIR or PYRO_RUNTIME_DIR."
    try:
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            os.makedirs(path.parent, 0o700, exist_ok=True)
            os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise from_os_error(error, f"create the directory {path}", hint=hint) from error
    uid = os.geteuid()
    with os_errors(f"use the directory {path}", hint=hint):
        link = os.lstat(path)
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise PyroError(ErrorCode.INVALID, f"{path} is not a directory", hint=hint)
        if link.st_uid != uid or found.st_uid != uid:
            raise PyroError(ErrorCode.PERMISSION, f"{path} belongs to another user (uid {found.st_uid})", hint=hint)
        if found.st_mode & 0o022:
            # Not changed here: it may be a shared directory, such as /tmp, that was chosen by mistake.
            raise PyroError(
                ErrorCode.PERMISSION,
                f"{path} is writable by other users",
                hint=f"Run chmod go-w {path}, or use another directory.",
            )
    return path
