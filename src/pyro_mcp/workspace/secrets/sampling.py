"""Find which of many texts may occur in a long one, without a search for each.

Every few bytes a part of the long text is looked up: each long enough text covers one of those places. Matches are
candidates, to be confirmed by a search.
"""

from __future__ import annotations

from collections.abc import Sequence

# How many bytes are compared at each place, and how far apart the places are at most.
_PART_BYTES = 8
_MOST_APART = 32
#: The shortest text that can be looked for like that with profit.
MIN_BYTES = 20


class Sampler:
    """Looks for many texts, each of `MIN_BYTES` at least."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        shortest = min(len(each) for each in texts)
        self._apart = min(shortest - _PART_BYTES + 1, _MOST_APART)
        self._texts: dict[bytes, list[bytes]] = {}
        for text in texts:
            # Of places so far apart, one is among its first ones, with the whole part behind it.
            for at in range(self._apart):
                self._texts.setdefault(text[at : at + _PART_BYTES], []).append(text)
        self._parts = self._texts.keys()

    def candidates(self, data: bytes) -> list[bytes]:
        """Return the texts that may stand in `data`: all that do, and hardly any other."""
        found = self._parts & {data[at : at + _PART_BYTES] for at in range(0, len(data), self._apart)}
        return list(dict.fromkeys(text for part in found for text in self._texts[part]))
