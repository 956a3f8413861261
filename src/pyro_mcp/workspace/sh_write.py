"""Typing into a shell.

Owns what can be typed. Refuses to wait for what comes of it: that is for a reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.sh_guest import shells_of

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellInfo
    from pyro_mcp.workspace.engine import Engine

MAX_INPUT_BYTES = 256 * 1024


def write_shell(engine: Engine, handle: str, shell_id: str, text: str) -> tuple[str, ShellInfo]:
    """Type a text, and return the workspace's id and where the output stood then.

    Raises:
        PyroError: INVALID for a text that is too long or none; NOT_FOUND; CONFLICT if the shell has exited, or
            reads nothing; as `guest_of`.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise PyroError(
            ErrorCode.INVALID,
            "the input holds half of a character, which UTF-8 does not have",
            hint="Send the text as it is, without \\ud800 to \\udfff escapes that have no partner.",
        ) from None
    if size > MAX_INPUT_BYTES:
        raise PyroError(
            ErrorCode.INVALID,
            f"the input has {size} bytes",
            hint=f"At most {MAX_INPUT_BYTES} can be typed at once: write longer data to a file.",
        )
    with shells_of(engine, handle, activity=True) as use:
        return use.workspace.id, use.shells.write(shell_id, text)
