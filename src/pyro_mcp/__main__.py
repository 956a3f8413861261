"""`python -m pyro_mcp`: the same as `pyro`. Not for import."""

from __future__ import annotations

import sys

from pyro_mcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
