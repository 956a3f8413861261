"""A repository as people have them: seeded, installed, tested, patched, served, exported (make smoke-real-repo)."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import Pyro
from pyro_mcp.host import process
from tests.support.recipes.client import play
from tests.support.recipes.real_repo import MESSY, WORK, create, make_mess, make_shop
from tests.support.recipes.recipe import Recipe, Step, fact
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(500)]
PROFILE = ("--profile", "workspace-full")
TIMEOUT_S = 400
NETWORK = os.environ.get("NETWORK") == "1"


@pytest.fixture(autouse=True)
def leaves_no_workspace() -> Generator[None]:
    yield
    with Pyro() as pyro:
        for each in pyro.list_workspaces().workspaces:
            pyro.delete_workspace(each.workspace_id)


@contextmanager
def serving(directory: Path) -> Generator[str]:
    """Serve a directory over HTTP on loopback."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="git-server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_messy_checkout_is_installed_fixed_served_and_exported(tmp_path: Path) -> None:
    root = make_shop(tmp_path / "shop")
    make_mess(root)
    before = git("status", "--porcelain", "--ignored", cwd=root).stdout
    play(Recipe("messy", PROFILE, MESSY), root, timeout_s=TIMEOUT_S)
    assert (root / "fixed" / "prices.py").read_text().endswith("    return rounded(sum(prices))\n")
    after = git("status", "--porcelain", "--ignored", cwd=root).stdout
    assert after.replace(b"?? fixed/\n", b"") == before


@pytest.mark.parametrize("transport", ["file", "http"])
def test_a_clean_clone_is_installed_fixed_served_and_exported(transport: str, tmp_path: Path) -> None:
    root = make_shop(tmp_path / "shop")
    make_mess(root)
    bare, place = tmp_path / "shop.git", tmp_path / "place"
    place.mkdir()
    assert git("clone", "--quiet", "--bare", str(root), str(bare), cwd=tmp_path).returncode == 0
    # So that a server of plain files will do.
    assert git("update-server-info", cwd=bare).returncode == 0
    clean = Step(
        "workspace_exec",
        {"workspace_id": "{ws}", "command": "git status --porcelain; git log --oneline; cat README.md"},
        shows=("first", "# Shop"),
        hides=("edited", "staged", "notes"),
    )
    with serving(tmp_path) as address:
        url = f"file://{bare}" if transport == "file" else f"{address}/shop.git"
        options = (*PROFILE, "--repo-url", url, "--repo-ref", "main", "--allow-path", str(place))
        export = {"workspace_id": "{ws}", "path": "shop", "output_path": str(place / "fixed")}
        work = [Step("workspace_export", export) if step.tool == "workspace_export" else step for step in WORK]
        play(Recipe(transport, options, (create("repo_url"), clean, *work)), place, timeout_s=TIMEOUT_S)
    assert (place / "fixed" / "prices.py").read_text().endswith("    return rounded(sum(prices))\n")


def setting(name: str) -> str:
    """Return a setting of this host's own pip, empty if it has none."""
    found = process.run(["python3", "-m", "pip", "config", "get", f"global.{name}"], timeout_s=60, check=False)
    return os.environ.get(f"PIP_{name.replace('-', '_').upper()}") or (found.text.strip() * (found.returncode == 0))


@pytest.mark.skipif(not NETWORK, reason="downloads a package: NETWORK=1")
def test_a_package_is_installed_by_pip_over_the_network(tmp_path: Path) -> None:
    root = make_shop(tmp_path / "shop")
    # The index and the certificates that are usual on this host's network.
    variables: dict[str, str] = {}
    if index := setting("index-url"):
        variables["PIP_INDEX_URL"] = index
    if certificates := setting("cert"):
        shutil.copy(certificates, root / "certificates.pem")
        git("add", "certificates.pem", cwd=root)
        variables["PIP_CERT"] = "/workspace/certificates.pem"
    install = (
        "python3 -m venv --without-pip .venv && python3 -m pip --python .venv/bin/python install iniconfig"
        " && .venv/bin/python -c 'import iniconfig'"
    )
    arguments = {"workspace_id": "{ws}", "command": install, "timeout_seconds": 300, "env": variables}
    steps = (
        create("project_path", network_policy="egress"),
        Step("workspace_exec", arguments, shows=(fact("exit_code", 0), "Successfully installed iniconfig")),
        Step("workspace_delete", {"workspace_id": "{ws}"}, shows=(fact("deleted", value=True),)),
    )
    play(Recipe("network", PROFILE, steps), root, timeout_s=TIMEOUT_S)
