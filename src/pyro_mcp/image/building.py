"""Build an environment, from its recipe to a published root file system. The caller holds the pull lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pyro_mcp.errors import os_errors
from pyro_mcp.host import programs
from pyro_mcp.host.faults import fault_point
from pyro_mcp.image import filesystem, integrity
from pyro_mcp.image.catalog import load_catalog
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.mmdebstrap import Bootstrap, Result, bootstrap
from pyro_mcp.image.names import BASE_IMAGE
from pyro_mcp.image.namespace import Namespace, enter_namespace
from pyro_mcp.image.workshop import workshop

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.image.catalog import EnvironmentRecipe
    from pyro_mcp.image.store import Install, Shelf

_EMPTY_TIMEOUT_S = 60.0


def build_environment(shelf: Shelf, paths: Paths, recipe: EnvironmentRecipe, progress: Progress) -> Install:
    """Build the recipe's environment and make it the current install of its name. The caller holds its pull lock.

    Raises:
        PyroError: UNAVAILABLE, NO_SPACE, PERMISSION, MISSING_PROGRAM, BUILD_FAILED.
    """
    progress.phase("environment", f"building {recipe.name} from Debian's packages")
    # Fail now rather than after a minute of building.
    for program in ("mmdebstrap", "mke2fs"):
        programs.find_program(program)
    namespace = enter_namespace()
    source = recipe.recipe
    with workshop(paths, shelf.lock_name(recipe.label), namespace) as place:
        tree, contents = place / "tree", place / "contents"
        fault_point("environment.before_build")
        spec = Bootstrap(
            source.suite, source.variant, source.packages, source.apt_options, source.dpkg_options, source.hook
        )
        result = bootstrap(namespace, spec, tree, progress)
        fault_point("environment.after_build")
        progress.phase("image", f"writing the root file system of {recipe.name}")
        _empty_directories(namespace, tree)
        with os_errors(f"write the root file system of {recipe.name}"):
            contents.mkdir()
            image = contents / BASE_IMAGE
            size = filesystem.make_image(namespace, tree, image)
            fault_point("environment.after_image")
            # Any user may read it through a descriptor: the VMM may run as another user. The directory is private.
            image.chmod(0o444)
        progress.advance(0.7, "computing its digest")
        manifest = _manifest(shelf, recipe, result, integrity.measure(image), size)
        fault_point("environment.before_publish")
        install = shelf.publish(recipe.label, contents, manifest)
        progress.advance(0.95, "removing the build's files")
    progress.phase("installed", f"{recipe.name} ({len(result.packages)} packages)")
    return install


def _empty_directories(namespace: Namespace, tree: Path) -> None:
    """Empty the directories that guests mount over. In mmdebstrap's hook, its own mounts would still be there."""
    directories = [tree / name for name in ("dev", "proc", "run", "sys", "tmp")]
    namespace.run(["find", *directories, "-xdev", "-mindepth", "1", "-delete"], timeout_s=_EMPTY_TIMEOUT_S)


def _manifest(
    shelf: Shelf, recipe: EnvironmentRecipe, result: Result, image: integrity.Artifact, size: filesystem.TreeSize
) -> Manifest:
    facts: dict[str, object] = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "catalog": load_catalog().version,
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest,
        "variables": dict(recipe.variables),
        "packages": result.packages,
        "content_bytes": size.content_bytes,
        "entries": size.entries,
        "filesystem": "ext4",
        "tools": {"mmdebstrap": result.tool, "mke2fs": filesystem.tool_version()},
    }
    return Manifest(shelf.kind, recipe.name, {BASE_IMAGE: image}, facts)
