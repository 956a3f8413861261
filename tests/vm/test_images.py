"""The images that guests boot, built from Debian's real packages."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Silent
from pyro_mcp.image.boot import BootSource, ensure_boot_source
from pyro_mcp.image.environments import ensure_environment, install_environment
from pyro_mcp.image.inputs import agent_sources
from tests.support.cpio_reader import unpack
from tests.support.thorough import is_thorough

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
BASE = {"bash", "coreutils", "grep", "sed", "tar", "gzip", "procps", "apt", "dpkg", "util-linux"}


@pytest.fixture(scope="module")
def boot_source() -> BootSource:
    return ensure_boot_source(Paths.from_environment(), Silent())


@pytest.fixture(scope="module")
def initramfs(boot_source: BootSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("initramfs")
    unpack(boot_source.initramfs.read_bytes(), root)
    return root


def toolbox_python(root: Path, code: str) -> str:
    """Run code in the guest's Python, with nothing but what the guest has."""
    loader, libraries = root / "lib64/ld-linux-x86-64.so.2", root / "lib/x86_64-linux-gnu"
    start = [loader, "--library-path", libraries, root / "toolbox/bin/python3", "-IS", "-c", code]
    return process.run(start, timeout_s=60, env={"PYTHONHOME": "ignored by -I"}).text


@pytest.mark.vm
class TestBootSource:
    def test_the_kernel_is_an_elf_file_for_x86_64(self, boot_source: BootSource) -> None:
        head = boot_source.vmlinux.read_bytes()[:20]
        assert head[:6] == b"\x7fELF\x02\x01"
        assert head[18:20] == b"\x3e\0"

    def test_the_initramfs_is_small_and_starts_the_agent(self, boot_source: BootSource, initramfs: Path) -> None:
        init = initramfs / "init"
        assert boot_source.initramfs.stat().st_size < 25 * MIB
        assert init.read_text().splitlines()[0] == "#!/toolbox/bin/python3 -IS"
        assert init.stat().st_mode & stat.S_IXUSR

    def test_the_agent_and_all_that_it_imports_anywhere_are_there(self, initramfs: Path) -> None:
        names = [name for name in agent_sources() if not name.endswith("__main__.py")]
        modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
        lines = [
            "import importlib, sys",
            f"for name in {modules}: importlib.import_module(name)",
            "for module in sys.modules.values(): print(getattr(module, '__file__', None) or '')",
        ]
        imported = [path for path in toolbox_python(initramfs, "\n".join(lines)).splitlines() if path]

        assert len(imported) > len(modules)
        assert all(path.startswith(f"{initramfs}/toolbox/lib/") for path in imported)

    def test_nothing_is_compiled_in_the_guest(self, initramfs: Path) -> None:
        library = next((initramfs / "toolbox/lib").glob("python3*"))
        assert list(library.rglob("*.py")) == []
        assert list(library.rglob("__pycache__")) == []

    def test_tracebacks_of_the_agent_show_its_source(self, initramfs: Path) -> None:
        shown = toolbox_python(
            initramfs, "import pyro_mcp.guest as g; print(g.__spec__.loader.get_code('pyro_mcp.guest').co_filename)"
        )

        assert shown == "/toolbox/src/pyro_mcp/guest/__init__.py"
        assert (initramfs / shown.lstrip("/")).exists()

    def test_modules_of_the_kernel_come_in_the_order_in_which_they_load(self, initramfs: Path) -> None:
        loaded: set[str] = set()
        for line in (initramfs / "modules/order").read_text().splitlines():
            name, _, depends = line.partition(":")
            assert set(depends.split()) <= loaded
            assert (initramfs / f"modules/{name}.ko").exists()
            loaded.add(name)
        assert {"virtio_mmio", "virtio_blk", "virtio_console", "virtio_net", "overlay"} <= loaded
        assert "vmw_vsock_virtio_transport" in loaded


@pytest.mark.vm
class TestEnvironment:
    def test_the_common_environment_holds_what_the_contract_promises(self) -> None:
        found = ensure_environment(Paths.from_environment(), "debian:12", Silent())

        assert {"git", "python3", "ca-certificates", "curl"} | BASE <= set(found.packages)
        assert all(found.packages.values())

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_the_smallest_environment_is_built_from_the_archive(self, request: pytest.FixtureRequest) -> None:
        # A build of its own takes half a minute; a quick run examines what the pull before it built.
        paths = request.getfixturevalue("private_paths") if is_thorough() else Paths.from_environment()
        found = install_environment(paths, "debian:12-base", Silent())

        image = found.base_image
        assert set(found.packages) >= BASE
        assert found.size_bytes < 320 * MIB
        process.run(["e2fsck", "-fn", image], timeout_s=120)

        def read(path: str) -> str:
            return process.run(["debugfs", "-R", f"cat {path}", image], timeout_s=30).text

        def names(path: str) -> set[str]:
            listing = process.run(["debugfs", "-R", f"ls -p {path}", image], timeout_s=30).text
            return {line.split("/")[5] for line in listing.splitlines() if line} - {".", ".."}

        assert read("/etc/machine-id") == ""
        assert read("/etc/resolv.conf") == ""
        assert read("/etc/hostname") == "localhost"
        sources = read("/etc/apt/sources.list").splitlines()
        assert all(line.startswith("deb [signed-by=/usr/share/keyrings/") for line in sources)
        assert any(" bookworm " in line for line in sources)
        assert {"workspace", "dev", "proc", "run", "sys", "tmp", "etc", "usr"} <= names("/")
        for empty in (
            "/dev",
            "/proc",
            "/run",
            "/sys",
            "/tmp",
            "/workspace",
            "/usr/share/locale",
            "/var/lib/apt/lists/partial",
        ):
            assert names(empty) == set(), empty
        assert "copyright" in names("/usr/share/doc/bash")
        if is_thorough():
            assert list((paths.cache / "build").iterdir()) == []
