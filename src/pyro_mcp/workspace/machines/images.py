"""Provide the images of a guest, verified: the environment's base image and the boot source.

Missing images are built, with progress. None can be pruned before its use is recorded.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.boot import BootSource, ensure_boot_source
from pyro_mcp.image.environments import InstalledEnvironment, ensure_environment, find_environment
from pyro_mcp.image.in_use import using_images
from pyro_mcp.model.vm import Vm
from pyro_mcp.model.workspace import Workspace
from pyro_mcp.workspace.engine import Engine


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one guest."""

    environment: InstalledEnvironment
    boot: BootSource


def images_for(engine: Engine, environment: str) -> Images:
    """Return the images of an environment as currently installed, pulling it if necessary.

    Raises:
        PyroError: NOT_FOUND for an unknown environment; any reason why it can't be built.
    """
    installed = find_environment_or_none(engine, environment)
    if installed is None:
        installed = ensure_environment(engine.paths, environment, engine.progress)
    return Images(installed, ensure_boot_source(engine.paths, engine.progress))


def find_environment_or_none(engine: Engine, environment: str) -> InstalledEnvironment | None:
    """Return an environment if it is installed and whole; a broken one counts as not installed."""
    try:
        return find_environment(engine.paths, environment)
    except PyroError as error:
        if error.code is not ErrorCode.CORRUPT:
            raise
        return None


def recorded(engine: Engine, images: Images | None, vm: Vm) -> Vm:
    """Record a VM that uses these images (None: none), which no prune removes from then on.

    Raises:
        PyroError: CONFLICT if a prune was faster.
    """
    with keeping_images(engine, images):
        return engine.store.vms.insert(vm)


@contextmanager
def keeping_images(engine: Engine, images: Images | None) -> Generator[None]:
    """Protect the images (None: none) from a prune while their use is recorded.

    Raises:
        PyroError: CONFLICT if a prune was faster.
    """
    if images is None:
        yield
        return
    with using_images(engine.paths):
        if not images.environment.base_image.exists():
            raise PyroError(
                ErrorCode.CONFLICT,
                f"the environment {images.environment.name} was pruned just now",
                hint="Run the command again.",
            )
        yield


def images_of(engine: Engine, owner: Vm | Workspace) -> Images:
    """Return the images that a VM or workspace was created from, verified, even if its environment has changed since.

    Raises:
        PyroError: CORRUPT or NOT_FOUND if its base image no longer exists.
    """
    base = owner.base
    found = None if base is None else find_environment(engine.paths, owner.environment, digest=base.digest)
    if base is None or found is None or found.base_image != Path(base.path):
        raise PyroError(
            ErrorCode.NOT_FOUND,
            f"the base image of {owner.id} is gone",
            hint="Delete it and create another:"
            f" `pyro env pull {owner.environment}` installs the environment as it is now.",
            details={"id": owner.id, "environment": owner.environment},
        )
    return Images(found, ensure_boot_source(engine.paths, engine.progress))
