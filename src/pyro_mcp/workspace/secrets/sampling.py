"""Find which of many texts may occur in a long one, without a search for each.

Samples are taken from the long text at regular intervals and looked up: each text that is long enough covers one of
them. Matches are candidates, to be confirmed by a search.
"""

from __future__ import annotations

from collections.abc import Sequence

# The size of a sample, and the maximum distance between samples.
_PART_BYTES = 8
_MOST_APART = 32
#: The shortest text for which this pays.
MIN_BYTES = 20


class Sampler:
    """Searches for many texts of at least `MIN_BYTES` each."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        shortest = min(len(each) for each in texts)
        self._apart = min(shortest - _PART_BYTES + 1, _MOST_APART)
        self._texts: dict[bytes, list[bytes]] = {}
        for text in texts:
            # With samples this far apart, one begins at one of these offsets and fits into the text.
            for at in range(self._apart):
                self._texts.setdefault(text[at : at + _PART_BYTES], []).append(text)
        self._parts = self._texts.keys()

    def candidates(self, data: bytes) -> list[bytes]:
        """Return the texts that may occur in `data`: all that do, and hardly any others."""
        found = self._parts & {data[at : at + _PART_BYTES] for at in range(0, len(data), self._apart)}
        return list(dict.fromkeys(text for part in found for text in self._texts[part]))
