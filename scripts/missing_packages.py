#!/usr/bin/env python3
"""Print what this machine lacks: the packages, one a line, or with --command the line that installs them.

Needs no virtualenv: it runs before there is one. What the product needs is listed in pyro_mcp.host.programs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from pyro_mcp.host import programs

# What only tests run: a guest edits a file with the host's vim, and zsh reads its completion script.
FOR_TESTS = {
    "vim": programs.Packages("vim", "vim-enhanced", "vim", "vim", "vim"),
    "zsh": programs.Packages("zsh", "zsh", "zsh", "zsh", "zsh"),
}

programs.PACKAGES.update(FOR_TESTS)
absent = programs.missing((*programs.REQUIRED, *FOR_TESTS))
if "--command" in sys.argv[1:]:
    print(programs.install_command(absent) or f"(install what brings {', '.join(absent)})")
else:
    print("\n".join(programs.packages_for(absent, programs.package_tool() or "apt")))
