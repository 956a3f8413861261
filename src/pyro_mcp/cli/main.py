"""The entry point of `pyro`: find the command, run it, exit with the right status.

Exit statuses: 0; the guest command's own; 2 wrong usage; 124 timed out; 125 pyro could not run the command;
130 interrupted; 141 the reader of our output is gone; 1 any other failure.
"""

from __future__ import annotations

import os
import sys

# As in `typing`, which takes longer to load than everything else before the first line of `main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

VERSION = ["--version"], ["-V"]
OK, INTERRUPTED, READER_GONE = 0, 130, 141
# Completion scripts call: __complete, the shell, the line up to the cursor.
COMPLETE_WORDS = 3


def run() -> NoReturn:
    """Run the command line of this process, and end it.

    It skips Python's own clean-up, in which a Ctrl-C would hide the exit status of a finished command.
    """
    status = main()
    try:
        # Our own output is already written; argparse's help is not.
        sys.stdout.flush()
    except OSError:
        status = READER_GONE
    os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit status."""
    if arguments is None:
        _set_signals()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words in VERSION and _version():
        return OK
    from pyro_mcp.cli.streams import ReaderGone, ensure_standard_streams

    ensure_standard_streams()
    try:
        from pyro_mcp.cli.commands import expanded

        words = expanded(words)
        _warn_of_variables()
        return _dispatch(words)
    except ReaderGone:
        return READER_GONE
    except SystemExit as end:
        # argparse exits this way after --help.
        return int(end.code or OK)
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the top of a surface: nothing gets past it but as one message
        return _fail(error, words)


def _set_signals() -> None:
    """Exit at once on Ctrl-C while nothing is acquired yet. Commands that acquire something are `interruptible`.

    Without it, a KeyboardInterrupt in an import, or in the report of an earlier one, ends in a traceback. A caller that
    ignores SIGCHLD passes that on, and the exit statuses of our children would be lost.
    """
    # Not `signal`, which loads `enum` first: this must take effect immediately.
    import _signal  # pyright: ignore[reportMissingImports]

    def leave(_number: int, _frame: object) -> None:
        os._exit(INTERRUPTED)

    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # pyright: ignore[reportUnknownMemberType]
    # In a background job of a shell it is ignored, and remains so.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # pyright: ignore[reportUnknownMemberType]
        _signal.signal(_signal.SIGINT, leave)  # pyright: ignore[reportUnknownMemberType]
    # scripts/launcher/pyro blocks it; one that arrived while Python started is delivered now.
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))  # pyright: ignore[reportUnknownMemberType]


def _warn_of_variables() -> None:
    from pyro_mcp.host.variables import near_misses

    for name, meant in near_misses():
        from pyro_mcp.cli.streams import say

        say(f"warning: {name} has no effect: did you mean {meant}?")


def _version() -> bool:
    """Write the version without loading anything else; return False if that failed: `_dispatch` reports why."""
    from pyro_mcp import __version__

    try:
        os.write(1, f"pyro {__version__}\n".encode())
    except OSError:
        return False
    return True


def _dispatch(words: list[str]) -> int:
    if words in VERSION:
        from pyro_mcp import __version__
        from pyro_mcp.cli.streams import put

        put(f"pyro {__version__}")
        return OK
    from pyro_mcp.operations.table import begins, find_command

    if words[:1] == ["__complete"] and len(words) == COMPLETE_WORDS:
        from pyro_mcp.cli.builtins.completing import complete

        return complete(words[1], words[2])
    from pyro_mcp.cli.commands import BUILTINS

    if any(begins(words, command) for command in BUILTINS):
        from pyro_mcp.cli.builtins.table import execute_builtin

        return execute_builtin(words)
    operation = find_command(words)
    if operation is not None and operation.cli is not None:
        from pyro_mcp.cli.execution import execute

        return execute(operation, words[len(operation.cli) :])
    from pyro_mcp.cli.listing import show

    return show(words)


def _fail(error: Exception | KeyboardInterrupt, words: list[str]) -> int:
    """Report an error and return the exit status for it."""
    from pyro_mcp.cli.failures import as_failure, report
    from pyro_mcp.errors import ErrorCode, PyroError

    if isinstance(error, KeyboardInterrupt):
        error = PyroError(ErrorCode.CANCELLED, "interrupted")
    if os.environ.get("PYRO_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    failure = as_failure(error, words)
    report(failure.error, words)
    return failure.status
