"""`python -m pyro_mcp.cli`: the same as `pyro`. Not for import."""

from __future__ import annotations

from pyro_mcp.cli.main import run

if __name__ == "__main__":
    run()
