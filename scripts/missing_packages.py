#!/usr/bin/env python3
"""Print the missing system packages, one per line, or with --command the command that installs them.

It runs before there is a virtualenv. The product's own programs are listed in pyro_mcp.host.programs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from pyro_mcp.host import programs

# Needed only by tests: the host's vim edits a file in a guest, and zsh and fish read their completion scripts.
FOR_TESTS = {
    "vim": programs.Packages("vim", "vim-enhanced", "vim", "vim", "vim"),
    "fish": programs.Packages("fish", "fish", "fish", "fish", "fish"),
    "zsh": programs.Packages("zsh", "zsh", "zsh", "zsh", "zsh"),
}

programs.PACKAGES.update(FOR_TESTS)
absent = programs.missing((*programs.REQUIRED, *FOR_TESTS))
if "--command" in sys.argv[1:]:
    print(programs.install_command(absent) or f"(install what brings {', '.join(absent)})")
else:
    print("\n".join(programs.packages_for(absent, programs.package_tool() or "apt")))
