"""The kit: the parts of the boot source that come from Debian's packages (kernel, modules, busybox, toolbox).

It is separate from the agent, so that a new agent does not require another mmdebstrap run.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import programs
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress
from pyro_mcp.image import integrity
from pyro_mcp.image.inputs import KIT_RECIPE, kit_label
from pyro_mcp.image.kernel import extract_vmlinux
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.mmdebstrap import Bootstrap, bootstrap
from pyro_mcp.image.modules import order_file, select_modules
from pyro_mcp.image.namespace import enter_namespace
from pyro_mcp.image.store import Install, Shelf
from pyro_mcp.image.toolbox import StdlibRules, Toolbox, take_toolbox
from pyro_mcp.image.workshop import pull_lock, workshop

KIND = "boot-kit"


@dataclass(frozen=True, slots=True)
class KitRecipe:
    """The sources of the kit."""

    suite: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    stdlib: StdlibRules


@dataclass(frozen=True, slots=True)
class Kit:
    """A verified, installed kit."""

    install: Install

    @property
    def vmlinux(self) -> Path:
        """Return the kernel."""
        return self.install.directory / "vmlinux"

    @property
    def busybox(self) -> Path:
        """Return the static busybox."""
        return self.install.directory / "busybox"

    @property
    def modules(self) -> Path:
        """Return the directory of kernel modules, with the file `order`."""
        return self.install.directory / "modules"

    @property
    def toolbox(self) -> Toolbox:
        """Return the toolbox, with all modules of the standard library that a guest may need."""
        return Toolbox(self.install.directory / "toolbox", self.install.manifest.text("python"))

    @property
    def kernel_release(self) -> str:
        """Return the kernel's release, as `uname -r` prints it."""
        return self.install.manifest.text("kernel_release")


@cache
def kit_recipe() -> KitRecipe:
    """Return the recipe in the package."""
    document: dict[str, Any] = json.loads(KIT_RECIPE.read_bytes())
    return KitRecipe(
        suite=document["suite"],
        packages=tuple(document["packages"]),
        modules=tuple(document["modules"]),
        stdlib=StdlibRules(**{name: tuple(listed) for name, listed in document["stdlib"].items()}),
    )


def shelf(paths: Paths) -> Shelf:
    """Return the shelf of kits."""
    return Shelf(KIND, paths.cache / KIND, paths.tmp)


def find_kit(paths: Paths) -> Kit | None:
    """Return the installed kit of the package's recipe, or None if it is missing or broken."""
    install = shelf(paths).find(kit_label())
    return None if install is None else Kit(install)


def ensure_kit(paths: Paths, progress: Progress) -> Kit:
    """Return the kit, building it if it is missing or broken. One process builds while others wait.

    Raises:
        PyroError: if it can't be built.
    """
    kit = find_kit(paths)
    if kit is not None:
        return kit
    name = shelf(paths).lock_name(kit_label())
    with pull_lock(paths, name, "the build of the boot source", progress):
        kit = find_kit(paths)
        return _build(paths, name, progress) if kit is None else kit


def _build(paths: Paths, name: str, progress: Progress) -> Kit:
    recipe = kit_recipe()
    progress.phase("boot", f"building the boot source from Debian's packages ({recipe.suite})")
    for program in ("mmdebstrap", "lz4"):
        programs.find_program(program)
    namespace = enter_namespace()
    with ExitStack() as stack:
        place = stack.enter_context(workshop(paths, name, namespace))
        tree, contents = place / "tree", place / "contents"
        contents.mkdir()
        fault_point("kit.before_build")
        spec = Bootstrap(recipe.suite, "extract", recipe.packages)
        result = bootstrap(namespace, spec, tree, progress)
        fault_point("kit.after_build")
        progress.phase("boot", "taking out the kernel and the toolbox")
        release, python = _take(tree, contents, recipe)
        artifacts = {
            str(path.relative_to(contents)): integrity.measure(path)
            for path in sorted(contents.rglob("*"))
            if path.is_file()
        }
        facts: dict[str, object] = {
            "kernel_release": release,
            "python": python,
            "recipe": asdict(recipe),
            "recipe_label": kit_label(),
            "packages": result.packages,
            "tools": {"mmdebstrap": result.tool},
        }
        fault_point("kit.before_publish")
        manifest = Manifest(KIND, recipe.suite, artifacts, facts)
        return Kit(shelf(paths).publish(kit_label(), contents, manifest))


def _take(tree: Path, contents: Path, recipe: KitRecipe) -> tuple[str, str]:
    """Extract the kit's parts from the tree; return the kernel's release and the name of the interpreter."""
    with os_errors("take the boot source out of the packages"):
        images = sorted((tree / "boot").glob("vmlinuz-*"))
        if not images:
            raise PyroError(ErrorCode.BUILD_FAILED, "the packages hold no kernel")
        release = images[-1].name.removeprefix("vmlinuz-")
        (contents / "vmlinux").write_bytes(extract_vmlinux(images[-1].read_bytes()))
        modules = select_modules(tree / "lib/modules" / release, recipe.modules)
        (contents / "modules").mkdir()
        for module in modules:
            (contents / "modules" / f"{module.name}.ko").write_bytes(module.data)
        (contents / "modules/order").write_bytes(order_file(modules))
        shutil.copyfile(tree / "bin/busybox", contents / "busybox")
        # Any user may read it through a descriptor, since the VMM may run as another user. The directory is private.
        (contents / "vmlinux").chmod(0o444)
        toolbox = take_toolbox(tree, contents / "toolbox", recipe.stdlib)
    return release, toolbox.version
