"""Restrict the host paths that an operation may use on behalf of a model.

The user's own command line or program may name any path. A model may not: over MCP, every host path is below a
directory that the server was given, symbolic links do not lead outside, and files that a tool of the host would run
are not written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.fields import with_host_paths
from pyro_mcp.operations.project import Project
from pyro_mcp.trees.entries import Kind as EntryKind
from pyro_mcp.trees.hooks.home import home_rule_for
from pyro_mcp.trees.hooks.table import rule_for
from pyro_mcp.trees.source import checkout_around

Q = TypeVar("Q")


def current_checkout() -> Path | None:
    """Return the git checkout around the current directory."""
    try:
        return checkout_around(Path(os.path.realpath(Path.cwd())))
    except OSError:
        # The current directory was deleted.
        return None


def host_access(allow_paths: Iterable[str | os.PathLike[str]], project: Project | None = None) -> HostAccess:
    """Return the access of a server: its project, the checkout around the current directory, and `allow_paths`.

    Raises:
        PyroError: INVALID if one of `allow_paths` is not a directory.
    """
    named = None if project is None else project.path
    roots = list(dict.fromkeys(each for each in (named, current_checkout()) if each is not None))
    for given in allow_paths:
        path = Path(os.path.abspath(Path(given).expanduser()))
        if not path.is_dir():
            raise PyroError(
                ErrorCode.INVALID, f"--allow-path {path} is not a directory", hint="Name a directory that exists."
            )
        roots.append(path)
    return HostAccess(tuple(roots), project)


@dataclass(frozen=True, slots=True)
class HostAccess:
    """The directories that host paths must be below. Relative paths start in the first one.

    `project` is the seed of workspaces if no path is given.
    """

    roots: tuple[Path, ...]
    project: Project | None = None

    def applied(self, request: Q) -> Q:
        """Return a request with its host paths absolute.

        Raises:
            PyroError: PERMISSION for a path that is not allowed.
        """
        return with_host_paths(request, lambda path, is_output: str((self.output if is_output else self.source)(path)))

    def source(self, given: str) -> Path:
        """Return a path to read. Links are followed, as long as they stay below the roots."""
        path = self._absolute(given)
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(os.path.realpath(root)) for root in self.roots):
            raise self._refusal(path)
        return path

    def output(self, given: str) -> Path:
        """Return a path to write: below a root, with no link on the way, and not a file that a host tool would run."""
        path = self._absolute(given)
        for root in self.roots:
            real_root = Path(os.path.realpath(root))
            for base in (root, real_root):
                if path == base or not path.is_relative_to(base):
                    continue
                inner = path.relative_to(base)
                if Path(os.path.realpath(real_root / inner.parent)) != real_root / inner.parent:
                    raise PyroError(
                        ErrorCode.PERMISSION,
                        f"{path} leads through a symbolic link",
                        hint="Over MCP, output paths must not contain links. Give the path that the link points to.",
                    )
                self._refuse_hook(os.fsencode(Path(real_root.name) / inner), path)
                return real_root / inner
        raise self._refusal(path)

    def _absolute(self, given: str) -> Path:
        path = Path(given).expanduser()
        return Path(os.path.abspath(self.roots[0] / path if self.roots else path))

    def _refuse_hook(self, name: bytes, path: Path) -> None:
        rule = rule_for(name, EntryKind.FILE) or home_rule_for(name)
        if rule is not None and not rule.is_instruction:
            raise PyroError(
                ErrorCode.PERMISSION,
                f"{path} is not written over MCP: {rule.tool} would run it automatically",
                hint="Export it under another name; a person can read it and move it there.",
            )

    def _refusal(self, path: Path) -> PyroError:
        allowed = ", ".join(map(str, self.roots))
        where = f"It may use paths below {allowed}." if allowed else "It was started outside a git checkout."
        return PyroError(
            ErrorCode.PERMISSION,
            f"this MCP server may not use {path}",
            hint=f"{where} To allow others, start the server with `pyro mcp serve --allow-path {path.parent}`.",
            details={"path": str(path), "allowed": [str(root) for root in self.roots]},
        )
