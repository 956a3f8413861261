"""Import modules and print the files that they came from. Run by the toolbox's own interpreter.

Usage: closure.py BLOCKED NAME...

BLOCKED is a comma-separated list of names that must not be importable. A NAME that ends with `?` need not be a module.
A name that can't be imported is printed with a `!` before it. This script imports nothing else, since that would be in
the result.
"""

import sys

for name in sys.argv[1].split(","):
    sys.modules[name] = None  # type: ignore[assignment]

for name in sys.argv[2:]:
    try:
        __import__(name.rstrip("?"))
    except ImportError:
        if not name.endswith("?"):
            print("!" + name)  # noqa: T201 - its output is its result

for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.has_location:
        print(spec.origin)  # noqa: T201
