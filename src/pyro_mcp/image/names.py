"""The names of environments (`debian:12`) and of the files in an install.

Names contain no characters with a special meaning in shells or file systems. Every command imports this module, so it
imports nothing.
"""

from __future__ import annotations

from pyro_mcp.errors import ErrorCode, PyroError

_MAX_NAME = 128
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_BETWEEN = frozenset("._-")


def check_name(name: str) -> None:
    """Check that `name` has the form NAME:VERSION, each of lower-case letters and digits with single `.`, `_`, `-`.

    Raises:
        PyroError: INVALID.
    """
    if len(name) <= _MAX_NAME and name.count(":") == 1 and all(_is_word(part) for part in name.split(":")):
        return
    shown = name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"
    raise PyroError(
        ErrorCode.INVALID,
        f"{shown!r} can't be the name of an environment",
        hint="A name looks like debian:12. List them with `pyro env list`.",
    )


def _is_word(text: str) -> bool:
    after_plain = False
    for character in text:
        if character in _PLAIN:
            after_plain = True
        elif character in _BETWEEN and after_plain:
            after_plain = False
        else:
            return False
    return after_plain


def label_of(name: str) -> str:
    """Return an environment's name in the form used in file names."""
    return name.replace(":", "@")


def name_of(label: str) -> str:
    """Return the environment's name for a file name."""
    return label.replace("@", ":")


VMLINUX = "vmlinux"
INITRAMFS = "initramfs"


BASE_IMAGE = "base.img"
