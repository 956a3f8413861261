"""Edit one member of a JSON document with comments and trailing commas, every other byte kept.

No parser that we know gives the places of values and takes comments, so this is one: a recursive descent that keeps
spans, and edits by splicing the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyro_mcp.errors import ErrorCode, PyroError

MAX_DEPTH = 200
_BLANK = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_DEFAULT_INDENT = "  "


class JsoncError(PyroError):
    """The text is no JSON, at a line and a column."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        line = text.count("\n", 0, at) + 1
        column = at - text.rfind("\n", 0, at)
        super().__init__(ErrorCode.INVALID, f"line {line}, column {column}: {expected}")


@dataclass(slots=True)
class Node:
    """A value, and where it stands. Of an object, `members` has each key's place and its value."""

    start: int
    end: int
    value: object
    members: dict[str, tuple[int, Node]] = field(default_factory=dict[str, "tuple[int, Node]"])

    @property
    def is_object(self) -> bool:
        """Say whether it has members."""
        return isinstance(self.value, dict)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text

    def document(self) -> Node:
        node = self._value(self._blank(0), 0)
        at = self._blank(node.end)
        if at < len(self._text):
            raise JsoncError(self._text, at, "expected the end of the file")
        return node

    def _blank(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return at if found is None else found.end()

    def _value(self, at: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise JsoncError(self._text, at, "nested too deeply")
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._array(at, depth)
            case _:
                found = _STRING.match(self._text, at) or _SCALAR.match(self._text, at)
                if found is None:
                    raise JsoncError(self._text, at, "expected a value")
                return Node(at, found.end(), json.loads(found.group()))

    def _object(self, at: int, depth: int) -> Node:
        members: dict[str, tuple[int, Node]] = {}
        end = self._blank(at + 1)
        while self._text[end : end + 1] != "}":
            key = _STRING.match(self._text, end)
            if key is None:
                raise JsoncError(self._text, end, "expected a key in double quotes, or }")
            colon = self._blank(key.end())
            if self._text[colon : colon + 1] != ":":
                raise JsoncError(self._text, colon, "expected :")
            value = self._value(self._blank(colon + 1), depth + 1)
            members[json.loads(key.group())] = (end, value)
            end = self._next(value.end, "}")
        return Node(at, end + 1, {name: node.value for name, (_, node) in members.items()}, members)

    def _array(self, at: int, depth: int) -> Node:
        items: list[object] = []
        end = self._blank(at + 1)
        while self._text[end : end + 1] != "]":
            item = self._value(end, depth + 1)
            items.append(item.value)
            end = self._next(item.end, "]")
        return Node(at, end + 1, items)

    def _next(self, at: int, closing: str) -> int:
        """Return the place of the next item, or of the closing bracket; a trailing comma is fine."""
        at = self._blank(at)
        if self._text[at : at + 1] == ",":
            return self._blank(at + 1)
        if self._text[at : at + 1] != closing:
            raise JsoncError(self._text, at, f"expected , or {closing}")
        return at


def parse(text: str) -> Node:
    """Return the document.

    Raises:
        PyroError: INVALID, with line and column.
    """
    return _Parser(text).document()


def set_member(text: str, path: Sequence[str], value: object) -> str:
    """Return the text with the member at `path` set; objects on the way are made, and all else stays as it is.

    Raises:
        PyroError: INVALID if the text is no JSON, or something on the way is no object.
    """
    if not text.strip():
        text = "{}\n"
    node, at = parse(text), 0
    while True:
        if not node.is_object:
            raise JsoncError(text, node.start, f"{'.'.join(path[:at]) or 'the document'} is not an object")
        found = node.members.get(path[at])
        if found is None:
            break
        node = found[1]
        at += 1
        if at == len(path):
            if node.value == value:
                return text
            return text[: node.start] + _written(value, _indent_at(text, found[0])) + text[node.end :]
    for name in reversed(path[at + 1 :]):
        value = {name: value}
    return _inserted(text, node, path[at], value)


def remove_member(text: str, path: Sequence[str]) -> str:
    """Return the text without the member at `path` and what `set_member` puts around one; unchanged without it.

    Raises:
        PyroError: INVALID if the text is no JSON.
    """
    node = parse(text)
    for name in path[:-1]:
        found = node.members.get(name)
        if found is None:
            return text
        node = found[1]
    found = node.members.get(path[-1])
    if found is None:
        return text
    start, end = found[0], found[1].end
    names = list(node.members)
    at = names.index(path[-1])
    if at + 1 < len(names):
        # Up to the next member; what stands between, comments too, goes with ours.
        return text[:start] + text[node.members[names[at + 1]][0] :]
    before = node.start + 1 if at == 0 else node.members[names[at - 1]][1].end
    trailing = re.compile(r"\s*,").match(text, end)
    if at == 0:
        return (
            text[:before] + text[node.end - 1 :].lstrip()
            if not _has_comment(text[before:start])
            else _cut(text, start, end)
        )
    gap = text[before:start]
    comma = before + gap.index(",") if not _has_comment(gap) else start
    return text[:comma] + ("," if trailing else "") + text[trailing.end() if trailing else end :]


def _has_comment(text: str) -> bool:
    return "/" in text


def _cut(text: str, start: int, end: int) -> str:
    return text[:start].rstrip(" \t") + text[end:]


def _inserted(text: str, node: Node, name: str, value: object) -> str:
    """Return the text with a new last member in an object."""
    indent = _member_indent(text, node)
    member = f"{json.dumps(name)}: {_written(value, indent)}"
    if not node.members:
        outer = _indent_at(text, node.start)
        inside = text[node.start + 1 : node.end - 1].rstrip()
        return f"{text[: node.start + 1]}{inside}\n{indent}{member}\n{outer}{text[node.end - 1 :]}"
    last = list(node.members.values())[-1][1].end
    trailing = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*,", re.DOTALL).match(text, last)
    at = trailing.end() if trailing else last
    # With a comma at the end the new member keeps the style, so that removing it gives the old text.
    return f"{text[:at]}{'' if trailing else ','}\n{indent}{member}{',' if trailing else ''}{text[at:]}"


def _member_indent(text: str, node: Node) -> str:
    for place, _ in node.members.values():
        found = _indent_at(text, place)
        if text[:place].endswith("\n" + found) or not found:
            return found or _DEFAULT_INDENT
    return _indent_at(text, node.start) + _DEFAULT_INDENT


def _indent_at(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _written(value: object, indent: str) -> str:
    step = "\t" if indent.startswith("\t") else _DEFAULT_INDENT
    lines = json.dumps(value, indent=step, ensure_ascii=False).splitlines()
    return f"\n{indent}".join(lines)
