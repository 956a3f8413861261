"""Disposable workspaces for chat-based coding agents: a real virtual machine each.

The public names are loaded on first use (their types are in the stub beside this file). Nothing is imported eagerly:
`pyro --version`, and the guest's initramfs, which carries this file, must not pay for code they do not use.
"""

from __future__ import annotations

__version__ = "5.0.0.dev0"

_HOMES = {"Pyro": "pyro_mcp.sdk", "create_server": "pyro_mcp.mcp_server.server"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES])
