#!/usr/bin/env python3
"""Fix a bug in a workspace: copy a project, run the failing test, patch, diff, reset."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pyro_mcp import Pyro

TEST = "python3 -m unittest -q 2>&1"
PATCH = """\
--- a/mean.py
+++ b/mean.py
@@ -1,2 +1,2 @@
 def mean(values):
-    return sum(values) / (len(values) - 1)
+    return sum(values) / len(values)
"""


def make_project(root: Path) -> None:
    """Create a project with a bug and a failing test."""
    root.mkdir()
    (root / "mean.py").write_text("def mean(values):\n    return sum(values) / (len(values) - 1)\n")
    (root / "test_mean.py").write_text(
        "import unittest\nfrom mean import mean\n\n\nclass Test(unittest.TestCase):\n"
        "    def test_mean(self):\n        self.assertEqual(mean([1, 2, 3]), 2)\n"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, Pyro() as pyro:
        project, out = Path(directory, "project"), Path(directory, "fixed")
        make_project(project)
        # The project is copied; nothing in the workspace changes it.
        workspace = pyro.create_workspace("debian:12", seed_path=project, labels={"example": "fix"})
        ws = workspace.workspace_id
        print("created ", ws, workspace.isolation)
        try:
            failing = pyro.exec_workspace(ws, command=TEST)
            print("before  ", "exit", failing.exit_code, failing.stdout.strip().splitlines()[-1])
            # A patch applies completely, or changes nothing and raises an error.
            pyro.apply_workspace_patch(ws, patch=PATCH)
            print("after   ", "exit", pyro.exec_workspace(ws, command=TEST).exit_code)
            print(pyro.diff_workspace(ws, path="mean.py").patch, end="")
            print(pyro.summarize_workspace(ws).page)
            exported = pyro.export_workspace(ws, "mean.py", output_path=out)
            print("exported", exported.bytes_written, "bytes:", "len(values)\n" in out.read_text())
            # Back to the state after creation: cheaper than repairing it.
            print("reset   ", pyro.reset_workspace(ws).reset_count)
            print("again   ", "exit", pyro.exec_workspace(ws, command=TEST).exit_code)
        finally:
            print("deleted ", pyro.delete_workspace(ws).deleted)


if __name__ == "__main__":
    main()
