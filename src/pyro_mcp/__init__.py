"""Disposable workspaces for chat-based coding agents: a real virtual machine each.

Owns the public import names, loaded on first use. Refuses to import anything eagerly: `pyro --version`, and the
guest's initramfs, which carries this file, must not pay for what they do not use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.mcp_server import create_server as create_server
    from pyro_mcp.sdk import Pyro as Pyro

__version__ = "5.0.0.dev0"

__all__ = ["Pyro", "__version__", "create_server"]


def __getattr__(name: str) -> object:
    match name:
        case "Pyro":
            from pyro_mcp.sdk import Pyro

            return Pyro
        case "create_server":
            from pyro_mcp.mcp_server import create_server

            return create_server
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
