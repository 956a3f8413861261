"""Shell output as text by cursor.

The same cursor always returns the same text, and consecutive parts add up to the whole, wherever characters or secrets
were split. Each byte that is not UTF-8 becomes one U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.agent.shells import ShellOutput
    from pyro_mcp.workspace.secrets.redactor import Redactor

_NO_CHARACTER = re.compile("[\udc80-\udcff]")
_REDACTED = "[REDACTED]"


@dataclass(frozen=True, slots=True)
class Part:
    """The text of the first `byte_count` bytes of an output. `is_cut` means that there is more."""

    text: str
    byte_count: int
    is_cut: bool


def shown_part(
    output: ShellOutput, max_chars: int, *, plain: bool, is_last: bool, redactor: Redactor | None = None
) -> Part:
    """Return the text of an output. A redactor needs the output's context, and so does plain rendering.

    A possible beginning of a character or of a secret is left for the next part, unless this is the last one.
    """
    pieces = _pieces(output, is_last=is_last, redactor=redactor)
    if not plain:
        text, count, is_whole = _first(pieces, max_chars)
        return Part(text, count, not is_whole or output.stop < output.info.end)
    part = _plain(output, pieces, None, redactor)
    if len(part.text) > max_chars:
        part = _plain(output, pieces, max_chars, redactor)
        part = replace(part, text=part.text[-max_chars:], is_cut=part.is_cut or len(part.text) > max_chars)
    return part


def _pieces(output: ShellOutput, *, is_last: bool, redactor: Redactor | None) -> list[tuple[str, int]]:
    """Return the text of an output in pieces, each with its number of bytes; a secret is a separate piece."""
    whole, start = output.context + output.data, len(output.context)
    spans, end = ([], len(whole)) if redactor is None else redactor.covered(whole)
    if is_last:
        end = len(whole)
    pieces: list[tuple[str, int]] = []
    at = start
    for first, stop in spans:
        if stop <= start or first >= end:
            continue
        if first > at:
            pieces.append((_text(whole[at:first]), first - at))
        pieces.append((_REDACTED, stop - max(first, at)))
        at = stop
    if at < end:
        rest = whole[at:end]
        text = _text(rest) if is_last or end < len(whole) else _whole_characters(rest)
        pieces.append((text, len(text.encode("utf-8", "surrogateescape"))))
    return pieces


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _whole_characters(data: bytes) -> str:
    """Return bytes as text, without an incomplete character at the end."""
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(data)


def _first(pieces: list[tuple[str, int]], max_chars: int) -> tuple[str, int, bool]:
    """Return as many pieces as fit, the number of bytes they represent, and whether that is all."""
    taken: list[str] = []
    room, count = max_chars, 0
    for text, size in pieces:
        if len(text) > room:
            # The mark is never split; it is returned even if it does not fit when it would be the only text.
            if text is _REDACTED:
                if not taken:
                    taken.append(text)
                    count += size
                break
            taken.append(text[:room])
            count += len(taken[-1].encode("utf-8", "surrogateescape"))
            break
        taken.append(text)
        room -= len(text)
        count += size
    else:
        return _NO_CHARACTER.sub("\ufffd", "".join(taken)), count, True
    return _NO_CHARACTER.sub("\ufffd", "".join(taken)), count, False


def _plain(
    output: ShellOutput, pieces: list[tuple[str, int]], max_chars: int | None, redactor: Redactor | None
) -> Part:
    from pyro_mcp.workspace.shells.plain import plain_text

    text, count, is_whole = _first(pieces, sum(len(text) for text, _ in pieces) if max_chars is None else max_chars)
    context = output.context if redactor is None else redactor.data(output.context)
    drawn = plain_text(output, context.decode("utf-8", "replace"), text)
    return Part(drawn, count, not is_whole or output.stop < output.info.end)
