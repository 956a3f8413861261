"""Disposable workspaces for chat-based coding agents: a real virtual machine each.

The public names are loaded on first use (their types are in the stub beside this file). Nothing is imported eagerly:
`pyro --version`, and the guest's initramfs, which carries this file, must not pay for code they do not use.
"""

from __future__ import annotations

__version__ = "5.0.0.dev0"

_HOMES = {
    **dict.fromkeys(
        (
            "BuildFailedError",
            "BusyError",
            "CancelledError",
            "ConflictError",
            "CorruptError",
            "ErrorCode",
            "GuestLostError",
            "InternalError",
            "InvalidError",
            "IsDirectoryError",
            "MissingProgramError",
            "NoSpaceError",
            "NotFoundError",
            "NotPermittedError",
            "ProgramFailedError",
            "ProtocolError",
            "PyroError",
            "TimedOutError",
            "TooLargeError",
            "UnavailableError",
            "UnsupportedError",
        ),
        "pyro_mcp.errors",
    ),
    "ProgressEvent": "pyro_mcp.sdk.calling",
    **dict.fromkeys(
        (
            "FileInfo",
            "Files",
        ),
        "pyro_mcp.sdk.files",
    ),
    **dict.fromkeys(
        (
            "Service",
            "Shell",
            "Workspace",
        ),
        "pyro_mcp.sdk.workspace",
    ),
    "AsyncPyro": "pyro_mcp.sdk.asynchronous",
    "Pyro": "pyro_mcp.sdk.pyro",
    "PyroServer": "pyro_mcp.mcp_server.server",
    "create_server": "pyro_mcp.mcp_server.server",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES])
