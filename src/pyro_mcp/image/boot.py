"""The boot source: the kernel and the initramfs that every guest boots, whatever its environment.

Owns packing the agent and the kit into an initramfs, and when that must be done again. Refuses to be built from
anything but this installation's own agent: host and guest always speak the same protocol.

What is in the initramfs: `/init` (starts the agent), `/toolbox` (the private Python; the agent in its library, the
agent's sources in /toolbox/src for tracebacks), `/modules` (kernel modules, and `order` with a line `NAME: DEPENDS…`
for each, in the order in which they load), `/bin/busybox`, and empty directories to mount on.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host.faults import fault_point
from pyro_mcp.image import integrity
from pyro_mcp.image.kit import Kit, ensure_kit, kit_recipe
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.namespace import Namespace
from pyro_mcp.image.store import Install, Shelf
from pyro_mcp.image.workshop import pull_lock, workshop

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.host.progress import Progress
    from pyro_mcp.image import cpio

KIND = "boot"
VMLINUX = "vmlinux"
INITRAMFS = "initramfs"
# To be raised when the same parts are to be packed differently.
_PACKING = 2
_PACKAGE = Path(__file__).parent.parent
_AGENT_PARTS = ("guest", "protocol")
_EMPTY_INIT = b'"""The guest\'s part of pyro-mcp: the agent and the protocol."""\n'
# One option word is all that a #! line can have: isolated, no `site` module.
INIT = b"""#!/toolbox/bin/python3 -IS
from pyro_mcp.guest.main import main

main()
"""
# Where the loader looks first.
_LIBRARIES = "lib/x86_64-linux-gnu"
_EMPTY_DIRECTORIES = ("dev", "mnt", "proc", "root", "run", "sys", "tmp")


@dataclass(frozen=True, slots=True)
class BootSource:
    """What a guest boots: verified files on this host."""

    digest: str
    directory: Path
    vmlinux: Path
    initramfs: Path
    kernel_release: str


def find_boot_source(paths: Paths) -> BootSource | None:
    """Return the boot source of this installation's agent, verified, or None if it has to be built.

    Raises:
        PyroError: PERMISSION and others if the cache can't be read.
    """
    try:
        return _source(shelf(paths).open(_label()))
    except PyroError as error:
        if error.code is not ErrorCode.CORRUPT:
            raise
        return None


def ensure_boot_source(paths: Paths, progress: Progress) -> BootSource:
    """Return the boot source, building what is not there or not whole. One process builds, others wait for it.

    Raises:
        PyroError: whatever keeps it from being built.
    """
    source = find_boot_source(paths)
    if source is not None:
        return source
    name = shelf(paths).lock_name(_label())
    with pull_lock(paths, name, "the packing of the boot source", progress):
        source = find_boot_source(paths)
        if source is None:
            source = _pack(paths, name, ensure_kit(paths, progress), progress)
    return source


def shelf(paths: Paths) -> Shelf:
    """Return where boot sources are kept."""
    return Shelf(KIND, paths.boot, paths.tmp)


def boot_label() -> str:
    """Return the name under which this installation's boot source is kept."""
    return _label()


def _source(install: Install | None) -> BootSource | None:
    if install is None:
        return None
    return BootSource(
        digest=install.digest,
        directory=install.directory,
        vmlinux=install.directory / VMLINUX,
        initramfs=install.directory / INITRAMFS,
        kernel_release=install.manifest.text("kernel_release"),
    )


@cache
def _agent_sources() -> dict[str, bytes]:
    """Return the agent's sources by their path below the package's parent directory."""
    sources = {"pyro_mcp/__init__.py": _EMPTY_INIT}
    for part in _AGENT_PARTS:
        for path in sorted((_PACKAGE / part).rglob("*.py")):
            sources[f"pyro_mcp/{path.relative_to(_PACKAGE)}"] = path.read_bytes()
    return sources


@cache
def _label() -> str:
    """Name the boot source by all that it is made from, so that finding it takes no building."""
    sources = {name: integrity.digest_of(data) for name, data in _agent_sources().items()}
    inputs = [_PACKING, kit_recipe().digest, sources, INIT.decode()]
    return integrity.digest_of(json.dumps(inputs, sort_keys=True).encode())[: integrity.SHORT]


def _pack(paths: Paths, name: str, kit: Kit, progress: Progress) -> BootSource:
    progress.phase("boot", "packing the agent into the initramfs")
    with ExitStack() as stack:
        place = stack.enter_context(workshop(paths, name, Namespace((), mapped=False)))
        contents = place / "contents"
        fault_point("boot.before_pack")
        try:
            contents.mkdir()
            _write_initramfs(contents / INITRAMFS, kit, place)
            _link_or_copy(kit.vmlinux, contents / VMLINUX)
            os.chmod(contents / INITRAMFS, 0o444)
        except OSError as error:
            raise from_os_error(error, "pack the initramfs") from error
        artifacts = {
            INITRAMFS: integrity.measure(contents / INITRAMFS),
            VMLINUX: kit.install.manifest.artifacts[VMLINUX],
        }
        # Nothing here differs between two packings of the same parts, so neither does the digest.
        facts: dict[str, object] = {
            "kernel_release": kit.kernel_release,
            "kit": kit.install.digest,
            "packages": kit.install.manifest.texts("packages"),
        }
        fault_point("boot.before_publish")
        manifest = Manifest(KIND, "boot", artifacts, facts)
        source = _source(shelf(paths).publish(_label(), contents, manifest))
    assert source is not None  # noqa: S101 - publish returns an install
    return source


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_initramfs(target: Path, kit: Kit, place: Path) -> None:
    from pyro_mcp.image import cpio

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
    """Return the interpreter, the part of its library that the agent needs, and the agent."""
    from pyro_mcp.image import cpio
    from pyro_mcp.image.toolbox import LOADER

    toolbox = kit.toolbox
    source, compiled = place / "source", place / "compiled"
    for name, data in _agent_sources().items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    imported = toolbox.compile(source, compiled, shown="/toolbox/src")
    names = {name for name in imported if name.split(".")[0].rstrip("?") != "pyro_mcp"}
    stdlib = toolbox.closure(kit_recipe().stdlib, names)
    library = f"toolbox/lib/{toolbox.version}"
    entries = [
        cpio.file("toolbox/bin/python3", (toolbox.root / "bin/python3").read_bytes(), 0o755),
        cpio.file(f"lib64/{LOADER}", (toolbox.root / "lib" / LOADER).read_bytes(), 0o755),
        *(cpio.file(f"toolbox/src/{name}", data) for name, data in _agent_sources().items()),
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
