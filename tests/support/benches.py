"""One fixture for each driver; the QEMU guest is booted once for each test process and restored from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Silent
from pyro_mcp.image.boot import ensure_boot_source
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.compat.driver import CompatDriver
from pyro_mcp.vmm.driver import BootFiles
from pyro_mcp.vmm.qemu.driver import QemuDriver
from tests.support.fake_driver import FakeDriver
from tests.support.machines import Bench, make_template

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def compat_bench() -> Bench:
    return Bench(CompatDriver(), Accelerator.NONE)


@pytest.fixture(scope="session")
def booting_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """QEMU without a template: each start is a boot."""
    source = ensure_boot_source(Paths.from_environment(), Silent())
    files = BootFiles(source.vmlinux, source.initramfs)
    return Bench(QemuDriver(tmp_path_factory.mktemp("qemu-cache")), Accelerator.TCG, files)


@pytest.fixture(scope="session")
def qemu_bench(booting_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    template = make_template(booting_bench, tmp_path_factory.mktemp("qemu") / "template")
    return Bench(booting_bench.driver, booting_bench.accelerator, booting_bench.boot_files, template)


@pytest.fixture(scope="session")
def fake_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return the fake driver, which must behave as the real ones do."""
    plain = Bench(FakeDriver(), Accelerator.TCG)
    template = make_template(plain, tmp_path_factory.mktemp("fake") / "template")
    return Bench(plain.driver, plain.accelerator, template=template)


@pytest.fixture(params=["compat", "fake", pytest.param("qemu", marks=pytest.mark.vm)])
def bench(request: pytest.FixtureRequest) -> Bench:
    found = request.getfixturevalue(f"{request.param}_bench")
    assert isinstance(found, Bench)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a test's machines a directory of their own."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path
