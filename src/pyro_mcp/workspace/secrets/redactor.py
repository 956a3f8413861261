"""Redact secret values from a guest's output, however it is split into chunks and lines.

The output does not depend on the chunking. Only what may be the beginning of a value is held back, at most the longest
form with its line breaks. Bulk output without a value costs one translation and a few searches in C.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import cast

from pyro_mcp.errors import PyroError
from pyro_mcp.workspace.secrets.forms import BLANKS, STANDARD_BASE64, Form, Likeness, forms_of
from pyro_mcp.workspace.secrets.sampling import MIN_BYTES, Sampler
from pyro_mcp.workspace.secrets.values import can_be_redacted

REDACTED = b"[REDACTED]"

# Streams are searched without blanks, in lower case and in one alphabet of base64. Matches are then compared exactly.
_FOLDED = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_", b"abcdefghijklmnopqrstuvwxyz+/")
_BLANK_RUN = re.compile(rb"[ \r\n]+")
_INK_RUN = re.compile(rb"[^ \r\n]+")
# A line break within a value adds a few blanks; more of them than this, and those of the value itself, end it.
_BREAK_BYTES = 16
_PROBE_BYTES = 4
# A stream may consist only of beginnings: then more is held back than necessary.
_MOST_TRIES = 32
_HARMLESS_CHARS = 3
# From this number of forms on, searching for each of them is slower than sampling.
_MANY = 40
_LONG_END_BYTES = 4096


class _Needle:
    """A form, as searched for (`folded`) and compared (`bare`), both without blanks.

    `gaps` maps an offset in the bare form to the numbers of spaces and line ends there.
    """

    __slots__ = ("bare", "folded", "gaps", "likeness")

    def __init__(self, form: Form) -> None:
        self.likeness = form.likeness
        self.folded = form.text.translate(_FOLDED, BLANKS)
        self.bare = _as_alike(form.text.translate(None, BLANKS), form.likeness)
        self.gaps = {offset: (run.count(b" "), len(run) - run.count(b" ")) for offset, run in _gaps(form.text)}

    def begins_with(self, ink: bytes) -> bool:
        """Return whether the form, without its blanks, begins with `ink`."""
        return self.bare.startswith(_as_alike(ink, self.likeness))

    def matches(self, text: bytes, longest_break: int) -> bool:
        """Return whether a text that is equal without blanks is the form, perhaps with line breaks."""
        if _as_alike(text.translate(None, BLANKS), self.likeness) != self.bare:
            return False
        expected = dict(self.gaps)
        for offset, run in _gaps(text):
            if len(run) > longest_break:
                return False
            spaces, ends = expected.pop(offset, (0, 0))
            if self.likeness is not Likeness.DIGITS and not _is_break(run, spaces, ends):
                return False
        return all(ends for _, ends in expected.values())


def _as_alike(text: bytes, likeness: Likeness) -> bytes:
    match likeness:
        case Likeness.EXACT:
            return text
        case Likeness.BASE64:
            return text.translate(STANDARD_BASE64)
        case Likeness.ANY_CASE | Likeness.DIGITS:
            return text.lower()


def _gaps(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the runs of blanks, each with the number of other characters before it."""
    blanks = 0
    for found in _BLANK_RUN.finditer(text):
        yield found.start() - blanks, found.group()
        blanks += len(found.group())


def _is_break(run: bytes, spaces: int, ends: int) -> bool:
    """Return whether `run` can result from so many spaces and line ends of a value.

    A line may be broken anywhere; a terminal's line editor uses a space and a carriage return. Where a shell splits a
    value into words, each run of blanks becomes one space; line ends may become spaces or nothing.
    """
    most = spaces + ends + run.count(b"\r")
    least = 1 if spaces and not ends and not run.strip(b" ") else 0
    return least <= run.count(b" ") <= most


class Redactor:
    """Replaces secret values in texts and streams. Any number of streams may use it at once."""

    def __init__(self, values: Iterable[str]) -> None:
        """Prepare for these values; those too short to be distinguished from other output are ignored."""
        needles = [_Needle(form) for value in values if can_be_redacted(value.encode()) for form in forms_of(value)]
        self._needles = tuple({(each.folded, each.bare, each.likeness): each for each in needles}.values())
        self._searched = tuple(dict.fromkeys(each.folded for each in self._needles))
        self._singly, self._sampler = self._searched, None
        long_ones = [each for each in self._searched if len(each) >= MIN_BYTES]
        if len(long_ones) > _MANY:
            self._singly = tuple(each for each in self._searched if len(each) < MIN_BYTES)
            self._sampler = Sampler(long_ones)
        self._longest = max(map(len, self._searched), default=0)
        self._by_probe: dict[bytes, list[bytes]] = {}
        for each in self._searched:
            self._by_probe.setdefault(each[:_PROBE_BYTES], []).append(each)
        self._by_folded: dict[bytes, list[_Needle]] = {}
        for each in self._needles:
            self._by_folded.setdefault(each.folded, []).append(each)
        own = [spaces + ends for each in self._needles for spaces, ends in each.gaps.values()]
        self._longest_break = _BREAK_BYTES + 2 * max(own, default=0)
        self._too_long_break = re.compile(rb"[ \r\n]{%d,}" % (self._longest_break + 1))
        # The first characters of all needles, by their number: the end of a stream rarely matches any of them.
        self._beginnings = tuple({each[:count] for each in self._searched} for count in range(_PROBE_BYTES))

    @property
    def harmless_chars(self) -> int:
        """Return how many first characters of a value reveal nothing: a quarter of the shortest form, at most 3."""
        return min(_HARMLESS_CHARS, *(len(each) // 4 for each in self._searched))

    @property
    def is_idle(self) -> bool:
        """Return whether there is nothing to redact."""
        return not self._needles

    def stream(self) -> RedactedStream:
        """Return a filter for one stream."""
        return RedactedStream(self)

    def data(self, data: bytes) -> bytes:
        """Return complete data, redacted."""
        stream = self.stream()
        return stream.feed(data) + stream.finish()

    def text(self, text: str) -> str:
        """Return a complete text, redacted."""
        if self.is_idle or not text:
            return text
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def command(self, command: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Return a command, redacted, as it may be stored and shown."""
        return self.text(command) if isinstance(command, str) else tuple(map(self.text, command))

    def error(self, error: PyroError) -> PyroError:
        """Return an error, redacted: the same object if it contains no value."""
        message, hint = self.text(error.message), self.text(error.hint)
        details = {name: self._within(each) for name, each in error.details.items()}
        if (message, hint, details) == (error.message, error.hint, dict(error.details)):
            return error
        return PyroError(error.code, message, hint=hint, details=details)

    def _within(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._within(each) for key, each in cast("dict[object, object]", value).items()}
        if isinstance(value, (list, tuple)):
            return [self._within(each) for each in cast("list[object]", value)]
        return value

    def covered(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """Return the parts of `data` that are values, ordered and disjoint, and where an incomplete one may begin.

        For callers that need the places of marks in a stream. The last characters of a complete line are taken as the
        end of the line, which they most probably are: a few of them reveal nothing even if they begin a value.
        """
        if self.is_idle:
            return [], len(data)
        folded = data.translate(_FOLDED, BLANKS)
        apart: list[tuple[int, int]] = []
        for start, stop in self.spans(data, folded):
            if apart and start < apart[-1][1]:
                apart[-1] = (apart[-1][0], max(apart[-1][1], stop))
            else:
                apart.append((start, stop))
        end = self.held_from(data, folded)
        rest = data[end:]
        ends_line = rest.endswith(b"\n") and len(rest.translate(None, BLANKS)) <= self.harmless_chars
        return apart, len(data) if ends_line else end

    def spans(self, data: bytes, folded: bytes) -> list[tuple[int, int]]:
        """Return the places of values in `data`, in order; `folded` is its searchable form."""
        found: list[tuple[int, int]] = []
        index: _Index | None = None
        sampled = () if self._sampler is None else self._sampler.candidates(folded)
        for text in (*self._singly, *sampled):
            at = folded.find(text)
            while at >= 0:
                if index is None:
                    index = _Index(data, is_dense=len(data) == len(folded))
                span = index.span(at, at + len(text))
                if any(each.matches(data[slice(*span)], self._longest_break) for each in self._by_folded[text]):
                    found.append(span)
                at = folded.find(text, at + 1)
        found.sort()
        return found

    def held_from(self, data: bytes, folded: bytes) -> int:
        """Return the offset from which `data` may be the beginning of an incomplete value."""
        count = self._beginning_at_end(data, folded)
        if not count:
            return len(data)
        start = _place_from_end(data, count)
        breaks = [found.end() for found in self._too_long_break.finditer(data, start)]
        if not breaks:
            return start
        # No value spans such a break; one may begin after it.
        behind = data[breaks[-1] :]
        return breaks[-1] + self.held_from(behind, behind.translate(_FOLDED, BLANKS))

    def _beginning_at_end(self, data: bytes, folded: bytes) -> int:
        """Return the largest number of last characters that may be the beginning of a value."""
        for count in range(_PROBE_BYTES - 1, 0, -1):
            if folded[-count:] in self._beginnings[count] and self._may_begin(data, folded, count):
                break
        else:
            count = 0
        for text in self._searched if len(self._searched) <= _MANY else self._at_end(folded):
            for longer, is_sure in _overlaps(folded, text):
                if longer <= count:
                    break
                if not is_sure or any(each.begins_with(_last(data, longer)) for each in self._by_folded[text]):
                    count = longer
                    break
        return count

    def _at_end(self, folded: bytes) -> Iterable[bytes]:
        """Return those of many texts whose first characters occur close enough to the end."""
        end = folded[-self._longest :]
        if len(end) > _LONG_END_BYTES:
            return self._searched
        probes = self._by_probe.keys() & {end[at : at + _PROBE_BYTES] for at in range(len(end))}
        return [text for probe in probes for text in self._by_probe[probe]]

    def _may_begin(self, data: bytes, folded: bytes, count: int) -> bool:
        end, last = folded[-count:], _last(data, count)
        return any(each.folded.startswith(end) and each.begins_with(last) for each in self._needles)


def _overlaps(folded: bytes, text: bytes) -> Iterator[tuple[int, bool]]:
    """Yield the lengths of suffixes of `folded` with which `text` begins, longest first, down to the probe's length.

    Each comes with whether it is certain: after many tries the last one is not.
    """
    start = max(0, len(folded) - len(text) + 1)
    probe = text[:_PROBE_BYTES]
    at = folded.find(probe, start)
    tries = 0
    while at >= 0:
        tries += 1
        if tries > _MOST_TRIES:
            yield len(folded) - at, False
            return
        if text.startswith(folded[at:]):
            yield len(folded) - at, True
        at = folded.find(probe, at + 1)


def _last(data: bytes, count: int) -> bytes:
    """Return the last `count` characters that are not blank."""
    ink = data[-4 * count - 64 :].translate(None, BLANKS)
    if len(ink) < count:
        ink = data.translate(None, BLANKS)
    return ink[-count:]


class RedactedStream:
    """Redacts one stream. Holds back only what may be the beginning of a value."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        # How much of the held data is covered by a mark already passed on, and how much `settle` has shown.
        self._covered = 0
        self._shown = 0

    @property
    def held_bytes(self) -> int:
        """Return the number of bytes held back."""
        return len(self._held)

    def settle(self) -> bytes:
        """Return the held data that may be shown when the stream pauses: too little to reveal anything.

        A few characters at the end of a line may match the beginning of a value by chance. If the rest of a value
        follows after all, it is replaced by a mark.
        """
        ink = len(self._held[self._covered :].translate(None, BLANKS))
        if self._covered or ink > self._redactor.harmless_chars:
            return b""
        shown, self._shown = self._held[self._shown :], len(self._held)
        return shown

    def feed(self, data: bytes) -> bytes:
        """Take the next data of the stream, and return what may be passed on."""
        if self._redactor.is_idle:
            return data
        return self._pass(data, is_end=False)

    def finish(self) -> bytes:
        """Return what was held back, at the end of the stream."""
        return self._pass(b"", is_end=True) if self._held else b""

    def _pass(self, data: bytes, *, is_end: bool) -> bytes:
        if self._held:
            data = self._held + data
        folded = data.translate(_FOLDED, BLANKS)
        spans = self._redactor.spans(data, folded)
        end = len(data) if is_end else self._redactor.held_from(data, folded)
        if not spans and not self._covered and not self._shown:
            self._held = data[end:]
            return data[:end] if end < len(data) else data
        out: list[bytes] = []
        done, marked = self._covered or self._shown, self._covered
        for start, stop in spans:
            if start < marked:
                # Overlapping values share a mark.
                done = marked = max(marked, stop)
            elif start < end:
                out += (data[done:start], REDACTED)
                done = marked = stop
        self._held = data[end:]
        self._covered = max(0, marked - end)
        self._shown = 0 if self._covered else max(0, done - end)
        out.append(data[done:end])
        return b"".join(out)


class _Index:
    """Maps offsets without blanks to offsets in the text."""

    def __init__(self, data: bytes, *, is_dense: bool) -> None:
        self._counts: list[int] = []
        self._starts: list[int] = []
        count = 0
        for run in () if is_dense else _INK_RUN.finditer(data):
            self._counts.append(count)
            self._starts.append(run.start())
            count += run.end() - run.start()

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of these characters in the text."""
        return self._place(start), self._place(stop - 1) + 1

    def _place(self, offset: int) -> int:
        if not self._counts:
            return offset
        run = bisect_right(self._counts, offset) - 1
        return self._starts[run] + offset - self._counts[run]


def _place_from_end(data: bytes, count: int) -> int:
    """Return the offset of the last `count` characters that are not blank."""
    window = 2 * count + 64
    while window < len(data) and len(data[-window:].translate(None, BLANKS)) < count:
        window *= 2
    start = max(0, len(data) - window)
    part = data[start:]
    ink = len(part.translate(None, BLANKS))
    return start + _Index(part, is_dense=ink == len(part)).span(ink - count, ink)[0]
