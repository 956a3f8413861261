"""A repository as people have them, and the whole way from a seed to an exported fix."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

from tests.support.recipes.recipe import Step, fact
from tests.support.sample_repo import make_repo
from tests.unit.patches.trees import git

if TYPE_CHECKING:
    from pathlib import Path

WS = {"workspace_id": "{ws}"}
FILES = {
    "README.md": "# Shop\n",
    ".gitignore": "build/\nnode_modules/\n*.log\nsecret.env\n.venv/\n__pycache__/\n",
    "old.py": "",
    "shop/__init__.py": "",
    "shop/prices.py": "from money import rounded\n\n\ndef total(prices):\n    return rounded(sum(prices[1:]))\n",
    "shop/__main__.py": (
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n\n"
        "from shop.prices import total\n\n\n"
        "class Shop(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        '        self.wfile.write(f"total {total([1.504, 2, 3])}\\n".encode())\n\n\n'
        'HTTPServer(("127.0.0.1", 8000), Shop).serve_forever()\n'
    ),
    "test_prices.py": (
        "import unittest\n\nfrom shop.prices import total\n\n\nclass Total(unittest.TestCase):\n"
        "    def test_total(self):\n        self.assertEqual(total([1.504, 2, 3]), 6.5)\n"
    ),
}
PATCH = """\
--- a/shop/prices.py
+++ b/shop/prices.py
@@ -2,4 +2,4 @@


 def total(prices):
-    return rounded(sum(prices[1:]))
+    return rounded(sum(prices))
"""
_TEST = {**WS, "command": ".venv/bin/python -m unittest 2>&1", "timeout_seconds": 120}
_INSTALL = (
    "python3 -m venv --without-pip .venv"
    " && python3 -m pip --python .venv/bin/python install --no-index --find-links wheels money"
)
_SERVICE = {**WS, "service_name": "web", "command": ".venv/bin/python -m shop", "ready_http": "http://127.0.0.1:8000/"}
WORK = (
    Step(
        "workspace_exec", {**WS, "command": _INSTALL, "timeout_seconds": 300}, shows=("Successfully installed money",)
    ),
    Step("workspace_exec", _TEST, shows=(fact("exit_code", 1), r"5\.0 != 6\.5")),
    Step("workspace_patch_apply", {**WS, "patch": PATCH}, shows=(fact("changed", value=True),)),
    Step("workspace_exec", _TEST, shows=(fact("exit_code", 0), "OK")),
    Step("service_start", {**_SERVICE, "ready_timeout_seconds": 60}, shows=(fact("state", "running"),)),
    Step("workspace_exec", {**WS, "command": "curl -sS http://127.0.0.1:8000/"}, shows=(r"total 6\.5",)),
    Step("workspace_diff", WS, shows=(r"\+    return rounded\(sum\(prices\)\)",), hides=(r"\.venv/bin",)),
    Step(
        "workspace_export", {**WS, "path": "shop", "output_path": "fixed"}, shows=(fact("artifact_type", "directory"),)
    ),
    Step("workspace_delete", WS, shows=(fact("deleted", value=True),)),
)


def create(origin: str, **arguments: object) -> Step:
    """Return the first step, for a server that has a project."""
    return Step("workspace_create", arguments, {"ws": "(ws_[a-z0-9]+)"}, (fact("origin_kind", origin),))


def make_shop(root: Path) -> Path:
    """Make the repository, with the wheel that it needs."""
    (root / "wheels").mkdir(parents=True)
    about = "money-1.0.dist-info"
    with zipfile.ZipFile(root / "wheels" / "money-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("money.py", "def rounded(value):\n    return round(float(value), 2)\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: money\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", f"money.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return make_repo(root, FILES)


def make_mess(root: Path) -> None:
    """Do to a checkout what weeks of work do: edits, generated and ignored files, and some that can't be read."""
    (root / "README.md").write_text("# Shop, edited\n")
    (root / "old.py").unlink()
    (root / "staged.py").write_text("staged = True\n")
    git("add", "staged.py", cwd=root)
    for number in range(300):
        package = root / "node_modules" / f"package{number}"
        package.mkdir(parents=True)
        (package / "index.js").write_text("x" * 1000)
    (root / "build").mkdir()
    (root / "build" / "generated.py").write_text("generated = True\n")
    (root / "app.log").write_text("log\n")
    (root / "notes.txt").write_text("untracked\n")
    (root / "latest").symlink_to("gone")
    # Root may read the first two; opening a pipe that nobody writes to would never end.
    for name in ("secret.env", "private"):
        (root / name).write_text("secret\n")
        (root / name).chmod(0)
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "build" / "pipe")


MESSY = (
    create("project_path"),
    Step(
        "workspace_exec",
        {**WS, "command": "cat README.md; ls -A; git status --porcelain"},
        shows=("Shop, edited", r" M README\.md", r" D old\.py", r"A  staged\.py"),
        hides=("node_modules", r"\bbuild\b", r"app\.log", "notes", "latest", "secret", "private", "pipe"),
    ),
    *WORK,
)
