"""One call of a tool: the operation in its own thread, its progress and its cancellation.

A cancelled call returns only after the operation has released what it acquired: its guest ends first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
from mcp.types import CallToolResult, TextContent

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.mcp_server.shaping import STREAM_BYTES, hint_in_words, progress_text, shape_error, shape_result
from pyro_mcp.mcp_server.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyro_mcp.agent import CancelToken
    from pyro_mcp.mcp_server.schemas import ToolInput
    from pyro_mcp.operations.host_access import HostAccess
    from pyro_mcp.operations.operation import Operation, Result
    from pyro_mcp.operations.runner import Runner

    Report = Callable[[float, float | None, str], Awaitable[None]]

# How many calls run at the same time; more of them wait. Their own limit, so that they never starve the transport.
MAX_CALLS = 32
# Hosts give a call up that says nothing for a minute.
HEARTBEAT_S = 10.0
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its row and its arguments."""

    operation: Operation[Any, Any]
    input: ToolInput
    host_access: HostAccess
    #: Whether the server has a way to allow a host that was refused to it.
    can_allow_hosts: bool = False


class CallProgress:
    """The progress of one call: kept by the thread that works, sent by the one that waits.

    A call that is not wanted any more ends here, too: whatever is told how far it is asks, by that, whether to go on.
    """

    def __init__(self, name: str, cancel: CancelToken) -> None:
        self._lock = threading.Lock()
        self._cancel = cancel
        self._refused = False
        self._phase, self._message = name, ""
        self._changed = True

    def phase(self, name: str, message: str = "") -> None:
        """Keep the phase.

        Raises:
            PyroError: CANCELLED, once: the clean-up that follows may tell how far it is.
        """
        self._check()
        with self._lock:
            self._phase, self._message, self._changed = name, message, True

    def advance(self, fraction: float | None = None, message: str = "") -> None:
        """Keep what the phase is busy with.

        Raises:
            PyroError: as `phase`.
        """
        self._check()
        percent = "" if fraction is None else f"{min(max(fraction, 0.0), 1.0):.0%}"
        with self._lock:
            self._message = " ".join(part for part in (percent, message) if part) or self._message

    def _check(self) -> None:
        if self._cancel.cancelled and not self._refused:
            self._refused = True
            self._cancel.check()

    @property
    def changed(self) -> bool:
        """Say whether there is news."""
        with self._lock:
            return self._changed

    def text(self) -> str:
        """Return the current progress, and mark it as read."""
        with self._lock:
            self._changed = False
            return progress_text(self._phase, self._message)


async def call_tool(
    tool: Tool, arguments: dict[str, Any] | None, runner: Runner, limiter: anyio.CapacityLimiter, report: Report
) -> CallToolResult:
    """Answer one call. A failure of the tool is an answer too, marked as an error."""
    try:
        request = tool.input.parse(arguments or {})
        document = shape_result(await _run(tool, request, runner, limiter, report))
        if document.get("network_hint"):
            document["network_hint"] = hint_in_words(str(document["network_hint"]), can_allow=tool.can_allow_hosts)
        return _answer(document, is_error=False)
    except PyroError as error:
        return _answer(shape_error(error), is_error=True)
    except Exception as error:  # noqa: BLE001 - the top of a surface: the host gets an answer whatever happens
        return _answer(shape_error(_unexpected(error)), is_error=True)


async def _run(tool: Tool, request: object, runner: Runner, limiter: anyio.CapacityLimiter, report: Report) -> Result:
    from pyro_mcp.agent import CancelToken

    cancel = CancelToken()
    progress = CallProgress(tool.operation.name, cancel)
    call = replace(
        runner.call(), progress=progress, cancel=cancel, stream_bytes=STREAM_BYTES, host_access=tool.host_access
    )
    finished = anyio.Event()
    outcomes: list[Result | PyroError] = []

    def work() -> Result | PyroError:
        # A task group would wrap what is raised in it, so what was to be expected comes as a value.
        try:
            return runner.run(tool.operation, request, call)
        except PyroError as error:
            return error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_with_the_call, cancel, finished)
        tasks.start_soon(_report_progress, progress, report, finished)
        try:
            outcomes.append(await anyio.to_thread.run_sync(work, limiter=limiter))
        finally:
            finished.set()
    for outcome in outcomes:
        if isinstance(outcome, PyroError):
            raise outcome
        return outcome
    raise PyroError(ErrorCode.CANCELLED, "the call was cancelled")


async def _cancel_with_the_call(cancel: CancelToken, finished: anyio.Event) -> None:
    try:
        await finished.wait()
    finally:
        # Cancelled: this runs at once, while the thread with the operation is still waited for.
        if not finished.is_set():
            cancel.cancel()


async def _report_progress(progress: CallProgress, report: Report, finished: anyio.Event) -> None:
    """Tell the client what the call is busy with, when that changes, and every few seconds that it is alive."""
    told, silent_s = 0, 0.0
    while not finished.is_set():
        if progress.changed or silent_s >= HEARTBEAT_S:
            told += 1
            silent_s = 0.0
            await report(float(told), None, progress.text())
        with anyio.move_on_after(LOOK_S):
            await finished.wait()
        silent_s += LOOK_S


def _answer(document: dict[str, object], *, is_error: bool) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=as_text(document))], structured_content=document, is_error=is_error
    )


def _unexpected(error: Exception) -> PyroError:
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return PyroError(
        ErrorCode.INTERNAL,
        f"internal error: {type(error).__name__}: {error}",
        hint="Try again; if it happens again, report it.",
    )
