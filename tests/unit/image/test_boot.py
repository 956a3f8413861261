"""The boot source is there whole or not at all, and only what changed is built again."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import faults
from pyro_mcp.host.progress import Silent
from pyro_mcp.image import inputs
from pyro_mcp.image.boot import BootSource, ensure_boot_source, find_boot_source
from pyro_mcp.image.kit import find_kit, kit_recipe
from pyro_mcp.image.prune import prune
from tests.support.debian import FakeDebian
from tests.support.python import run_python
from tests.support.thorough import sampled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

ENSURE = """
from pyro_mcp.host.paths import Paths
from pyro_mcp.host.progress import Silent
from pyro_mcp.image import kit, packing
from pyro_mcp.image.boot import ensure_boot_source
from tests.unit.image.test_boot import no_toolbox, take_little
kit._take = take_little
packing._toolbox_entries = no_toolbox
print(ensure_boot_source(Paths.from_environment(), Silent()).digest)
"""
POINTS = [
    "kit.before_build",
    "kit.after_build",
    "kit.before_publish",
    "boot.before_pack",
    "boot.before_publish",
    "staged_dir.before_rename",
    "staged_dir.before_dir_sync",
    "install.before_current",
    "atomic_write.before_sync",
    "atomic_write.before_rename",
    "atomic_write.before_dir_sync",
]


def take_little(tree: Path, contents: Path, recipe: object) -> tuple[str, str]:
    """Stand in for taking kernel and Python out of real packages, which the stand-in for mmdebstrap does not have."""
    assert (tree / "etc/suite").read_text() == "bookworm\n"
    (contents / "modules").mkdir()
    (contents / "modules/order").write_text("virtio:\n")
    (contents / "vmlinux").write_bytes(b"kernel" * 1000)
    (contents / "busybox").write_bytes(b"busybox")
    return "6.1-test", "python3.11"


def no_toolbox(*_: object) -> list[object]:
    return []


@pytest.fixture(autouse=True)
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDebian:
    fake = FakeDebian.make(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{fake.directory}:{os.environ['PATH']}")
    monkeypatch.setattr("pyro_mcp.image.kit._take", take_little)
    monkeypatch.setattr("pyro_mcp.image.packing._toolbox_entries", no_toolbox)
    return fake


def ensure(paths: Paths) -> BootSource:
    return ensure_boot_source(paths, Silent())


def ensure_elsewhere(**env: str) -> int:
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    return run_python(ENSURE, env=env | {"PYTHONPATH": path}).returncode


def left_over(paths: Paths) -> list[str]:
    places = [paths.tmp, paths.cache / "build"]
    return sorted(str(path) for place in places if place.exists() for path in place.iterdir())


def edit(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)


def test_a_boot_source_is_built_when_first_asked_for(private_paths: Paths, debian: FakeDebian) -> None:
    assert find_boot_source(private_paths) is None

    source = ensure(private_paths)

    assert find_boot_source(private_paths) == source
    assert ensure(private_paths) == source
    assert source.vmlinux.read_bytes() == b"kernel" * 1000
    assert source.initramfs.read_bytes().startswith(b"070701")
    assert source.kernel_release == "6.1-test"
    assert debian.runs == 1
    assert left_over(private_paths) == []


def test_the_same_parts_make_the_same_digest(private_paths: Paths) -> None:
    first = ensure(private_paths)
    path = first.directory.parent / "current"
    path.unlink()

    assert ensure(private_paths) == first


def test_a_changed_agent_is_packed_without_a_new_build(
    private_paths: Paths, debian: FakeDebian, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ensure(private_paths)
    sources = inputs.agent_sources() | {"pyro_mcp/guest/more.py": b"x = 1\n"}
    inputs.boot_label.cache_clear()
    monkeypatch.setattr(inputs, "agent_sources", lambda: sources)

    assert find_boot_source(private_paths) is None
    after = ensure(private_paths)

    assert after.directory != before.directory
    assert debian.runs == 1
    inputs.boot_label.cache_clear()


def test_a_changed_recipe_is_built_anew(
    private_paths: Paths, debian: FakeDebian, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(private_paths)
    for function in (inputs.kit_label, inputs.boot_label):
        function.cache_clear()
    monkeypatch.setattr(inputs, "_KIT_BUILD", 1000)

    assert find_boot_source(private_paths) is None
    ensure(private_paths)

    assert debian.runs == 2
    for function in (inputs.kit_label, inputs.boot_label):
        function.cache_clear()


DAMAGE: dict[str, tuple[Callable[[BootSource], None], int]] = {
    "edited initramfs": (lambda source: edit(source.initramfs), 1),
    "no initramfs": (lambda source: source.initramfs.unlink(), 1),
    "no kernel": (lambda source: source.vmlinux.unlink(), 1),
    # The kit's kernel is the same file by another name, so the kit is damaged too.
    "edited kernel": (lambda source: edit(source.vmlinux), 2),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_noticed_and_repaired(private_paths: Paths, debian: FakeDebian, how: str) -> None:
    damage, runs = DAMAGE[how]
    source = ensure(private_paths)
    damage(source)

    assert find_boot_source(private_paths) is None
    assert ensure(private_paths).digest == source.digest

    assert debian.runs == runs
    assert source.vmlinux.read_bytes() == b"kernel" * 1000


def test_a_mirror_that_fails_is_an_error_and_leaves_nothing(private_paths: Paths, debian: FakeDebian) -> None:
    debian.behave("mirror")

    with pytest.raises(PyroError) as caught:
        ensure(private_paths)

    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert left_over(private_paths) == []
    assert find_kit(private_paths) is None
    debian.behave("ok")
    ensure(private_paths)


def test_the_list_of_steps_is_complete(private_paths: Paths, tmp_path: Path) -> None:
    assert ensure_elsewhere(PYRO_FAULT_TRACE=str(tmp_path / "trace")) == 0

    assert set((tmp_path / "trace").read_text().split()) == set(POINTS)
    assert find_boot_source(private_paths) is not None


@pytest.mark.parametrize("point", sampled(POINTS))
def test_a_build_killed_at_any_step_looks_like_none_and_the_next_one_works(private_paths: Paths, point: str) -> None:
    assert ensure_elsewhere(PYRO_FAULT_POINT=f"{point}:kill") == -signal.SIGKILL

    source = ensure(private_paths)

    assert find_boot_source(private_paths) == source
    (source.directory.parent / "current").unlink()
    assert ensure(private_paths) == source
    assert left_over(private_paths) == []


@pytest.mark.parametrize("point", POINTS)
def test_a_disk_that_is_full_at_any_step_is_an_error_and_leaves_nothing(
    private_paths: Paths, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    faults.forget_hits()
    monkeypatch.setenv("PYRO_FAULT_POINT", f"{point}:no_space")

    with pytest.raises(PyroError) as caught:
        ensure(private_paths)

    assert caught.value.code is ErrorCode.NO_SPACE
    assert left_over(private_paths) == []
    monkeypatch.delenv("PYRO_FAULT_POINT")
    ensure(private_paths)


def test_a_prune_removes_boot_sources_of_other_agents_unless_they_are_in_use(
    private_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ensure(private_paths)
    monkeypatch.setattr("pyro_mcp.image.boot.boot_label", lambda: "0123456789ab")
    monkeypatch.setattr("pyro_mcp.image.packing.boot_label", lambda: "0123456789ab")
    monkeypatch.setattr("pyro_mcp.image.prune.boot_label", lambda: "0123456789ab")
    ensure(private_paths)

    assert prune(private_paths, keep={old.digest}).removed == ()
    (removed,) = prune(private_paths).removed

    assert (removed.kind, removed.digest) == ("boot", old.digest[:12])
    assert find_boot_source(private_paths) is not None
    assert find_kit(private_paths) is not None


def test_the_recipe_names_packages_and_modules_but_no_mirror() -> None:
    recipe = kit_recipe()

    assert "linux-image-cloud-amd64" in recipe.packages
    assert {"virtio_blk", "virtio_console", "overlay"} <= set(recipe.modules)
    assert "://" not in inputs.KIT_RECIPE.read_text(encoding="utf-8")
