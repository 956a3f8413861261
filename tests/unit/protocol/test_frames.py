"""Frames come out as they went in, however the stream is cut; nothing else makes the decoder keep or do anything."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.protocol import wire
from pyro_mcp.protocol.frames import HEADER_BYTES, Decoder, Frame, FrameError, encode, encode_stream

LIMITS = {1: 0, 2: 10, 3: 1000}
LONGEST = HEADER_BYTES + max(LIMITS.values())

frames = st.sampled_from(sorted(LIMITS)).flatmap(
    lambda kind: st.tuples(st.integers(0, 2**32 - 1), st.just(kind), st.binary(max_size=LIMITS[kind]))
)
cuts = st.lists(st.integers(0, 4000), max_size=30)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({min(end, len(data)) for end in at} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def decoded(data: bytes, at: list[int]) -> tuple[list[Frame], str]:
    """Return the frames and the complaint that a stream, cut at these places, comes to."""
    decoder = Decoder(LIMITS)
    found: list[Frame] = []
    for piece in pieces(data, at):
        try:
            found += decoder.feed(piece)
        except FrameError as error:
            return found, str(error)
        assert decoder.buffered_bytes < LONGEST
    return found, ""


@given(st.lists(frames, max_size=20), cuts)
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[Frame], at: list[int]) -> None:
    data = b"".join(encode(ident, kind, body) for ident, kind, body in sent)
    assert decoded(data, at) == (sent, "")


@given(st.lists(frames, max_size=5), st.binary(max_size=200), cuts)
def test_any_bytes_are_frames_or_a_frame_error_wherever_they_are_cut(
    sent: list[Frame], rest: bytes, at: list[int]
) -> None:
    data = b"".join(encode(ident, kind, body) for ident, kind, body in sent) + rest
    one_by_one, complaint = decoded(data, list(range(len(data))))
    found, same_complaint = decoded(data, at)
    assert complaint == same_complaint
    assert one_by_one[: len(sent)] == sent
    # Frames that came in one piece with what is none go down with it: the stream is lost anyway.
    assert found == one_by_one[: len(found)]
    assert complaint or found == one_by_one


@given(st.lists(frames, min_size=1, max_size=3))
def test_a_byte_at_a_time_is_enough(sent: list[Frame]) -> None:
    data = b"".join(encode(ident, kind, body) for ident, kind, body in sent)
    assert decoded(data, list(range(len(data)))) == (sent, "")


@pytest.mark.parametrize("length", [0, 4, 16, 2**31, 2**32 - 1])
def test_a_length_that_can_not_be_is_refused_with_the_header_alone(length: int) -> None:
    with pytest.raises(FrameError, match=str(length)):
        Decoder(LIMITS).feed(struct.pack("<IIB", length, 1, 2))


def test_a_kind_that_may_not_come_is_refused() -> None:
    with pytest.raises(FrameError, match="kind 99"):
        Decoder(LIMITS).feed(encode(1, 99))


def test_a_long_frame_in_single_bytes_is_put_together_once() -> None:
    decoder = Decoder({7: wire.MAX_JSON_BYTES})
    data = encode(1, 7, bytes(200_000))
    found = [frame for index in range(len(data)) for frame in decoder.feed(data[index : index + 1])]
    assert found == [(1, 7, bytes(200_000))]


def test_the_magic_is_what_the_documentation_says() -> None:
    assert sha256(b"pyro lane hello").digest()[:16] == wire.LANE_MAGIC


magic_pieces = st.integers(1, len(wire.LANE_MAGIC)).map(lambda size: wire.LANE_MAGIC[:size])


@given(st.lists(magic_pieces | st.just(wire.LANE_MAGIC) | st.binary(max_size=40), max_size=60).map(b"".join))
def test_a_stream_never_spells_the_magic_and_carries_every_byte(data: bytes) -> None:
    sent = encode_stream(5, wire.DATA, data)
    assert wire.LANE_MAGIC not in sent
    found = Decoder(wire.HOST_LIMITS).feed(sent)
    assert {(ident, kind) for ident, kind, _ in found} <= {(5, wire.DATA)}
    assert b"".join(body for _, _, body in found) == data


def test_a_long_stream_is_cut_into_frames_that_may_come() -> None:
    data = bytes(range(256)) * 1000
    found = Decoder(wire.HOST_LIMITS).feed(encode_stream(1, wire.DATA, data))
    assert max(len(body) for _, _, body in found) <= wire.MAX_DATA_BYTES
    assert b"".join(body for _, _, body in found) == data


def test_kinds_of_both_sides_do_not_overlap_but_for_credit() -> None:
    assert set(wire.HOST_LIMITS) & set(wire.GUEST_LIMITS) == {wire.CREDIT}
