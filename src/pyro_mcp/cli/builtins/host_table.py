"""The commands of `pyro host`: their requests and shapes."""

from __future__ import annotations

from dataclasses import field

from pyro_mcp.cli.builtins.builtin import Builtin, ServeRequest
from pyro_mcp.cli.shape import Shape
from pyro_mcp.operations.fields import Place, Request, about, asked

_SCOPE = about(
    "Where the entry holds: user (everywhere; the default), project (everybody in this project), or, for Claude Code,"
    " local (you, in this project).",
    names="SCOPE",
    pattern="^(user|project|local)$",
    form="user, project or local",
)
_HOST = about(
    "The chat host: claude-code, codex or opencode.",
    place=Place.POSITIONAL,
    names="HOST",
    max_length=40,
    completes="host",
)


class _CommandRequest(ServeRequest):
    """How the server is started: the options of `pyro mcp serve`, and where the host finds pyro."""

    uvx: bool = asked("Start the server with uvx, from the package index.", default=False)
    installed_package: bool = asked(
        "Start plain `pyro`, as the host's PATH has it, instead of its absolute path.", default=False
    )


class ConnectRequest(_CommandRequest):
    """Ask for an entry in a host's configuration."""

    host: str = field(metadata=_HOST)
    scope: str | None = field(default=None, metadata=_SCOPE)
    approve: bool = asked("Let the host call our tools without asking each time (the default).", default=False)
    ask: bool = asked("Leave the host's own way of asking.", default=False)


class DisconnectRequest(Request):
    """Ask for an entry to be removed."""

    host: str = field(metadata=_HOST)
    scope: str | None = field(default=None, metadata=_SCOPE)


class PrintConfigRequest(_CommandRequest):
    """Ask for a host's configuration as text."""

    host: str = asked(
        "The chat host: claude-code, codex, opencode, claude-desktop, cursor, vscode, zed, goose or gemini-cli.",
        place=Place.POSITIONAL,
        names="HOST",
        max_length=40,
    )
    output: str | None = asked(
        "Write it to this new file instead.",
        default=None,
        names="FILE",
        is_host_path=True,
        is_output=True,
        max_length=4096,
    )


class HostDoctorRequest(Request):
    """Ask whether hosts work with us."""

    host: str | None = asked(
        "The chat host: claude-code, codex or opencode; without it all of them.",
        default=None,
        place=Place.POSITIONAL,
        names="HOST",
        max_length=40,
    )


HOST_BUILTINS = (
    Builtin(
        Shape(
            ("host", "connect"),
            "Write an entry for pyro's MCP server into a chat host's configuration. Everything else in it is kept byte"
            " for byte. Options of pyro mcp serve become part of the entry. Doing it again changes nothing;"
            " pyro host disconnect undoes it.",
            ConnectRequest,
        ),
        "pyro_mcp.cli.builtins.hosting:connect",
    ),
    Builtin(
        Shape(
            ("host", "disconnect"),
            "Remove pyro's entry from a chat host's configuration, and the approval of its tools.",
            DisconnectRequest,
        ),
        "pyro_mcp.cli.builtins.hosting:disconnect",
    ),
    Builtin(
        Shape(
            ("host", "repair"),
            "Rewrite pyro's entry where it has drifted. The options of the server that it has are kept, unless others"
            " are given.",
            ConnectRequest,
        ),
        "pyro_mcp.cli.builtins.hosting:repair",
    ),
    Builtin(
        Shape(
            ("host", "print-config"),
            "Print the configuration of a chat host that starts pyro's MCP server.",
            PrintConfigRequest,
        ),
        "pyro_mcp.cli.builtins.hosting:print_config",
    ),
    Builtin(
        Shape(
            ("host", "doctor"),
            "Check whether chat hosts work with pyro: what their configurations say, and what the server does when it"
            " is started as the host would. Exit status 1 if one that is configured does not.",
            HostDoctorRequest,
        ),
        "pyro_mcp.cli.builtins.hosting:doctor",
    ),
)
