#!/usr/bin/env python3
"""Bring the work done in a workspace back to a checkout: review, patch, binary files, ignored files."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pyro_mcp import Pyro

WORK = r"""
mkdir -p node_modules/left-pad; for n in $(seq 500); do echo "module.exports = $n" > node_modules/left-pad/$n.js; done
sed -i s/Hello/Good\ morning/ app.js; printf 'caf\351\n' > menu.txt; printf '\211PNG\0' > logo.png
"""


def make_checkout(root: Path) -> None:
    """Create a checkout that ignores what is installed."""
    root.mkdir()
    (root / ".gitignore").write_text("node_modules/\n")
    (root / "app.js").write_text('console.log("Hello");\n')
    (root / "logo.png").write_bytes(b"\0")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, Pyro() as pyro:
        checkout = Path(directory, "checkout")
        make_checkout(checkout)
        ws = pyro.create_workspace("debian:12", seed_path=checkout).workspace_id
        try:
            pyro.exec_workspace(ws, command=WORK)
            diff = pyro.diff_workspace(ws)
            print("ignored ", [each.path for each in diff.ignored if each.path != ".git/"])
            # A change of the project that the patch does not contain is always named.
            print("missing ", [(each.path, each.reason) for each in diff.missing])
            whole = pyro.diff_workspace(ws, binary=True)
            subprocess.run(["git", "apply"], cwd=checkout, input=whole.patch_bytes, check=True)
            print("app.js  ", (checkout / "app.js").read_text(), end="")
            print("menu.txt", (checkout / "menu.txt").read_bytes())
            print("logo.png", (checkout / "logo.png").read_bytes())
            named = pyro.diff_workspace(ws, path="node_modules/left-pad/7.js")
            print("named   ", named.entries[0].path, named.entries[0].status)
        finally:
            print("deleted ", pyro.delete_workspace(ws).deleted)


if __name__ == "__main__":
    main()
