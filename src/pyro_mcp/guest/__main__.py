"""Run the agent as a process on a host: `python -m pyro_mcp.guest --listen-fd N --root DIR`."""

from __future__ import annotations

import sys

from pyro_mcp.guest.main import serve_host

if __name__ == "__main__":
    serve_host(sys.argv[1:])
