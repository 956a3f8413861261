"""The hosts of the policy `packages` for an environment, and how long they are remembered."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.image.environments import InstalledEnvironment
from pyro_mcp.image.filesystem import make_image
from pyro_mcp.image.integrity import Artifact
from pyro_mcp.image.manifest import Manifest
from pyro_mcp.image.names import BASE_IMAGE
from pyro_mcp.image.namespace import Namespace
from pyro_mcp.workspace.engine import Engine
from pyro_mcp.workspace.presets import collecting, package_hosts, package_presets
from pyro_mcp.workspace.presets.places import HostPlace

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from pyro_mcp.host.paths import Paths
    from pyro_mcp.workspace.presets.asking import Answer, Question


@pytest.fixture
def engine(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Generator[Engine]:
    """Yield an engine whose indexes all fail: nothing here may depend on a network."""
    from pyro_mcp.workspace.presets.asking import Answer as Said

    def answer(_: Path, questions: Sequence[Question], now: float) -> dict[Question, Answer]:
        assert now > 0
        return {each: Said(("files.example.org",) if each.kind == "pypi" else (), "no network") for each in questions}

    monkeypatch.setattr(collecting, "ask_indexes", answer)
    with closing(Engine(private_paths)) as engine:
        yield engine


@pytest.fixture
def environment(tmp_path: Path) -> InstalledEnvironment:
    tree = tmp_path / "tree"
    (tree / "etc/apt").mkdir(parents=True)
    (tree / "etc/apt/sources.list").write_text("deb http://apt.example.org/debian stable main\n")
    home = tmp_path / "environment"
    home.mkdir()
    make_image(Namespace((), mapped=False), tree, home / BASE_IMAGE)
    manifest = Manifest("environment", "made:1", {BASE_IMAGE: Artifact("0" * 64)}, {"variables": {"LANG": "C"}})
    return InstalledEnvironment("made:1", "0" * 64, home, manifest)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root directory of a made-up host with a mirror of its own."""
    (tmp_path / "host/etc").mkdir(parents=True)
    (tmp_path / "host/etc/pip.conf").write_text("[global]\nindex-url = https://me:secret@mirror.example.org/simple\n")
    return tmp_path / "host"


def host_at(root: Path) -> HostPlace:
    return HostPlace({"HOME": "/root", "PATH": "/usr/bin"}, root)


def test_environment_and_host_come_together(engine: Engine, environment: InstalledEnvironment, root: Path) -> None:
    presets = package_presets(engine, environment, host=host_at(root))

    shown = {(host.host, host.source) for host in presets.hosts}
    assert ("apt.example.org", "apt: /etc/apt/sources.list in the environment") in shown
    assert ("mirror.example.org", "pip: /etc/pip.conf on the host") in shown
    assert ("files.example.org", "pip: named by the index https://mirror.example.org/simple") in shown
    assert (
        "pip: the index https://mirror.example.org/simple can't be asked (no network); an earlier answer is used"
    ) in presets.notes


def test_no_password_is_kept(engine: Engine, environment: InstalledEnvironment, root: Path) -> None:
    presets = package_presets(engine, environment, host=host_at(root))

    kept = (engine.paths.cache / collecting.FILE_NAME).read_text()
    assert "secret" not in repr(presets) + kept


def test_nothing_is_read_again_until_a_file_changes(
    engine: Engine, environment: InstalledEnvironment, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = package_presets(engine, environment, host=host_at(root))
    collect = collecting.collect

    def never(_: object) -> None:
        pytest.fail("read again")

    monkeypatch.setattr(collecting, "collect", never)

    assert package_presets(engine, environment, host=host_at(root)) == first

    monkeypatch.setattr(collecting, "collect", collect)
    (root / "etc/pip.conf").unlink()
    later = package_presets(engine, environment, host=host_at(root))
    assert "mirror.example.org" not in {host.host for host in later.hosts}
    (root / "root").mkdir()
    (root / "root/.npmrc").write_text("registry=https://npm.example.org/\n")
    latest = package_presets(engine, environment, host=host_at(root))
    assert "npm.example.org" in {host.host for host in latest.hosts}


def test_a_variable_that_a_file_refers_to_is_a_change(engine: Engine, root: Path) -> None:
    (root / "root").mkdir()
    (root / "root/.npmrc").write_text("registry=https://${NAME}/\n")

    for name in ("one.example.org", "two.example.org"):
        place = HostPlace({"HOME": "/root", "NAME": name}, root)
        assert name in {host.host for host in package_presets(engine, None, host=place).hosts}


def test_an_image_that_cannot_be_read_leaves_the_host(
    engine: Engine, environment: InstalledEnvironment, root: Path
) -> None:
    environment.base_image.chmod(0o600)
    environment.base_image.write_bytes(b"damaged")

    presets = package_presets(engine, environment, host=host_at(root))

    assert "mirror.example.org" in {host.host for host in presets.hosts}
    assert presets.notes[0].startswith("the image of made:1 can't be read")


def test_this_hosts_own_files_are_read(engine: Engine, environment: InstalledEnvironment) -> None:
    assert "apt.example.org" in {host.host for host in package_hosts(engine, environment)}
