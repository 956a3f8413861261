"""Pack the boot source: the kit's kernel, and an initramfs with the kit's other parts and the agent.

The initramfs contains `/init` (starts the agent), `/toolbox` (the private Python, with the agent in its library and the
agent's sources in /toolbox/src for tracebacks), `/modules` (kernel modules, and `order` with a line `NAME: DEPENDS…`
for each, in load order), `/bin/busybox`, and empty directories as mount points.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from pyro_mcp.errors import os_errors
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Progress
from pyro_mcp.image import cpio, integrity
from pyro_mcp.image.inputs import INIT, agent_sources, boot_label
from pyro_mcp.image.kit import Kit, kit_recipe
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.names import INITRAMFS, VMLINUX
from pyro_mcp.image.namespace import Namespace
from pyro_mcp.image.store import Install, Shelf
from pyro_mcp.image.toolbox import LOADER
from pyro_mcp.image.workshop import workshop

# The first directory that the loader searches.
_LIBRARIES = "lib/x86_64-linux-gnu"
_EMPTY_DIRECTORIES = ("dev", "mnt", "proc", "root", "run", "sys", "tmp")


def pack_boot_source(shelf: Shelf, paths: Paths, kit: Kit, progress: Progress) -> Install:
    """Pack the agent and the kit as this installation's boot source. The caller holds its pull lock.

    Raises:
        PyroError: NO_SPACE, PERMISSION and others.
    """
    progress.phase("boot", "packing the agent into the initramfs")
    with ExitStack() as stack:
        place = stack.enter_context(workshop(paths, shelf.lock_name(boot_label()), Namespace((), mapped=False)))
        contents = place / "contents"
        fault_point("boot.before_pack")
        with os_errors("pack the initramfs"):
            contents.mkdir()
            _write_initramfs(contents / INITRAMFS, kit, place)
            _link_or_copy(kit.vmlinux, contents / VMLINUX)
            os.chmod(contents / INITRAMFS, 0o444)
        artifacts = {
            INITRAMFS: integrity.measure(contents / INITRAMFS),
            VMLINUX: kit.install.manifest.artifacts[VMLINUX],
        }
        # Only reproducible facts, so that packing the same parts again gives the same digest.
        facts: dict[str, object] = {
            "kernel_release": kit.kernel_release,
            "kit": kit.install.digest,
            "packages": kit.install.manifest.texts("packages"),
        }
        fault_point("boot.before_publish")
        manifest = Manifest(shelf.kind, "boot", artifacts, facts)
        return shelf.publish(boot_label(), contents, manifest)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_initramfs(target: Path, kit: Kit, place: Path) -> None:
    entries = [
        cpio.file("init", INIT, 0o755),
        # The kernel opens this for init before anything is mounted.
        cpio.character_device("dev/console", 5, 1),
        cpio.character_device("dev/null", 1, 3, 0o666),
        cpio.file("bin/busybox", kit.busybox.read_bytes(), 0o755),
        cpio.symlink("bin/sh", "busybox"),
        *(cpio.directory(name) for name in _EMPTY_DIRECTORIES),
        *(cpio.file(f"modules/{path.name}", path.read_bytes()) for path in kit.modules.iterdir()),
        *_toolbox_entries(kit, place),
    ]
    with open(target, "wb") as out:
        cpio.write_archive(out, entries)


def _toolbox_entries(kit: Kit, place: Path) -> list[cpio.Entry]:
    """Return the interpreter, the parts of its library that the agent needs, and the agent."""
    toolbox = kit.toolbox
    source, compiled = place / "source", place / "compiled"
    for name, data in agent_sources().items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    imported = toolbox.compile(source, compiled, shown="/toolbox/src")
    names = {name for name in imported if name.split(".")[0].rstrip("?") != "pyro_mcp"}
    stdlib = toolbox.closure(kit_recipe().stdlib, names)
    library = f"toolbox/lib/{toolbox.version}"
    entries = [
        cpio.file("toolbox/bin/python3", (toolbox.root / "bin/python3").read_bytes(), 0o755),
        cpio.file(f"lib64/{LOADER}", (toolbox.root / "lib" / LOADER).read_bytes(), 0o755),
        *(cpio.file(f"toolbox/src/{name}", data) for name, data in agent_sources().items()),
    ]
    linked = set(toolbox.libraries(toolbox.root / "bin/python3"))
    for name in stdlib:
        path = toolbox.stdlib / name
        entries.append(cpio.file(f"{library}/{name}", path.read_bytes()))
        if path.suffix == ".so":
            linked |= set(toolbox.libraries(path))
    libraries = toolbox.root / "lib"
    return [
        *entries,
        *(cpio.file(f"{_LIBRARIES}/{name}", (libraries / name).read_bytes(), 0o755) for name in linked),
        *(cpio.file(f"{library}/{path.relative_to(compiled)}", path.read_bytes()) for path in compiled.rglob("*.pyc")),
    ]
