"""Environments on this host: installing, finding, inspecting and listing them.

An install that is not whole, or does not match its digests, counts as not installed, and the next pull repairs it.
Every command imports this module; the code that builds is imported when something is built.
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
    """Return whether an environment can be used."""

    INSTALLED = "installed"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class InstalledEnvironment:
    """A verified environment on this host."""

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
        """Return the environment variables that commands in it find set."""
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
    """The state of one environment: `reason` says why it is broken, `outdated` that its recipe has changed."""

    name: str
    description: str
    state: EnvironmentState
    reason: str = ""
    outdated: bool = False
    installed: InstalledEnvironment | None = None


def find_environment(paths: Paths, name: str, *, digest: str | None = None) -> InstalledEnvironment | None:
    """Return the install of `name` (with `digest`: that very one, current or not), verified, or None.

    Raises:
        PyroError: CORRUPT if it is there but broken, INVALID for what can't be a name.
    """
    check_name(name)
    return _environment(shelf(paths).open(label_of(name), digest))


def install_environment(paths: Paths, name: str, progress: Progress, *, force: bool = False) -> InstalledEnvironment:
    """Return the environment as its recipe is now, building it if it is missing, broken or outdated, or if `force`.

    One process builds, others wait for it and use what it built.

    Raises:
        PyroError: NOT_FOUND for an unknown name; whatever keeps it from being built.
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
        # Who waited for another's pull gets what that built, even with `force`.
        theirs = now.installed is not None and now.installed != before.installed
        if now.installed is not None and not now.outdated and (theirs or not force):
            return now.installed
        if now.state is EnvironmentState.BROKEN:
            progress.phase("repair", f"the installed {name} is broken ({now.reason}): rebuilding it")
        found = _environment(build_environment(shelf(paths), paths, recipe, progress))
    assert found is not None  # noqa: S101 - publish returns an install
    return found


def ensure_environment(paths: Paths, name: str, progress: Progress) -> InstalledEnvironment:
    """Return the installed environment, outdated or not, building it only if it is missing or broken.

    Raises:
        PyroError: as `install_environment`.
    """
    found = inspect_environment(paths, name).installed
    return found if found is not None else install_environment(paths, name, progress)


def inspect_environment(paths: Paths, name: str) -> EnvironmentStatus:
    """Say what is known of one environment, verifying it.

    Raises:
        PyroError: NOT_FOUND for a name that neither the catalog nor the cache has.
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
    """Say what is known of every environment of the catalog, and of those in the cache that it no longer has."""
    from pyro_mcp.image.catalog import load_catalog

    listed = load_catalog().environments
    known = {recipe.name for recipe in listed}
    others = [name_of(label) for label in shelf(paths).labels()]
    statuses = [_status(paths, recipe.name, recipe) for recipe in listed]
    return statuses + [_status(paths, name, None) for name in others if name not in known]


def shelf(paths: Paths) -> Shelf:
    """Return where environments are kept."""
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
