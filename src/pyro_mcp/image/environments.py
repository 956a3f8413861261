"""Install, find, inspect and list environments on this host.

An install that is incomplete, or does not match its digests, counts as not installed, and the next pull repairs it.
Every command imports this module, so the code for building is imported only when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.names import BASE_IMAGE, check_name, label_of, name_of
from pyro_mcp.image.store import Install, Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.image.catalog import EnvironmentRecipe
    from pyro_mcp.image.manifest import Manifest

KIND = "environment"


class EnvironmentState(StrEnum):
    """Whether an environment can be used."""

    INSTALLED = "installed"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class InstalledEnvironment:
    """A verified, installed environment."""

    name: str
    digest: str
    directory: Path
    manifest: Manifest

    @property
    def base_image(self) -> Path:
        """Return the read-only root file system."""
        return self.directory / BASE_IMAGE

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables of its commands."""
        return self.manifest.texts("variables")

    @property
    def packages(self) -> dict[str, str]:
        """Return the version of each installed package."""
        return self.manifest.texts("packages")

    @property
    def size_bytes(self) -> int:
        """Return the size of the root file system's image."""
        return self.manifest.artifacts[BASE_IMAGE].size or 0


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """The state of one environment: `reason` is why it is broken, `outdated` means that its recipe has changed."""

    name: str
    description: str
    state: EnvironmentState
    reason: str = ""
    outdated: bool = False
    installed: InstalledEnvironment | None = None


def find_environment(paths: Paths, name: str, *, digest: str | None = None) -> InstalledEnvironment | None:
    """Return the verified install of `name` (with `digest`: that one, current or not), or None if there is none.

    Raises:
        PyroError: CORRUPT if it is broken, INVALID for an invalid name.
    """
    check_name(name)
    return _environment(shelf(paths).open(label_of(name), digest))


def install_environment(paths: Paths, name: str, progress: Progress, *, force: bool = False) -> InstalledEnvironment:
    """Return the environment of the current recipe, building it if it is missing, broken or outdated, or if `force`.

    One process builds; others wait and use the result.

    Raises:
        PyroError: NOT_FOUND for an unknown name; other codes if it can't be built.
    """
    from pyro_mcp.image.building import build_environment
    from pyro_mcp.image.catalog import load_catalog
    from pyro_mcp.image.workshop import pull_lock, sweep

    recipe = load_catalog().find(name)
    before = inspect_environment(paths, name)
    if before.installed is not None and not before.outdated and not force:
        return before.installed
    lock = shelf(paths).lock_name(recipe.label)
    with pull_lock(paths, lock, f"the pull of {name}", progress):
        sweep(paths)
        now = inspect_environment(paths, name)
        # After waiting for another process's pull, use its result, even with `force`.
        theirs = now.installed is not None and now.installed != before.installed
        if now.installed is not None and not now.outdated and (theirs or not force):
            return now.installed
        if now.state is EnvironmentState.BROKEN:
            progress.phase("repair", f"the installed {name} is broken ({now.reason}): rebuilding it")
        found = _environment(build_environment(shelf(paths), paths, recipe, progress))
    assert found is not None  # noqa: S101 - publish returns an install
    return found


def ensure_environment(paths: Paths, name: str, progress: Progress) -> InstalledEnvironment:
    """Return the installed environment, even if it is outdated, building it only if it is missing or broken.

    Raises:
        PyroError: as `install_environment`.
    """
    found = inspect_environment(paths, name).installed
    return found if found is not None else install_environment(paths, name, progress)


def inspect_environment(paths: Paths, name: str) -> EnvironmentStatus:
    """Verify one environment and return its status.

    Raises:
        PyroError: NOT_FOUND for a name that is neither in the catalog nor in the cache.
    """
    from pyro_mcp.image.catalog import load_catalog

    check_name(name)
    in_cache = label_of(name) in shelf(paths).labels()
    recipe = None
    try:
        recipe = load_catalog().find(name)
    except PyroError:
        if not in_cache:
            raise
    return _status(paths, name, recipe)


def list_environments(paths: Paths) -> list[EnvironmentStatus]:
    """Return the status of every environment of the catalog, and of those that are only in the cache."""
    from pyro_mcp.image.catalog import load_catalog

    listed = load_catalog().environments
    known = {recipe.name for recipe in listed}
    others = [name_of(label) for label in shelf(paths).labels()]
    statuses = [_status(paths, recipe.name, recipe) for recipe in listed]
    return statuses + [_status(paths, name, None) for name in others if name not in known]


def shelf(paths: Paths) -> Shelf:
    """Return the shelf of environments."""
    return Shelf(KIND, paths.environments, paths.tmp)


def _environment(install: Install | None) -> InstalledEnvironment | None:
    if install is None:
        return None
    if BASE_IMAGE not in install.manifest.artifacts:
        raise PyroError(ErrorCode.CORRUPT, f"the manifest does not name {BASE_IMAGE}")
    return InstalledEnvironment(install.manifest.name, install.digest, install.directory, install.manifest)


def _status(paths: Paths, name: str, recipe: EnvironmentRecipe | None) -> EnvironmentStatus:
    description = recipe.description if recipe else "no longer in the catalog"
    try:
        found = _environment(shelf(paths).open(label_of(name)))
        outdated = found is not None and recipe is not None and found.manifest.text("recipe_digest") != recipe.digest
    except PyroError as error:
        if error.code is not ErrorCode.CORRUPT:
            raise
        return EnvironmentStatus(name, description, EnvironmentState.BROKEN, error.message)
    if found is None:
        return EnvironmentStatus(name, description, EnvironmentState.MISSING)
    return EnvironmentStatus(name, description, EnvironmentState.INSTALLED, "", outdated, found)
