"""The MCP server of a profile: its tools, and how a call reaches its operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from pyro_mcp import __version__
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.mcp_server.calls import MAX_CALLS, Tool, call_tool
from pyro_mcp.mcp_server.first_answers import NAME, TITLE
from pyro_mcp.mcp_server.schemas import ToolInput, output_schema
from pyro_mcp.mcp_server.shaping import MAX_RESULT_CHARS, marked_fields
from pyro_mcp.operations.host_access import current_checkout, host_access
from pyro_mcp.operations.profiles import ALWAYS_LOADED, SEARCH_HINTS, find_profile
from pyro_mcp.operations.project import find_project
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.table import find_tools

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from mcp.server.context import ServerRequestContext

    from pyro_mcp.mcp_server.calls import Report
    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.operation import Operation
    from pyro_mcp.operations.profiles import Profile


class HasRunner(Protocol):
    """The source of a server: a `Pyro`, for one."""

    @property
    def runner(self) -> Runner:
        """Return the runner of operations."""
        ...


class ListedTool(types.Tool):
    """A tool, as `PyroServer.list_tools` returns it."""

    @property
    def inputSchema(self) -> dict[str, Any]:  # noqa: N802 - MCP's own spelling
        """Return the schema of its arguments."""
        return self.input_schema


class PyroServer(Server[dict[str, Any]]):
    """An MCP server for any transport, whose tools can also be called in this process."""

    def __init__(self, chosen: Profile, runner: Runner, access: HostAccess) -> None:
        super().__init__(
            NAME,
            version=__version__,
            title=TITLE,
            instructions=chosen.instructions,
            on_list_tools=self._on_list_tools,
            on_call_tool=self._on_call_tool,
        )
        operations = {str(row.mcp): row for row in find_tools(chosen.tools)}
        self._tools = {
            name: Tool(row, ToolInput(row, chosen.hidden, chosen.given_to(row)), access, chosen.can_allow_hosts(row))
            for name, row in operations.items()
        }
        self._listed = [_describe(tool.operation, tool.input, chosen) for tool in self._tools.values()]
        self._runner = runner
        self._limiters: list[anyio.CapacityLimiter] = []

    async def list_tools(self) -> list[ListedTool]:
        """Return the tools: name, description, inputSchema."""
        return list(self._listed)

    async def call_tool(
        self, name: str, arguments: dict[str, Any] | None = None
    ) -> tuple[list[types.ContentBlock], dict[str, Any]]:
        """Call a tool; return its content and its structured result, for a failure {"ok": False, "error": {…}}.

        Raises:
            MCPError: there is no such tool.
        """

        async def unreported(*_: object) -> None:
            pass

        # Each call has a limiter of its own, since each may run in another event loop.
        done = await self._called(name, arguments, unreported, anyio.CapacityLimiter(1))
        return done.content, done.structured_content or {}

    # The base class takes the streams of a transport; without any, stdin and stdout are served.
    def run(self, *streams: Any, transport: str = "stdio", **options: Any) -> Any:  # noqa: ANN401 - as it says
        """Serve the streams of a transport (a coroutine), or, without any, stdin and stdout until they are closed.

        Raises:
            PyroError: UNSUPPORTED for another transport than stdio.
        """
        if streams or options:
            return super().run(*streams, **options)
        if transport != "stdio":
            raise PyroError(ErrorCode.UNSUPPORTED, f"the transport {transport!r} is not supported", hint="Use stdio.")
        from pyro_mcp.mcp_server.session import serve

        return serve(self)

    async def _on_list_tools(
        self, _context: ServerRequestContext[dict[str, Any]], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(self._listed))

    async def _on_call_tool(
        self, context: ServerRequestContext[dict[str, Any]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        if not self._limiters:
            # A limiter belongs to the event loop that it is made in.
            self._limiters.append(anyio.CapacityLimiter(MAX_CALLS))
        report = context.session.report_progress
        return await self._called(params.name, params.arguments, report, self._limiters[0])

    async def _called(
        self, name: str, arguments: dict[str, Any] | None, report: Report, limiter: anyio.CapacityLimiter
    ) -> types.CallToolResult:
        tool = self._tools.get(name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"unknown tool {name[:60]!r}; available: {', '.join(self._tools)}")
        return await call_tool(tool, arguments, self._runner, limiter, report)


def create_server(
    manager: HasRunner | None = None,
    *,
    profile: str | None = None,
    mode: str | None = None,
    environment: str | None = None,
    network_policy: str | None = None,
    allow_hosts: Iterable[str] = (),
    deny_hosts: Iterable[str] = (),
    allow_paths: Iterable[str | PathLike[str]] = (),
    ca_files: Iterable[str | PathLike[str]] = (),
    project_path: str | PathLike[str] | None = None,
    repo_url: str | None = None,
    repo_ref: str | None = None,
    no_project_source: bool = False,
) -> PyroServer:
    """Make an MCP server that shows the tools of a profile (default: workspace-core), to be run over any transport.

    Workspaces start from the git-tracked files of the checkout around the working directory, or from `project_path`, or
    from a clone of `repo_url` at `repo_ref`, unless `no_project_source`. Host paths that its tools take must be below
    the project, the checkout, or one of `allow_paths`. Guests trust the certificate authorities in `ca_files`.

    Raises:
        PyroError: INVALID or UNSUPPORTED for an unknown profile, mode, project or network policy; INVALID, NOT_FOUND or
            PERMISSION for a file that is not one of certificates.
    """
    runner = manager.runner if manager is not None else Runner()
    project = find_project(
        project_path=project_path, repo_url=repo_url, repo_ref=repo_ref, no_project_source=no_project_source,
        checkout=current_checkout(),
    )  # fmt: skip
    chosen = find_profile(profile, mode).serving(
        environment, project, network_policy, allow_hosts=allow_hosts, deny_hosts=deny_hosts, ca_files=ca_files
    )
    return PyroServer(chosen, runner, host_access(allow_paths, project))


def listing(chosen: Profile) -> dict[str, Any]:
    """Return the instructions and the tools of a profile, as `first_answers` gives them."""
    tools = (
        _describe(row, ToolInput(row, chosen.hidden, chosen.given_to(row)), chosen) for row in find_tools(chosen.tools)
    )
    return {
        "instructions": chosen.instructions,
        "tools": [tool.model_dump(mode="json", by_alias=True, exclude_unset=True) for tool in tools],
    }


def _describe(row: Operation[Any, Any], arguments: ToolInput, chosen: Profile) -> ListedTool:
    speaks = bool(marked_fields(row.result))
    tool = ListedTool(
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
