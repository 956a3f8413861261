"""Build the command that runs a function of this package in a separate Python process.

The process loads this copy of the package, whatever else is installed: -I and -S exclude everything else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# One directory up for each dot in this module's name.
_PACKAGE_HOME = os.fspath(Path(__file__).parents[__name__.count(".")])


def own_python(entry: str, *arguments: str) -> list[str]:
    """Return the command that calls `entry` (`module:function`) with the list of `arguments`."""
    module, function = entry.split(":")
    code = (
        f"import sys\nsys.path.insert(0, sys.argv.pop(1))\nfrom {module} import {function}\n{function}(sys.argv[1:])\n"
    )
    return [sys.executable, "-I", "-S", "-c", code, _PACKAGE_HOME, *arguments]
