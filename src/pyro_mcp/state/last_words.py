"""What a guest's console said last.

Owns finding it and putting it into a sentence. Refuses to show more than a screenful.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.state.filenames import VmFiles

# A panic with its registers and its trace.
_CONSOLE_TAIL_BYTES = 4096


def last_words(files: VmFiles) -> str:
    """Say that the guest ended by itself, with the end of what its console printed."""
    message = "the guest ended by itself"
    try:
        with open(files.console_log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _CONSOLE_TAIL_BYTES))
            tail = file.read(_CONSOLE_TAIL_BYTES).decode("utf-8", "replace").replace("\r\n", "\n").strip()
    except OSError:
        return message
    return f"{message}; its console said last:\n{tail}" if tail else message
