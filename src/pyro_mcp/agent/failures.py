"""The agent's refusals as errors.

A guest's own text is shown only where the host does not know better, and without control characters.
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
        "there is no such service",
        "`pyro workspace service list` lists its services. They end when the workspace is stopped or reset.",
    ),
    wire.TOO_MANY_SERVICES: (
        ErrorCode.CONFLICT,
        f"{services.MAX_SERVICES} run already",
        "Stop one that is not needed any more.",
    ),
    wire.PORT_ANSWERED: (
        ErrorCode.CONFLICT,
        "something else answers, or is being started, at the port that would tell when it is ready",
        "End what listens there, or give the service another port.",
    ),
    wire.SHELL_EXITED: (ErrorCode.CONFLICT, "it has exited", "Close it, and open another."),
    wire.SERVICE_RUNS: (ErrorCode.CONFLICT, "it runs already", "Stop it first, or use another name."),
}


def failure_error(document: Document, what: str, request: ExecRequest | None = None) -> PyroError:
    """Make the error of a FAILURE; `what` was asked for, and `request` is the command if it was one."""
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
            hint = "Check its mode and its interpreter, or run it with the interpreter before it."
            return ErrorCode.PERMISSION, f"the guest can't execute {name}", hint
        case wire.CWD_UNUSABLE:
            where = f"run a command in {request.cwd[:_MAX_NAME_CHARS]!r}" if request else what
            return ErrorCode.NOT_FOUND, f"the guest can't {where}", "Check that the directory exists."
        case wire.NO_SUCH_USER:
            who = repr(request.user[:_MAX_NAME_CHARS]) if request else "of that name"
            return ErrorCode.NOT_FOUND, f"the guest has no user {who}", "Create it in the guest, or name another."
        case wire.ARGUMENTS_TOO_LONG:
            hint = "Pass the data on stdin or in a file."
            return ErrorCode.INVALID, f"the arguments of {name} are too long", hint
        case wire.NO_SUCH_SHELL:
            hint = "Open one. Shells end when the workspace is stopped or reset, and when they are closed."
            return ErrorCode.NOT_FOUND, f"the guest can't {what}: there is no such shell", hint
        case wire.TOO_MANY_SHELLS:
            hint = "Close one that is not needed any more; one that has exited counts until it is closed."
            return ErrorCode.CONFLICT, f"the guest can't {what}: there are {shells.MAX_SHELLS} already", hint
        case wire.SHELL_FULL:
            hint = "What runs in it reads nothing: signal it, or wait until it does."
            return ErrorCode.CONFLICT, f"the guest can't {what}: too much was written that no program has read", hint
        case wire.UNSUPPORTED:
            hint = "The guest was started by another version of pyro: stop and start it, or create another."
            return ErrorCode.UNSUPPORTED, f"the guest's agent can't {what}: {words}", hint
        case wire.CONFLICT | wire.NOT_CONFIGURED:
            return ErrorCode.CONFLICT, f"the guest's agent refused to {what}: {words}", ""
        case wire.SYSTEM:
            return (
                ErrorCode.UNAVAILABLE,
                f"the guest could not {what}: {words}",
                "Check its memory, disk and processes.",
            )
        case _:
            return ErrorCode.INTERNAL, f"the guest's agent did not understand how to {what}: {words}", ""
