"""The forms in which shells and common programs print a value: quoted, escaped, encoded.

A form is the encoded value, or the part of it that does not depend on its surroundings: for base64, all but the first
and last characters, for each of the three offsets at which the value may begin.
"""

from __future__ import annotations

import binascii
import json
from enum import StrEnum
from typing import NamedTuple

#: Characters that may appear within a form where lines are broken. No form begins or ends with one.
BLANKS = b" \r\n"
#: base64's alphabet for URLs, as the standard one.
STANDARD_BASE64 = bytes.maketrans(b"-_", b"+/")


class Likeness(StrEnum):
    """How closely a text has to match a form."""

    #: To the byte.
    EXACT = "exact"
    #: In either alphabet of base64.
    BASE64 = "base64"
    #: In upper or lower case.
    ANY_CASE = "any_case"
    #: In upper or lower case, and with blanks between the digits, as printed by od.
    DIGITS = "digits"


class Form(NamedTuple):
    """One form of a value."""

    text: bytes
    likeness: Likeness


_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: Characters not escaped in a URL: by RFC 3986, by Python, by browsers (a part, a whole), by forms, by PHP.
_URL_SAFE = (b"-._~", b"-._~/", b"-._~!'()*", b"-._~!'()*;,/?:@&=+$#", b"-._*", b"-._")
#: Characters that bash escapes with a backslash (printf %q), and those within double quotes (declare -p).
_BASH_SPECIAL = b"!\"$&'()*,;<>?[\\]^`{|} "
_QUOTED_SPECIAL = b'"$\\`'
_ANSI_C = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 27: b"\\E"}
_DELETE = 0x7F
_SPACE = 0x20


def forms_of(value: str) -> list[Form]:
    """Return the distinct forms of a value, the value itself first."""
    text = value.strip(BLANKS.decode())
    core = text.encode()
    forms = [Form(core, Likeness.EXACT)]
    forms += [Form(_base64_core(core, before), Likeness.BASE64) for before in range(3)]
    forms.append(Form(core.hex().encode(), Likeness.DIGITS))
    # A form with an escape in it is matched in any case.
    escaped = [*_in_urls(core), *_in_json(text), *_in_c(core)]
    forms += [Form(each, Likeness.ANY_CASE) for each in escaped if each != core]
    forms += [Form(each, Likeness.EXACT) for each in (*_in_shell(core), *_in_python(text)) if each != core]
    return list(dict.fromkeys(forms))


def _base64_core(core: bytes, before: int) -> bytes:
    """Return the base64 characters that depend on `core` alone, if `before` bytes of a group of 3 precede it."""
    encoded = binascii.b2a_base64(bytes(before) + core, newline=False)
    first = -(-before * 8 // 6)
    last = (before + len(core)) * 8 // 6
    return encoded[first:last]


def _in_urls(core: bytes) -> list[bytes]:
    found = [_spelled(core, [b"%%%02x" % byte for byte in range(256)])]
    for safe in _URL_SAFE:
        kept = _ALPHANUMERIC + safe
        escaped = _spelled(core, [b"%c" % byte if byte in kept else b"%%%02x" % byte for byte in range(256)])
        found += [escaped, escaped.replace(b"%20", b"+")]
    return found


def _in_json(text: str) -> list[bytes]:
    found: list[bytes] = []
    for is_ascii in (True, False):
        once = json.dumps(text, ensure_ascii=is_ascii)[1:-1]
        careful = once.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        found += [each.encode() for each in (once, once.replace("/", "\\/"), careful)]
        # JSON within JSON, as in logs.
        found.append(json.dumps(once, ensure_ascii=is_ascii)[1:-1].encode())
    return found


def _in_c(core: bytes) -> list[bytes]:
    return [_spelled(core, [b"\\x%02x" % byte for byte in range(256)])]


def _in_shell(core: bytes) -> list[bytes]:
    return [
        core.replace(b"'", b"'\\''"),
        core.replace(b"'", b"'\"'\"'"),
        _spelled(core, [_backslashed(byte, _QUOTED_SPECIAL) for byte in range(256)]),
        _spelled(core, [_backslashed(byte, _BASH_SPECIAL) for byte in range(256)]),
        _spelled(core, [_ansi_c(byte, is_ascii=True) for byte in range(256)]),
        _spelled(core, [_ansi_c(byte, is_ascii=False) for byte in range(256)]),
    ]


def _spelled(core: bytes, spelling: list[bytes]) -> bytes:
    return b"".join(map(spelling.__getitem__, core))


def _backslashed(byte: int, special: bytes) -> bytes:
    return b"\\%c" % byte if byte in special else b"%c" % byte


def _ansi_c(byte: int, *, is_ascii: bool) -> bytes:
    """Return a byte as bash writes it within $'…': a non-ASCII byte is escaped unless the locale has it."""
    if byte in b"'\\":
        return b"\\%c" % byte
    if byte in _ANSI_C:
        return _ANSI_C[byte]
    if byte < _SPACE or byte == _DELETE or (is_ascii and byte > _DELETE):
        return b"\\%03o" % byte
    return b"%c" % byte


def _in_python(text: str) -> list[bytes]:
    return [repr(text)[1:-1].encode(), repr(text.encode())[2:-1].encode(), ascii(text)[1:-1].encode()]
