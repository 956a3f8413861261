"""Images of a few bytes, for drivers that do not read them; they are installed as real ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.image import boot, catalog, environments, integrity, names
from pyro_mcp.image.inputs import boot_label
from pyro_mcp.image.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.image.store import Shelf

ENVIRONMENT = "debian:12"


def install_tiny_images(paths: Paths, content: bytes = b"no file system at all") -> None:
    """Install a boot source and an environment that nothing can boot."""
    ensure_private_dir(paths.cache)
    ensure_private_dir(paths.tmp)
    facts: dict[str, object] = {"kernel_release": "6.1.0", "kit": "", "packages": {}}
    parts = {names.VMLINUX: b"kernel", names.INITRAMFS: b"initramfs"}
    _publish(paths, boot.shelf(paths), boot_label(), Manifest(boot.KIND, "boot", {}, facts), parts)
    recipe = catalog.load_catalog().find(ENVIRONMENT)
    facts = {"recipe_digest": recipe.digest, "packages": {}, "variables": {"FROM_ENVIRONMENT": "yes"}}
    manifest = Manifest(environments.KIND, ENVIRONMENT, {}, facts)
    _publish(paths, environments.shelf(paths), recipe.label, manifest, {names.BASE_IMAGE: content})


def _publish(paths: Paths, shelf: Shelf, label: str, manifest: Manifest, parts: dict[str, bytes]) -> None:
    contents = paths.cache / "contents"
    contents.mkdir()
    for name, data in parts.items():
        (contents / name).write_bytes(data)
    artifacts = {name: integrity.measure(contents / name) for name in parts}
    shelf.publish(label, contents, Manifest(manifest.kind, manifest.name, artifacts, manifest.facts))
    remove_tree(contents)


def base_image(paths: Paths) -> Path:
    """Return the environment's image file."""
    found = environments.find_environment(paths, ENVIRONMENT)
    assert found is not None
    return found.base_image
