"""Parse a patch in any supported format, after checking its size and encoding.

A text without a patch is an error.
"""

from __future__ import annotations

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.patches.envelope import begins_file, read_envelope
from pyro_mcp.patches.failures import malformed
from pyro_mcp.patches.hunks import is_file_header
from pyro_mcp.patches.parts import MAX_PATCH_BYTES, Patch
from pyro_mcp.patches.text import CRLF, LF, split_lines
from pyro_mcp.patches.unified import read_unified

_SHAPE_HINT = (
    "Send a unified diff, as `git diff` writes it: --- a/PATH, +++ b/PATH, then hunks that begin with"
    " @@ -LINE,COUNT +LINE,COUNT @@ and whose lines begin with a space, - or +."
)


def parse(patch: str | bytes) -> Patch:
    """Parse a patch: a unified diff written by git, diff or a model, or Codex's format.

    Raises:
        PyroError: INVALID, with the line of the patch that is malformed or not supported.
    """
    lines = _lines(_encoded(patch))
    for at, line in enumerate(lines):
        if begins_file(line):
            return Patch(read_envelope(lines))
        if line.startswith(b"diff --git ") or is_file_header(lines, at):
            break
    files = read_unified(lines)
    if not files:
        escaped = len(lines) == 1 and b"\\n" in lines[0]
        why = r": it is one line, with \n in place of line ends" if escaped else ""
        raise PyroError(
            ErrorCode.INVALID, f"there is no patch in the text{why}", hint=_SHAPE_HINT, details={"reason": "no_patch"}
        )
    return Patch(files)


def _encoded(patch: str | bytes) -> bytes:
    # A longer text is too large in any case, and need not be encoded.
    if len(patch) <= MAX_PATCH_BYTES:
        data = patch.encode("utf-8", "surrogatepass") if isinstance(patch, str) else patch
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(LF) + 1
            hint = "Patches change UTF-8 text only."
            raise malformed(line, "is not UTF-8 text", hint=hint, reason="encoding") from None
        if len(data) <= MAX_PATCH_BYTES:
            return data.removeprefix(b"\xef\xbb\xbf")
    raise PyroError(
        ErrorCode.INVALID,
        f"the patch is larger than {MAX_PATCH_BYTES} bytes",
        hint="Send it in smaller parts, or bring the files in by sync push.",
        details={"reason": "too_large"},
    )


def _lines(data: bytes) -> list[bytes]:
    lines = split_lines(data)
    # A missing last line end is a defect of the patch: a file without one is marked explicitly.
    if lines and not lines[-1].endswith(LF):
        windows = len(lines) > 1 and lines[-2].endswith(CRLF) and not lines[-1].endswith(b"\r")
        lines[-1] += CRLF if windows else LF
    return lines
