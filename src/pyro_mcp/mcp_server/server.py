"""The low-level MCP server of a profile: its tools, and how a call reaches its operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from pyro_mcp import __version__
from pyro_mcp.mcp_server.calls import MAX_CALLS, Tool, call_tool
from pyro_mcp.mcp_server.first_answers import NAME, TITLE
from pyro_mcp.mcp_server.schemas import ToolInput, output_schema
from pyro_mcp.mcp_server.shaping import MAX_RESULT_CHARS, marked_fields
from pyro_mcp.operations.host_access import host_access
from pyro_mcp.operations.profiles import ALWAYS_LOADED, SEARCH_HINTS, find_profile
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.table import find_tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from mcp.server.context import ServerRequestContext

    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.operation import Operation
    from pyro_mcp.operations.profiles import Profile


class HasRunner(Protocol):
    """The source of a server: a `Pyro`, for one."""

    @property
    def runner(self) -> Runner:
        """Return the runner of operations."""
        ...


def create_server(
    manager: HasRunner | None = None,
    *,
    profile: str | None = None,
    mode: str | None = None,
    allow_paths: Iterable[str | PathLike[str]] = (),
) -> Server[dict[str, Any]]:
    """Make an MCP server that shows the tools of a profile (default: workspace-core), to be run over any transport.

    Host paths that its tools take must be below the git checkout of the working directory or one of `allow_paths`.

    Raises:
        PyroError: INVALID or UNSUPPORTED for a profile or mode that there is not.
    """
    runner = manager.runner if manager is not None else Runner()
    return server_of(find_profile(profile, mode), runner, host_access(allow_paths))


def server_of(chosen: Profile, runner: Runner, access: HostAccess) -> Server[dict[str, Any]]:
    """Make an MCP server that offers the tools of `chosen` and runs them with `runner`."""
    operations = {str(row.mcp): row for row in find_tools(chosen.tools)}
    tools = {name: Tool(row, ToolInput(row, chosen.hidden), access) for name, row in operations.items()}
    listed = [_describe(tool.operation, tool.input, chosen) for tool in tools.values()]
    limiters: list[anyio.CapacityLimiter] = []

    async def list_tools(
        _context: ServerRequestContext[dict[str, Any]], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def on_call_tool(
        context: ServerRequestContext[dict[str, Any]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"unknown tool {params.name[:60]!r}; available: {', '.join(tools)}")
        if not limiters:
            # A limiter belongs to the event loop that it is made in.
            limiters.append(anyio.CapacityLimiter(MAX_CALLS))
        return await call_tool(tool, params.arguments, runner, limiters[0], context.session.report_progress)

    return Server(
        NAME,
        version=__version__,
        title=TITLE,
        instructions=chosen.instructions,
        on_list_tools=list_tools,
        on_call_tool=on_call_tool,
    )


def listing(chosen: Profile) -> dict[str, Any]:
    """Return the instructions and the tools of a profile, as `first_answers` gives them."""
    tools = (_describe(row, ToolInput(row, chosen.hidden), chosen) for row in find_tools(chosen.tools))
    return {
        "instructions": chosen.instructions,
        "tools": [tool.model_dump(mode="json", by_alias=True, exclude_unset=True) for tool in tools],
    }


def _describe(row: Operation[Any, Any], arguments: ToolInput, chosen: Profile) -> types.Tool:
    speaks = bool(marked_fields(row.result))
    tool = types.Tool(
        name=str(row.mcp),
        title=row.title,
        description=chosen.description_of(row),
        input_schema=arguments.schema,
        output_schema=output_schema(row, guest_note=speaks),
        annotations=types.ToolAnnotations.model_validate(_annotations(row, chosen)),
    )
    # Claude Code writes what is longer to a file and shows the model its beginning only.
    meta: dict[str, Any] = {"anthropic/maxResultSizeChars": MAX_RESULT_CHARS} if speaks else {}
    if tool.name in ALWAYS_LOADED:
        meta["anthropic/alwaysLoad"] = True
    if tool.name in SEARCH_HINTS:
        meta["anthropic/searchHint"] = SEARCH_HINTS[tool.name]
    if meta:
        tool.meta = meta
    return tool


def _annotations(row: Operation[Any, Any], chosen: Profile) -> dict[str, object]:
    """Return a tool's annotations. Codex asks before one with an open world; without a network, none has it."""
    told: dict[str, object] = dict(row.annotations)
    return told if chosen.has_network else {**told, "openWorldHint": False}
