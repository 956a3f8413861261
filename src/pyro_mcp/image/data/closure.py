"""Import modules and print the files that they came from. Run by the toolbox's own interpreter.

Usage: closure.py BLOCKED NAME...

BLOCKED is a list of names, separated by commas, that count as not there. A NAME that ends with `?` may be no module.
A name that can't be imported is printed with a `!` before it. Imports nothing for itself: that would be in the result.
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
