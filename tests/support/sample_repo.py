"""A small project with a bug, and the patch that fixes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = {
    "README.md": "# Stats\n",
    "stats/__init__.py": "",
    "stats/mean.py": 'def mean(values):\n    """Return the mean."""\n    return sum(values) / (len(values) - 1)\n',
    "tests/__init__.py": "",
    "tests/test_mean.py": (
        "import unittest\n\nfrom stats.mean import mean\n\n\nclass MeanTest(unittest.TestCase):\n"
        "    def test_mean(self):\n        self.assertEqual(mean([1, 2, 3]), 2)\n"
    ),
    "run-tests": "#!/bin/sh\nexec python3 -m unittest discover -s tests -t . 2>&1\n",
}
TEST = "./run-tests"
# As models write them: wrong line numbers, no counts.
PATCH = """\
Here is the fix:

```diff
--- a/stats/mean.py
+++ b/stats/mean.py
@@ -10 +10 @@
     \"\"\"Return the mean.\"\"\"
-    return sum(values) / (len(values) - 1)
+    return sum(values) / len(values)
```
"""


def make_repo(root: Path, files: Mapping[str, str] = FILES) -> Path:
    """Make a checkout of the project, or of other files, with a commit, and return it; scripts are executable."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
    git("init", "--quiet", "--initial-branch=main", cwd=root)
    git("add", "--all", cwd=root)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    committed = git(*identity, "commit", "--quiet", "--message=first", cwd=root)
    assert committed.returncode == 0, committed.stderr
    return root
