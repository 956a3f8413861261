"""Names that somebody else chose are checked once, and shown so that they can do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.protocol.names import NameRefusedError, clean_name, shown, shown_briefly
from pyro_mcp.trees.links import LinkMap


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"a", b"a"),
        (b"./a", b"a"),
        (b"a/", b"a"),
        (b"a//b/./c/", b"a/b/c"),
        (b"./", b""),
        (b".", b""),
        (b"", b""),
        (b"...", b"..."),
        (b"..a/b..", b"..a/b.."),
        (b"-rf/$(x)\n", b"-rf/$(x)\n"),
    ],
)
def test_a_name_is_brought_into_its_one_form(raw: bytes, clean: bytes) -> None:
    assert clean_name(raw) == clean


@given(st.lists(st.sampled_from([b"a", b"..", b".", b"", b"b\0", b"x" * 255, b"y" * 256]), max_size=6))
def test_no_name_that_is_accepted_leads_anywhere_but_down(parts: list[bytes]) -> None:
    raw = b"/".join(parts)
    try:
        clean = clean_name(raw)
    except NameRefusedError:
        assert raw.startswith(b"/") or {b"..", b"b\0", b"y" * 256} & set(parts)
        return
    assert not clean.startswith(b"/")
    assert not {b"", b".", b".."} & set(clean.split(b"/")) or clean == b""
    assert not {b"..", b"b\0", b"y" * 256} & set(parts)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain name.py", "plain name.py"),
        ("café 日本".encode(), "café 日本"),
        (b"line\nbreak", "line\\x0abreak"),
        (b"\x1b]52;c;x\x07", "\\x1b]52;c;x\\x07"),
        (b"latin\xe9", "latin\\xe9"),
        ("\x85".encode(), "\\u0085"),
        (b"\x85", "\\x85"),
        ("\u202egpj".encode(), "\\u202egpj"),
        (b"back\\slash", "back\\\\slash"),
    ],
)
def test_a_name_is_shown_without_doing_anything(raw: bytes, text: str) -> None:
    assert shown(raw) == text


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_different_names_are_shown_differently(one: bytes, other: bytes) -> None:
    assert (shown(one) == shown(other)) is (one == other)
    shown(one).encode("utf-8")


def test_a_long_name_is_shown_without_its_middle() -> None:
    text = shown_briefly(b"a" * 400 + b"\x1b" + b"z" * 400)
    assert text == "a" * 150 + "…" + "z" * 150
    assert shown_briefly(b"") == "."


@pytest.mark.parametrize(
    ("links", "leaving"),
    [
        ({b"a": b"b"}, set[bytes]()),
        ({b"a": b"/b"}, {b"a"}),
        ({b"a": b".."}, {b"a"}),
        ({b"a/b": b"../.."}, {b"a/b"}),
        ({b"a/b": b".."}, set[bytes]()),
        ({b"up": b"a/b", b"a/b": b"../.."}, {b"up", b"a/b"}),
        # Harmless by their text, each of them; together they are not.
        ({b"x/y/z": b"../..", b"out": b"x/y/z/.."}, {b"out"}),
        ({b"a": b"b", b"b": b"a"}, set[bytes]()),
        ({b"a": b"a/a/a"}, set[bytes]()),
        ({b"d": b"e", b"f": b"d/../.."}, {b"f"}),
    ],
)
def test_links_are_followed_through_links(links: dict[bytes, bytes], leaving: set[bytes]) -> None:
    found = LinkMap()
    for path, target in links.items():
        found.add(path, target)

    assert set(found.leaving()) == leaving
