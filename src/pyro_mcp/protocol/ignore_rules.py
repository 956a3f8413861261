"""The patterns of a .gitignore file, with git's semantics: gitignore(5), and dir.c where that is silent."""

from __future__ import annotations

from typing import NamedTuple

from pyro_mcp.protocol.wildmatch import Token, compiled, matches

RULES = b".gitignore"
_BOM = b"\xef\xbb\xbf"
_SPECIAL = b"*?[\\"


class _Pattern(NamedTuple):
    """One line. `literal` precedes the part in `tokens`; a pattern `*TEXT` has only TEXT, as `ending`."""

    negated: bool
    only_directories: bool
    anchored: bool
    literal: bytes
    tokens: tuple[Token, ...] | None
    ending: bytes | None

    def matches(self, path: bytes, name: bytes) -> bool:
        """Return whether it matches an entry, given its name and its path below the file's directory."""
        text = path if self.anchored else name
        if self.ending is not None:
            return text.endswith(self.ending)
        if self.tokens == ():
            return text == self.literal
        if self.tokens is None or not text.startswith(self.literal):
            return False
        return matches(self.tokens, text[len(self.literal) :])


class RuleFile:
    """The patterns of one .gitignore file."""

    def __init__(self, data: bytes) -> None:
        found = [_parsed(line) for line in data.removeprefix(_BOM).split(b"\n")]
        patterns = [(index, each) for index, each in enumerate(found) if each is not None]
        # The last match wins. Most patterns are plain names, which are looked up rather than tried one by one.
        self._others = [each for each in reversed(patterns) if each[1].anchored or each[1].tokens != ()]
        self._named: dict[bytes, list[tuple[int, _Pattern]]] = {}
        for index, each in reversed(patterns):
            if not each.anchored and each.tokens == ():
                self._named.setdefault(each.literal, []).append((index, each))

    def verdict(self, path: bytes, *, is_directory: bool) -> bool | None:
        """Return whether a path below the file's directory is ignored or re-included; None if nothing matches."""
        name = path.rpartition(b"/")[2]
        best, answer = -1, None
        for index, each in self._named.get(name, ()):
            if is_directory or not each.only_directories:
                best, answer = index, not each.negated
                break
        for index, each in self._others:
            if index < best:
                break
            if (is_directory or not each.only_directories) and each.matches(path, name):
                return not each.negated
        return answer


def _parsed(line: bytes) -> _Pattern | None:
    line = _trimmed(line.removesuffix(b"\r").partition(b"\0")[0])
    if not line or line.startswith(b"#"):
        return None
    negated = line.startswith(b"!")
    text = line[negated:]
    only_directories = text.endswith(b"/")
    text = text.removesuffix(b"/")
    anchored = b"/" in text
    ending = None
    if not anchored and text.startswith(b"*") and _plain_bytes(text[1:]) == len(text) - 1:
        ending = text[1:]
    if anchored:
        text = text.removeprefix(b"/")
    plain = _plain_bytes(text) if anchored or _plain_bytes(text) == len(text) else 0
    return _Pattern(negated, only_directories, anchored, text[:plain], compiled(text[plain:]), ending)


def _trimmed(line: bytes) -> bytes:
    """Remove trailing spaces unless they are escaped."""
    end = at = 0
    while at < len(line):
        is_escape = line[at] == 0x5C
        at += 1 + is_escape
        if at > len(line):
            return line
        if is_escape or line[at - 1] != 0x20:
            end = at
    return line[:end]


def _plain_bytes(text: bytes) -> int:
    """Return the number of bytes before the first wildcard."""
    return next((at for at, byte in enumerate(text) if byte in _SPECIAL), len(text))
