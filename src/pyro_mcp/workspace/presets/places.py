"""Where the configuration of package clients is read from: an environment's image, or this host.

Everything is read with a limit, and what can't be read counts as missing: a client that is set up in an unreadable
file would not work either.
"""

from __future__ import annotations

import fnmatch
import hashlib
import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pyro_mcp.host.files import closing_fd
from pyro_mcp.host.programs import search_path
from pyro_mcp.image.reading import ImageFiles

MAX_FILE_BYTES = 1024**2
_MAX_PROGRAM_BYTES = 256 * 1024**2
_MAX_MATCHES = 64
_MAX_NAMES = 4096


class Place(Protocol):
    """A file tree and the variables that its programs see."""

    label: str
    variables: Mapping[str, str]

    def data(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return a file's first `max_bytes`, or None."""
        ...

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, at most some thousands; none if there is no such directory."""
        ...

    def prefixes(self, program: str) -> list[str]:
        """Return the directories in which `program` may have been installed: `/usr` for `/usr/bin/PROGRAM`."""
        ...

    def search(self, path: str, pattern: bytes) -> list[bytes]:
        """Return what a pattern finds in a program of any usual size."""
        ...

    def variable(self, name: str) -> str:
        """Return a variable that a file refers to, or ""."""
        ...

    @property
    def homes(self) -> list[str]:
        """Return the home directories of the users whose configuration counts."""
        ...


_SETTINGS = (
    "BUNDLE_", "CARGO_", "GEM", "GIT_CONFIG_", "GO", "HOME", "M2_", "MAVEN_", "NPM_CONFIG_", "PATH", "PIP_", "RUSTUP_",
    "UV_", "VIRTUAL_ENV", "XDG_CONFIG_", "YARN_",
)  # fmt: skip
_PREFIXES = ["/usr/local", "/usr"]


class ImagePlace:
    """An environment's image. Its commands run as root, with the environment's variables."""

    label = "in the environment"

    def __init__(self, files: ImageFiles, variables: Mapping[str, str]) -> None:
        self._files = files
        self.variables = variables

    @property
    def homes(self) -> list[str]:
        """Return the home directory of root."""
        return [self.variables.get("HOME", "/root")]

    def variable(self, name: str) -> str:
        """Return a variable that a file refers to, or ""."""
        return self.variables.get(name, "")

    def data(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return a file's first `max_bytes`, or None."""
        try:
            return self._files.read(path, max_bytes)
        except (OSError, ValueError):
            return None

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory; none if there is no such directory."""
        try:
            return self._files.names(directory)[:_MAX_NAMES]
        except (OSError, ValueError):
            return []

    def prefixes(self, program: str) -> list[str]:  # noqa: ARG002 - the image of an environment has no other
        """Return the directories in which a program may have been installed."""
        return list(_PREFIXES)

    def search(self, path: str, pattern: bytes) -> list[bytes]:
        """Return what a pattern finds in a program of any usual size."""
        return re.findall(pattern, self.data(path, _MAX_PROGRAM_BYTES) or b"")


class HostPlace:
    """This host, as its user has set it up. `root` is another directory in tests.

    `seen` has a stamp of each file, directory and variable that was looked for: while none of them, and none of
    `settings`, has changed, neither has the result.
    """

    label = "on the host"

    def __init__(self, variables: Mapping[str, str] | None = None, root: Path = Path("/")) -> None:
        self.variables = os.environ if variables is None else variables
        self.seen: dict[str, str] = {}
        self._root = root

    @property
    def homes(self) -> list[str]:
        """Return the user's home directory."""
        home = self.variables.get("HOME", "")
        return [home] if os.path.isabs(home) else []

    def variable(self, name: str) -> str:
        """Return a variable that a file refers to, or ""."""
        self.seen[f"${name}"] = self.stamp(f"${name}")
        return self.variables.get(name, "")

    def data(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Return a file's first `max_bytes`, or None."""
        try:
            # O_NONBLOCK: opening a fifo would wait for its other end.
            fd = os.open(self._see(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        with closing_fd(fd):
            try:
                return os.pread(fd, max_bytes, 0)
            except OSError:
                return None

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory; none if there is no such directory."""
        try:
            return sorted(os.listdir(self._see(directory)))[:_MAX_NAMES]
        except (OSError, ValueError):
            return []

    def prefixes(self, program: str) -> list[str]:
        """Return the directories in which `program` may have been installed, the one on PATH first."""
        found: list[str] = []
        for directory in self._search_path():
            candidate = self._see(os.path.join(directory, program))
            if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
                # Links often lead to where the program's other files are, and as often away from them.
                real = Path(os.path.realpath(candidate)).parents
                found += [self._inside(parent) for parent in (candidate.parent.parent, *real[:4])]
        return list(dict.fromkeys([*found, *_PREFIXES]))

    def search(self, path: str, pattern: bytes) -> list[bytes]:
        """Return what a pattern finds in a program of any usual size."""
        try:
            fd = os.open(self._see(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return []
        with closing_fd(fd):
            try:
                size = min(os.fstat(fd).st_size, _MAX_PROGRAM_BYTES)
                with mmap.mmap(fd, size, prot=mmap.PROT_READ) as data:
                    return re.findall(pattern, data)
            except (OSError, ValueError):
                return []

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Return the variables that clients read."""
        return sorted(pair for pair in self.variables.items() if pair[0].upper().startswith(_SETTINGS))

    def stamp(self, path: str) -> str:
        """Return a text that changes with a file or directory, "" if there is none; for `$NAME`, with a variable."""
        if path.startswith("$"):
            # A digest, since a value may be a password.
            return hashlib.sha256(self.variables.get(path[1:], "").encode("utf-8", "surrogateescape")).hexdigest()
        try:
            found = os.stat(self._at(path))
        except (OSError, ValueError):
            return ""
        return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"

    def _see(self, path: str) -> Path:
        if path not in self.seen:
            self.seen[path] = self.stamp(path)
        return self._at(path)

    def _search_path(self) -> list[str]:
        if self.variables is os.environ:
            return search_path()
        return [part for part in self.variables.get("PATH", "").split(os.pathsep) if os.path.isabs(part)]

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _inside(self, path: Path) -> str:
        root = Path(os.path.realpath(self._root))
        for base in (self._root, root):
            if path.is_relative_to(base):
                return "/" + os.fspath(path.relative_to(base)).strip(".")
        return os.fspath(path)


def text_of(place: Place, path: str) -> str | None:
    """Return a file's text, or None."""
    data = place.data(path)
    return None if data is None else data.decode("utf-8", "replace")


def matching(place: Place, pattern: str) -> list[str]:
    """Return the files whose path matches a pattern with `*` within its parts; a plain path is returned as it is."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        if "*" in part:
            found = [
                f"{base}/{name}" for base in found for name in place.names(base or "/") if fnmatch.fnmatch(name, part)
            ][:_MAX_MATCHES]
        else:
            found = [f"{base}/{part}" for base in found]
    return found
