"""The project that the workspaces of an MCP server start from, unless a call names another seed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.workspace import SeedOrigin
from pyro_mcp.trees.entries import WAYS_OUT, SeedRules
from pyro_mcp.trees.hooks.git_config import without_user
from pyro_mcp.trees.source import checkout_around


@dataclass(frozen=True, slots=True)
class Project:
    """A checkout or directory of this host, or a repository that is cloned for each workspace."""

    path: Path | None = None
    repo_url: str = ""
    repo_ref: str | None = None

    @property
    def text(self) -> str:
        """Return a short description of it."""
        if self.path is not None:
            return f"the current project at {self.path}" + (", git-tracked files only" if self.is_checkout else "")
        ref = f" at {self.repo_ref}" if self.repo_ref else ""
        return f"a clean clone of {without_user(self.repo_url)}{ref}"

    @property
    def is_checkout(self) -> bool:
        """Say whether only files that git tracks are taken."""
        return self.path is not None and checkout_around(self.path) == self.path

    def seed(self, rules: SeedRules) -> dict[str, Any]:
        """Return the fields of a `WorkspaceSpec` for this seed, with the rules of a call.

        Raises:
            PyroError: NOT_FOUND if the directory is gone.
        """
        if self.path is not None:
            if not self.path.is_dir():
                raise PyroError(ErrorCode.NOT_FOUND, f"the project {self.path} is gone", hint=WAYS_OUT)
            return {
                "seed": self.path,
                "seed_rules": replace(rules, tracked_only=self.is_checkout),
                "origin_kind": SeedOrigin.PROJECT_PATH,
                "origin_ref": os.fspath(self.path),
            }
        from pyro_mcp.trees.checkouts.clone import CloneSource

        ref = without_user(self.repo_url) + (f"@{self.repo_ref}" if self.repo_ref else "")
        source = CloneSource(self.repo_url, self.repo_ref, rules.exclude)
        return {"seed": source, "origin_kind": SeedOrigin.REPO_URL, "origin_ref": ref}


def find_project(
    *,
    project_path: str | os.PathLike[str] | None = None,
    repo_url: str | None = None,
    repo_ref: str | None = None,
    no_project_source: bool = False,
    checkout: Path | None = None,
) -> Project | None:
    """Return the project of a server: the given one, else the `checkout` that it was started in, if any.

    Raises:
        PyroError: INVALID for options that contradict each other, are empty, or name no directory.
    """
    if project_path is not None and repo_url is not None:
        raise _invalid("--project-path and --repo-url can't be combined", "Omit one of them.")
    if no_project_source and (project_path, repo_url, repo_ref) != (None, None, None):
        raise _invalid("--no-project-source contradicts --project-path, --repo-url and --repo-ref", "Omit it.")
    if repo_ref is not None and repo_url is None:
        raise _invalid("--repo-ref needs --repo-url", "Give the repository's URL, or omit --repo-ref.")
    for name, value in {"--repo-url": repo_url, "--repo-ref": repo_ref}.items():
        if value is not None and (not value.strip() or value.startswith("-")):
            raise _invalid(f"{name} is {value!r}", f"Give a value, or omit {name}.")
    if no_project_source:
        return None
    if repo_url is not None:
        return Project(repo_url=repo_url, repo_ref=repo_ref)
    if project_path is None:
        return None if checkout is None else Project(checkout)
    path = Path(os.path.realpath(Path(project_path).expanduser()))
    if not path.is_dir():
        raise _invalid(
            f"--project-path {path} is not a directory", "Name a directory that exists, or use --repo-url URL."
        )
    return Project(checkout_around(path) or path)


def described(project: Project | None, *, no_project_source: bool = False) -> tuple[str, str]:
    """Return what workspaces start from, and what can be done about it, as far as that is clear before one is made."""
    if project is not None:
        if project.path is None or not project.is_checkout:
            return project.text, ""
        from pyro_mcp.trees.checkouts.git import UnusableError, open_repository

        try:
            count = len(open_repository(project.path, project.path).entries)
        except (UnusableError, PyroError) as error:
            return f"{project.text}, but git can't list them: {error}", WAYS_OUT
        return f"{project.text}: {count}", ""
    if no_project_source:
        return "none, as --no-project-source asks", ""
    return (
        f"none: {_working_directory()} is in no git checkout (/ and the home directory do not count)",
        "Start the server in a checkout, or with --project-path DIR or --repo-url URL; or give seed_path.",
    )


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "the working directory"


def _invalid(message: str, hint: str) -> PyroError:
    return PyroError(ErrorCode.INVALID, message, hint=hint)
