#!/usr/bin/env python3
"""Print what this machine lacks: the packages, one a line, or with --command the line that installs them.

Needs no virtualenv: it runs before there is one. The list itself is in pyro_mcp.host.programs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from pyro_mcp.host import programs

absent = programs.missing()
if "--command" in sys.argv[1:]:
    print(programs.install_command(absent) or f"(install what brings {', '.join(absent)})")
else:
    print("\n".join(programs.packages_for(absent, programs.package_tool() or "apt")))
