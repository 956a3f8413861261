"""Translate the agent's FAILURE frames into errors.

The guest's own message is shown only if the host has no better one, and without control characters.
"""

from __future__ import annotations

from pyro_mcp.agent.messages import ExecRequest, breach, printable
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol import services, shells, wire
from pyro_mcp.protocol.documents import Document

_MAX_WORDS_CHARS = 500
_MAX_NAME_CHARS = 200
_EXIT_CODES = (126, 127)
_REASONS = {
    wire.NO_SUCH_SERVICE: (
        ErrorCode.NOT_FOUND,
        "no such service",
        "`pyro workspace service list` lists its services. They end when the workspace is stopped or reset.",
    ),
    wire.TOO_MANY_SERVICES: (
        ErrorCode.CONFLICT,
        f"{services.MAX_SERVICES} services are already running",
        "Stop one that is no longer needed.",
    ),
    wire.PORT_ANSWERED: (
        ErrorCode.CONFLICT,
        "another process or starting service already uses the port of its readiness check",
        "Stop the process that listens there, or use another port.",
    ),
    wire.SHELL_EXITED: (ErrorCode.CONFLICT, "it has exited", "Close it, and open another."),
    wire.SERVICE_RUNS: (ErrorCode.CONFLICT, "it is already running", "Stop it first, or use another name."),
}


def failure_error(document: Document, what: str, request: ExecRequest | None = None) -> PyroError:
    """Return the error for a FAILURE. `what` was requested; `request` is the command, if it was one."""
    code = document.get("code")
    if not isinstance(code, str) or code not in wire.FAILURE_CODES:
        return breach("a failure without a known code")
    words = printable(str(document.get("message", "")), _MAX_WORDS_CHARS)
    details: dict[str, object] = {"agent_code": code}
    if document.get("exit_code") in _EXIT_CODES:
        details["exit_code"] = document["exit_code"]
    if code in _REASONS:
        kind, why, hint = _REASONS[code]
        return PyroError(kind, f"the guest can't {what}: {why}", hint=hint, details=details)
    kind, message, hint = _meaning(code, words, what, request)
    return PyroError(kind, message, hint=hint, details=details)


def _meaning(code: str, words: str, what: str, request: ExecRequest | None) -> tuple[ErrorCode, str, str]:
    name = repr(request.argv[0][:_MAX_NAME_CHARS]) if request else what
    match code:
        case wire.COMMAND_NOT_FOUND:
            return ErrorCode.NOT_FOUND, f"command not found: {name}", "Install it in the guest, or give its full path."
        case wire.COMMAND_NOT_EXECUTABLE:
            hint = "Check its mode and its interpreter, or run it through the interpreter."
            return ErrorCode.PERMISSION, f"the guest can't execute {name}", hint
        case wire.CWD_UNUSABLE:
            where = f"run a command in {request.cwd[:_MAX_NAME_CHARS]!r}" if request else what
            return ErrorCode.NOT_FOUND, f"the guest can't {where}", "Check that the directory exists."
        case wire.NO_SUCH_USER:
            who = repr(request.user[:_MAX_NAME_CHARS]) if request else "with that name"
            return ErrorCode.NOT_FOUND, f"the guest has no user {who}", "Create it in the guest, or use another."
        case wire.ARGUMENTS_TOO_LONG:
            hint = "Pass the data on stdin or in a file."
            return ErrorCode.INVALID, f"the arguments of {name} are too long", hint
        case wire.NO_SUCH_SHELL:
            hint = "Open one. Shells end when the workspace is stopped or reset, and when they are closed."
            return ErrorCode.NOT_FOUND, f"the guest can't {what}: there is no such shell", hint
        case wire.TOO_MANY_SHELLS:
            hint = "Close one that is no longer needed; a shell that has exited counts until it is closed."
            return ErrorCode.CONFLICT, f"the guest can't {what}: {shells.MAX_SHELLS} are already open", hint
        case wire.SHELL_FULL:
            hint = "Its program is not reading input: wait until it does, or signal it."
            return ErrorCode.CONFLICT, f"the guest can't {what}: too much unread input", hint
        case wire.UNSUPPORTED:
            hint = "The guest was started by another version of pyro: stop and start it, or create another."
            return ErrorCode.UNSUPPORTED, f"the guest agent can't {what}: {words}", hint
        case wire.CONFLICT | wire.NOT_CONFIGURED:
            return ErrorCode.CONFLICT, f"the guest agent refused to {what}: {words}", ""
        case wire.SYSTEM:
            return (
                ErrorCode.UNAVAILABLE,
                f"the guest could not {what}: {words}",
                "Check its memory, disk and processes.",
            )
        case _:
            return ErrorCode.INTERNAL, f"the guest agent rejected the request to {what}: {words}", ""
