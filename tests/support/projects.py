"""A change to a project: made and tested in a guest that is seeded with it, then applied and tested on the host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.host import process
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp import Workspace

IGNORED = ".venv/\n*.egg-info/\n__pycache__/\nlibs/\nnode_modules/\ntarget/\nCargo.lock\n"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# The variables by which pip, npm, cargo and OpenSSL find certificate authorities.
TRUST: dict[str, str] = dict.fromkeys(
    ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO", "SSL_CERT_FILE"), str(AUTHORITIES)
)
LIMIT_S = 1200


@dataclass(frozen=True)
class Project:
    """A project and a change to it; the commands are lines for bash, run at the top of the checkout."""

    fetch: Callable[[Path], Path]  # into an empty directory; returns the source
    setup: str  # in the guest and on the host
    test: str  # the project's tests and the new one
    edit: tuple[str, str, str]  # a file, a text in it, what replaces that
    probe: tuple[str, str]  # a new file with a test that the edit makes pass
    toolchain: str = "true"  # what debian:12 lacks, in the guest alone


def checkout(project: Project, place: Path) -> Path:
    """Make a repository of the project's source, as its authors have one."""
    place.mkdir()
    root = project.fetch(place)
    (root / ".gitignore").write_text(IGNORED)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "import")):
        done = git(*words, cwd=root)
        assert done.returncode == 0, done.stderr
    return root


def trust_the_hosts_authorities(workspace: Workspace) -> None:
    """Copy the host's certificate authorities, for a network that has one of its own."""
    workspace.files.write(str(AUTHORITIES), AUTHORITIES.read_bytes())


def change_in_guest(project: Project, workspace: Workspace) -> bytes:
    """Install, test, edit and test the project in a workspace seeded with it, and return the diff."""

    def must(command: str) -> None:
        done = workspace.exec(command, timeout_seconds=LIMIT_S, env=TRUST)
        assert done.exit_code == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    must(project.toolchain)
    must(project.setup)
    must(f"mkdir -p {Path(project.probe[0]).parent}")
    workspace.files.write(*project.probe)
    assert workspace.exec(project.test, timeout_seconds=LIMIT_S, env=TRUST).exit_code not in {0, 124, 127}
    path, before, after = project.edit
    text = workspace.files.read(path)
    assert text.count(before) == 1
    workspace.files.write(path, text.replace(before, after))
    must(project.test)
    shown = workspace.diff()
    assert {each.path for each in shown.entries} == {path, project.probe[0]}
    assert shown.missing == []
    return shown.patch_bytes


def change_on_host(project: Project, root: Path, patch: bytes) -> None:
    """Apply a diff to the host's checkout, and run the tests there."""
    assert git("status", "--porcelain", cwd=root).stdout == b""
    applied = git("apply", "-", cwd=root, stdin=patch)
    assert applied.returncode == 0, applied.stderr
    assert project.edit[2] in (root / project.edit[0]).read_text()
    # The temporary files of their tests go with the checkout.
    own = {**os.environ, "TMPDIR": str(root.parent)}
    for command in (project.setup, project.test):
        process.run(["bash", "-c", command], timeout_s=LIMIT_S, cwd=root, env=own)
