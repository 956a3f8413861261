"""Match names against .gitignore wildcards: git's wildmatch.c with WM_PATHNAME, compiled to tokens.

As in git, a match gives up early (the codes `_ABORT…`). Unlike git, results are memoized, so that no pattern can take
exponential time.
"""

from __future__ import annotations

import string

# A token is a byte, a set of bytes, or one of these: `*` within a directory, `**` across directories, and `**/`, whose
# slash is optional.
_STAR, _STARS, _STARS_SLASH = -1, -2, -3
_SLASH = 0x2F
_ALL = frozenset(range(256))
_MATCH, _NO_MATCH, _ABORT_ALL, _ABORT_TO_STARS = range(4)
#: Each asterisk is a recursive call.
_MAX_STARS = 100
_PRINTED = frozenset(range(0x21, 0x7F))
_CLASSES = {
    b"alnum": (string.ascii_letters + string.digits).encode(),
    b"alpha": string.ascii_letters.encode(),
    b"blank": b" \t",
    b"cntrl": bytes([*range(0x20), 0x7F]),
    b"digit": string.digits.encode(),
    b"graph": _PRINTED,
    b"lower": string.ascii_lowercase.encode(),
    b"print": _PRINTED | {0x20},
    b"punct": string.punctuation.encode(),
    b"space": b" \t\n\r\x0b\x0c",
    b"upper": string.ascii_uppercase.encode(),
    b"xdigit": string.hexdigits.encode(),
}

Token = int | frozenset[int]


def compiled(pattern: bytes) -> tuple[Token, ...] | None:
    """Return the tokens of a pattern, or None if it can't match anything."""
    tokens: list[Token] = []
    at, stars = 0, 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            end = at
            while pattern[end : end + 1] == b"*":
                end += 1
            tokens.append(_star(pattern, at, end))
            stars += 1
            at = end
        elif byte == b"?":
            tokens.append(_ALL - {_SLASH})
            at += 1
        elif byte == b"[":
            found = _bracket(pattern, at + 1)
            if found is None:
                return None
            tokens.append(found[0])
            at = found[1]
        else:
            at += byte == b"\\"
            if at == len(pattern):
                return None
            tokens.append(pattern[at])
            at += 1
    return tuple(tokens) if stars <= _MAX_STARS else None


def matches(tokens: tuple[Token, ...], text: bytes) -> bool:
    """Return whether the whole name matches."""
    return _match(tokens, 0, text, 0, {}) == _MATCH


def _star(pattern: bytes, at: int, end: int) -> int:
    is_alone = end - at > 1 and (at == 0 or pattern[at - 1] == _SLASH)
    following = pattern[end : end + 2]
    if not is_alone or not (following == b"" or following[0] == _SLASH or following == b"\\/"):
        return _STAR
    return _STARS_SLASH if following[:1] == b"/" else _STARS


def _bracket(pattern: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Return the bytes that a bracket expression matches, and where it ends; None if it has no end."""
    negated = pattern[at : at + 1] in {b"!", b"^"}
    at += negated
    found: set[int] = set()
    previous = -1
    is_first = True
    while is_first or pattern[at : at + 1] != b"]":
        is_first = False
        byte = pattern[at : at + 1]
        if byte == b"-" and previous > 0 and pattern[at + 1 : at + 2] not in {b"", b"]"}:
            at += 1 + (pattern[at + 1] == 0x5C)
            if at >= len(pattern):
                return None
            found.update(range(previous, pattern[at] + 1))
            previous = -1
        elif pattern[at : at + 2] == b"[:" and _is_class(pattern, at + 2):
            end = pattern.find(b"]", at)
            if pattern[at + 2 : end - 1] not in _CLASSES:
                return None
            found.update(_CLASSES[pattern[at + 2 : end - 1]])
            previous, at = -1, end
        else:
            at += byte == b"\\"
            if at >= len(pattern):
                return None
            previous = pattern[at]
            found.add(previous)
        at += 1
    return (_ALL - found if negated else frozenset(found)) - {_SLASH}, at + 1


def _is_class(pattern: bytes, at: int) -> bool:
    """Return whether `[:` at this place introduces a character class, even an unterminated one."""
    end = pattern.find(b"]", at)
    return end < 0 or (end > at and pattern[end - 1] == 0x3A)


def _match(tokens: tuple[Token, ...], at: int, text: bytes, place: int, known: dict[tuple[int, int], int]) -> int:
    """Match the tokens from `at` on with the text from `place` on; `known` holds the results of such pairs."""
    size = len(text)
    start = at, place
    if start in known:
        return known[start]
    result = _NO_MATCH
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if isinstance(token, frozenset) or token >= 0:
            if place == size:
                result = _ABORT_ALL
                break
            if text[place] not in token if isinstance(token, frozenset) else text[place] != token:
                break
            place += 1
            continue
        if token == _STARS_SLASH and _match(tokens, at + 1, text, place, known) == _MATCH:
            return _MATCH
        if at < len(tokens):
            result = _after_star(tokens, at, text, place, known, crosses=token != _STAR)
        else:
            result = _MATCH if token != _STAR or text.find(b"/", place) < 0 else _ABORT_TO_STARS
        break
    else:
        result = _MATCH if place == size else _NO_MATCH
    known[start] = result
    return result


def _after_star(
    tokens: tuple[Token, ...], at: int, text: bytes, place: int, known: dict[tuple[int, int], int], *, crosses: bool
) -> int:
    """Match the remaining tokens at each place that the preceding asterisk reaches."""
    following = tokens[at]
    while place < len(text):
        if isinstance(following, int):
            found = text.find(following, place)
            if found < 0 or (not crosses and following != _SLASH and text.find(b"/", place, found) >= 0):
                return _ABORT_ALL if crosses else _ABORT_TO_STARS
            place = found
        result = _match(tokens, at, text, place, known)
        if result != _NO_MATCH and not (crosses and result == _ABORT_TO_STARS):
            return result
        if not crosses and text[place] == _SLASH:
            return _ABORT_TO_STARS
        place += 1
    return _ABORT_ALL
