"""Serve MCP over stdin and stdout: the first answers at once, the rest by the SDK's server."""

from __future__ import annotations

import os
import signal
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.mcp_server.first_answers import FirstAnswers, answer_first, listing_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.profiles import Profile

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _as_served(profile: Profile) -> dict[str, object]:
    """Return the document of a profile with what this server was given."""
    listing = listing_of(profile.name)
    listing["instructions"] = profile.instructions
    offered = set(profile.tools)
    listing["tools"] = tools = [
        tool for tool in cast("list[dict[str, Any]]", listing["tools"]) if tool["name"] in offered
    ]
    for tool in tools:
        tool["description"] += profile.addition_to(tool["name"])
        arguments = tool["inputSchema"]["properties"]
        for name in profile.hidden & arguments.keys():
            del arguments[name]
        tool["annotations"]["openWorldHint"] &= profile.has_network
        environment = arguments.get("environment", {})
        if usual := environment.get("default"):
            environment["default"] = profile.environment
            environment["description"] = environment["description"].replace(
                f"Default {usual}.", f"Default {profile.environment}."
            )
    return listing


def serve_stdio(profile: Profile, access: HostAccess, report: Callable[[], object] = lambda: None) -> int:
    """Serve a profile's tools; return the exit status. `report` is called once the first answers are out of the way."""
    for number in _STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Nothing runs yet that would have to be cleaned up.
            signal.signal(number, lambda _number, _frame: os._exit(0))
    handover = answer_first(FirstAnswers(_as_served(profile)), partial(_load, report))
    if handover is not None:
        from pyro_mcp.mcp_server.server import PyroServer
        from pyro_mcp.mcp_server.session import serve
        from pyro_mcp.operations.runner import Runner

        serve(PyroServer(profile, Runner(), access), handover)
    return 0


def _load(report: Callable[[], object]) -> None:
    report()
    for name in ("server", "session"):
        import_module(f"pyro_mcp.mcp_server.{name}")
