"""What a chat host needs of us, and what its configuration says: the types that all of them share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from shutil import which
from typing import Any

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process

SERVER = "pyro"
#: What a call may last.
LONG_CALL_S = 3600
_VERSION_TIMEOUT_S = 30


class Scope(StrEnum):
    """Where an entry holds: for this user, for everybody in this project, or for this user in this project."""

    USER = "user"
    PROJECT = "project"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Place:
    """A file that may have an entry, and the keys that lead to it."""

    scope: Scope
    path: Path
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry for our server: where it stands, what it starts, and whether the host uses it."""

    place: Place
    command: tuple[str, ...]
    enabled: bool
    approves: bool
    #: The variables that its server gets; None: those that the host passes to any.
    variables: tuple[str, ...] | None = None
    #: After how many seconds the host gives a call up, whatever its progress; None: not at all.
    gives_up_after_s: float | None = None
    #: The variables that the entry sets.
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    #: What keeps the host from using it, and what a person may want to know.
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The directories that a host looks at."""

    home: Path
    directory: Path
    variables: Mapping[str, str]

    @staticmethod
    def observe() -> Surroundings:
        """Return this process's own."""
        return Surroundings(Path.home(), Path.cwd(), os.environ)

    def path_of(self, variable: str, default: Path) -> Path:
        """Return the directory that a variable names, or the default."""
        return Path(self.variables.get(variable) or default)

    def project(self) -> Path:
        """Return the top of the git checkout around the directory, or the directory."""
        for each in (self.directory, *self.directory.parents):
            if (each / ".git").exists():
                return each
        return self.directory

    def inside_project(self) -> list[Path]:
        """Return the directory and those around it, up to the top of the project."""
        around = [self.directory, *self.directory.parents]
        return around[: around.index(self.project()) + 1]


class Host(ABC):
    """One chat host: how it is called, and where and how it keeps its servers."""

    name: str
    title: str
    program: str
    #: Those that the host has; the first is the default.
    scopes: tuple[Scope, ...]
    #: The releases that this was tried with.
    tested: str
    #: The variables that a server gets from the host; None: all.
    passed_variables: tuple[str, ...] | None = None
    #: Where it keeps what servers write to stderr, if it does.
    logs: str = ""
    #: The revision of MCP that it speaks first.
    revision: str
    #: Whether it puts an entry together from several files, key by key.
    merges: bool = False

    def __init__(self, around: Surroundings) -> None:
        self.around = around

    @property
    def executable(self) -> str | None:
        """Return where its program is, if it is installed."""
        return which(self.program, path=self.around.variables.get("PATH"))

    def version(self) -> str:
        """Return what the installed program says of its version; "" if it says nothing."""
        if self.executable is None:
            return ""
        try:
            said = process.run([self.executable, "--version"], timeout_s=_VERSION_TIMEOUT_S, check=False).text.strip()
        except PyroError:
            return ""
        return said.splitlines()[0][:100] if said else ""

    def scope_of(self, wanted: str | None) -> Scope:
        """Return the scope, or the default.

        Raises:
            PyroError: INVALID if the host does not have it.
        """
        if wanted is None:
            return self.scopes[0]
        if wanted not in self.scopes:
            raise PyroError(
                ErrorCode.INVALID,
                f"{self.title} has no scope {wanted!r}",
                hint=f"Use {' or '.join(self.scopes)}.",
            )
        return Scope(wanted)

    @abstractmethod
    def places(self) -> list[Place]:
        """Return the place of each scope's entry, the one that wins first."""

    def layers(self) -> list[Place]:
        """Return every place that the host reads here, the one that wins first."""
        return self.places()

    @abstractmethod
    def table(self, place: Place) -> dict[str, Any] | None:
        """Return the keys of the entry at a place.

        Raises:
            PyroError: INVALID if the file is broken.
        """

    @abstractmethod
    def entry(self, place: Place, table: dict[str, Any]) -> Entry:
        """Return what the keys of an entry say."""

    def remarks(self) -> list[str]:
        """Return what else a person may want to know about the host here."""
        return []

    @abstractmethod
    def connect(self, scope: Scope, command: Sequence[str], *, approve: bool) -> list[Path]:
        """Write the entry; return the files that changed.

        Raises:
            PyroError: INVALID if a file is broken; nothing is written then.
        """

    @abstractmethod
    def disconnect(self, scope: Scope) -> list[Path]:
        """Remove the entry and what `connect` approved; return the files that changed.

        Raises:
            PyroError: INVALID if a file is broken; nothing is written then.
        """

    def entries(self) -> list[Entry]:
        """Return all entries, the one that the host uses first.

        Raises:
            PyroError: INVALID if a file is broken.
        """
        held = [(place, table) for place in self.layers() if (table := self.table(place)) is not None]
        found = [self.entry(place, table) for place, table in held]
        if self.merges and held:
            whole: dict[str, Any] = {}
            for _, table in reversed(held):
                whole |= table
            found[0] = self.entry(held[0][0], whole)
        return found

    def entry_of(self, scope: Scope) -> Entry | None:
        """Return the entry of a scope, whether the host uses it or not.

        Raises:
            PyroError: INVALID if the file is broken.
        """
        place = self.place_of(scope)
        table = self.table(place)
        return None if table is None else self.entry(place, table)

    def place_of(self, scope: Scope) -> Place:
        """Return the place of a scope's entry."""
        return next(place for place in self.places() if place.scope is scope)
