"""Workspace paths as users write them (`/workspace/src/a.py` or `src/a.py`), and the names that the guest gets.

A path that is spelled to leave `/workspace` is an error here; the guest agent rejects links that leave it.
"""

from __future__ import annotations

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.protocol.names import WORKSPACE, NameRefusedError, clean_name, shown

_SHOWN_CHARS = 200


def path_below(text: str, *, root: str = WORKSPACE) -> bytes:
    """Return a path's name relative to `root`; empty for `root` itself.

    Raises:
        PyroError: INVALID for a path that is empty, outside `root`, or not valid.
    """
    if not text:
        raise _refused(text, "is empty", f"Give a path under {root}, such as {_example(root)}.")
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _refused(text, "is not a path: it holds half of a character", "Give the path as UTF-8 text.") from None
    base = root.encode()
    if raw.startswith(b"/"):
        if raw != base and not raw.startswith(base.rstrip(b"/") + b"/"):
            raise _refused(
                text,
                f"is not under {root}",
                f"Use a command for files elsewhere in the guest: exec … -- cat {shown(raw)[:_SHOWN_CHARS]}",
            )
        raw = raw[len(base) :].lstrip(b"/")
    try:
        return clean_name(raw)
    except NameRefusedError as error:
        raise _refused(text, str(error), f"Give a path under {root} without .., such as {_example(root)}.") from None


def path_shown(path: bytes, *, root: str = WORKSPACE) -> str:
    """Return the full path of a name below `root`, safe to print."""
    return f"{root.rstrip('/')}/{shown(path)}" if path else root


def _example(root: str) -> str:
    return f"{root.rstrip('/')}/src/app.py" if root == WORKSPACE else f"{root.rstrip('/')}/etc/os-release"


def _refused(text: str, why: str, hint: str) -> PyroError:
    brief = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
    return PyroError(ErrorCode.INVALID, f"the path {brief!r} {why}", hint=hint, details={"path": brief})
