"""A manifest reads back as it was written, and what is no manifest is refused with the reason."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.integrity import Artifact
from pyro_mcp.image.manifest import Manifest

SHA = "ab" * 32
MANIFEST = Manifest(
    "environment", "debian:12", {"base.img": Artifact(SHA, 4096)}, {"packages": {"git": "1:2.39"}, "entries": 7}
)


def changed(**changes: object) -> bytes:
    document = cast("dict[str, object]", json.loads(MANIFEST.to_bytes()))
    return json.dumps(document | changes).encode()


def test_a_manifest_reads_back_as_it_was_written() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes(), kind="environment") == MANIFEST


def test_the_same_facts_in_another_order_make_the_same_bytes() -> None:
    turned = Manifest(MANIFEST.kind, MANIFEST.name, MANIFEST.artifacts, dict(reversed(list(MANIFEST.facts.items()))))

    assert turned.to_bytes() == MANIFEST.to_bytes()


def test_facts_are_read_by_type() -> None:
    assert MANIFEST.texts("packages") == {"git": "1:2.39"}
    assert MANIFEST.number("entries") == 7
    for read in (MANIFEST.text, MANIFEST.texts, MANIFEST.number):
        with pytest.raises(PyroError, match="created is missing"):
            read("created")
    with pytest.raises(PyroError, match="packages is missing or of the wrong type"):
        MANIFEST.number("packages")


def test_facts_of_a_later_version_are_kept() -> None:
    read = Manifest.from_bytes(changed(news="x"), kind="environment")

    assert read.facts["news"] == "x"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "the manifest is missing or of the wrong type"),
        (changed(format=2), "format that this version does not know"),
        (changed(kind="boot"), "of kind 'boot' instead of 'environment'"),
        (changed(name=7), "name is missing or of the wrong type"),
        (changed(artifacts=None), "artifacts is missing"),
        (changed(artifacts={"base.img": {"sha256": "x", "size": 1}}), "base.img is missing or of the wrong type"),
        (changed(artifacts={"base.img": {"sha256": SHA}}), "base.img is missing or of the wrong type"),
        (changed(artifacts={"../x": {"sha256": SHA, "size": 1}}), "leads elsewhere"),
        (changed(artifacts={"/etc/passwd": {"sha256": SHA, "size": 1}}), "leads elsewhere"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(PyroError, match=says) as caught:
        Manifest.from_bytes(data, kind="environment")

    assert caught.value.code is ErrorCode.CORRUPT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["format", "kind", "name", "artifacts"]), json_values)
def test_no_value_in_any_place_gets_past_as_another_type(key: str, value: object) -> None:
    try:
        read = Manifest.from_bytes(changed(**{key: value}), kind="environment")
    except PyroError:
        return
    assert Manifest.from_bytes(read.to_bytes(), kind="environment") == read
