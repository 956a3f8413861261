"""Read the end of a machine's console, for quoting it in errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

# QEMU's warnings concern its arguments, and are irrelevant to why the machine ended.
_WARNING = re.compile(r"(?m)^(\S*/)?qemu-\S+: warning: .*\n?")


def console_end(console: Path | int, max_bytes: int) -> str:
    """Return the last text of a console, without the VMM's warnings; "" if the file can't be read.

    A descriptor stays open.
    """
    try:
        with open(console, "rb", closefd=not isinstance(console, int)) as file:
            start = file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
            text = file.read(max_bytes).decode("utf-8", "replace")
    except OSError:
        return ""
    if start:
        # Drop the incomplete first line.
        text = text.partition("\n")[2] or text
    return _WARNING.sub("", text.replace("\r\n", "\n")).strip()
