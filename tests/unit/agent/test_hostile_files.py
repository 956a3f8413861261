"""Whatever a hostile agent says of files, the host answers with a typed error or a checked value, within bounds."""

from __future__ import annotations

import json
import os
import struct
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.agent import AgentSession, files, session
from pyro_mcp.agent.file_values import Delete, DiffBounds, Write
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.protocol import tasks, wire
from pyro_mcp.protocol.frames import encode
from tests.support.agents import PairTransport
from tests.support.thorough import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NONCE = bytes(range(wire.NONCE_BYTES))
IDENT = 1
BOUNDS = DiffBounds(5, 50, 80)
PATHS = [b"a", b"b/c"]
#: What the host may come to, whatever is said to it.
EXPECTED = {*ErrorCode} - {ErrorCode.USAGE, ErrorCode.MISSING_PROGRAM, ErrorCode.BUILD_FAILED, ErrorCode.CORRUPT}
MAX_BYTES = 64 * 1024 * 1024


@pytest.fixture(autouse=True)
def known_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests' peers answer before they were greeted."""
    real = os.urandom

    def urandom(count: int) -> bytes:
        return NONCE if count == len(NONCE) else real(count)

    monkeypatch.setattr(session.os, "urandom", urandom)


@pytest.fixture
def pair() -> Generator[PairTransport]:
    transport = PairTransport()
    yield transport
    transport.close()


def ready() -> bytes:
    document: dict[str, object] = {"generation": wire.GENERATION, "features": [], "configured": True}
    return NONCE + encode(0, wire.READY, json.dumps(document).encode())


def result(**changes: object) -> bytes:
    document = {
        "exit_code": 0,
        "timed_out": False,
        "cancelled": False,
        "oom_killed": False,
        "duration_ms": 1,
        **changes,
    }
    return encode(IDENT, wire.RESULT, json.dumps(document).encode())


def out(data: bytes) -> bytes:
    return b"".join(encode(IDENT, wire.STDOUT, data[at : at + 60_000]) for at in range(0, len(data), 60_000))


def answer(document: object) -> bytes:
    return encode(IDENT, wire.STDERR, json.dumps(document).encode())


def said(pair: PairTransport, speech: bytes, ask: Callable[[GuestFiles], Any]) -> Any:
    """Return what the host makes of a peer that says this and hangs up."""

    def speak() -> None:
        try:
            pair.theirs.sendall(ready() + speech)
            pair.theirs.shutdown(1)
        except OSError:
            return

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        with AgentSession.open(pair, timeout_s=1) as opened:
            return ask(GuestFiles(opened))
    finally:
        pair.close()
        speaker.join()


def complaint(pair: PairTransport, speech: bytes, ask: Callable[[GuestFiles], Any]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        said(pair, speech, ask)
    return caught.value


def hold(guest: GuestFiles) -> str:
    with guest.frozen():
        return "held"


def pack(guest: GuestFiles) -> int:
    return guest.pack(b"", lambda _: None).entry_count


ASKS: dict[str, Callable[[GuestFiles], Any]] = {
    "list": lambda guest: guest.list(b"", recursive=True, limit=5),
    "read": lambda guest: guest.read(b"a", max_bytes=10),
    "write": lambda guest: guest.write(b"a", b"x"),
    "fetch": lambda guest: guest.fetch(PATHS, max_file_bytes=10),
    "apply": lambda guest: guest.apply([Delete(b"a"), Write(b"b", b"x", 0o644, created=True)]),
    "pack": pack,
    "unpack": lambda guest: guest.unpack(b"", [b"x" * 10]),
    "diff": lambda guest: guest.diff(BOUNDS),
    "freeze": hold,
    "usage": lambda guest: guest.usage(),
    "export": lambda guest: guest.export_root(),
}

names = st.sampled_from(
    [b"", b"a", b"b", b"a/b", b"../x", b"/etc", b"a//b", b"a/./b", b"a/..", b"x\0y", b"\xff", b"n" * 300]
)
small = st.sampled_from([0, 1, 2, 3, 4, 5, 9, 200, 0o7777, 65535])
numbers = st.sampled_from([-(1 << 63), -1, 0, 1, 5, 50, 51, 1 << 40, (1 << 63) - 1])
lengths = st.sampled_from([-(1 << 31), -2, -1, 0, 1, 5, 50, 51, (1 << 31) - 1])
contents = st.binary(max_size=60)


def entry(kind: int, mode: int, size: int, path: bytes, target: bytes) -> bytes:
    return tasks.ENTRY.pack(kind & 255, mode, size, 0, len(path), len(target)) + path + target


def fetched(index: int, kind: int, mode: int, size: int, data: bytes, length: int) -> bytes:
    return tasks.FETCHED.pack(index, kind & 255, mode, size, length) + data


def side(kind: int, size: int, target: bytes) -> bytes:
    return tasks.SIDE.pack(kind & 255, 0o644, size, len(target)) + target


def content(form: int, count: int, *parts: bytes) -> bytes:
    return tasks.CONTENT.pack(form & 255, count & 0xFFFFFFFF) + b"".join(parts)


def part(old_line: int, new_line: int, old: bytes, new: bytes, length: int) -> bytes:
    return tasks.PART.pack(old_line & 0xFFFF, new_line & 0xFFFF, len(old), length & 0xFFFFFFFF) + old + new


def difference(sides: int, path: bytes, *both: bytes) -> bytes:
    return tasks.DIFFERENCE.pack(sides & 255, len(path)) + path + b"".join(both)


def babble(data: bytes) -> bytes:
    return encode(IDENT, wire.STDERR, data)


def ended(code: int, timed_out: object, oom_killed: object) -> bytes:
    return result(exit_code=code, timed_out=timed_out, oom_killed=oom_killed)


side_records = st.builds(side, small, numbers, names)
part_records = st.builds(part, small, small, contents, contents, lengths)
content_records = st.builds(content, small, small, part_records | st.just(b""))
data_pieces = st.one_of(
    st.builds(entry, small, small, numbers, names, names),
    st.builds(fetched, small, small, small, numbers, contents, lengths),
    st.builds(difference, small, names, side_records, content_records),
    st.builds(difference, small, names, side_records, side_records, content_records),
    st.binary(max_size=30),
    st.just(tasks.FROZEN),
)
fields = st.sampled_from(
    [
        *(
            "truncated",
            "size",
            "mode",
            "created",
            "entries",
            "bytes",
            "total",
            "total_bytes",
            "used_bytes",
            "free_bytes",
        ),
        *("ignored", "ignored_by_one", "ignored_names"),
    ]
)
values = st.integers() | st.booleans() | st.text(max_size=5) | st.none() | st.lists(st.integers(), max_size=2)
oks = st.dictionaries(fields, values, max_size=6).map(lambda document: {"ok": document})
errors = st.fixed_dictionaries(
    {"code": st.sampled_from([*tasks.ERROR_CODES, "else", ""]) | values},
    optional={"message": st.text(max_size=30) | values, "path": st.text(max_size=30) | values},
).map(lambda document: {"error": document})
frames = st.one_of(
    data_pieces.map(out),
    oks.map(answer),
    errors.map(answer),
    st.binary(max_size=40).map(babble),
    st.builds(ended, small, values, values),
    st.just(result()),
    st.just(encode(2, wire.STDOUT, b"x")),
    st.just(encode(IDENT, wire.CREDIT, struct.pack(wire.CREDIT_FORMAT, 0, 1))),
    st.just(encode(IDENT, wire.FAILURE, b'{"code":"system","message":"no"}')),
    st.binary(max_size=20),
)
speeches = st.lists(frames, max_size=8).map(b"".join)
endings = st.one_of(st.just(b""), st.just(answer({"ok": {}}) + result()))


@settings(max_examples=examples(600), deadline=None)
@given(speech=speeches, ending=endings, name=st.sampled_from([*ASKS]))
def test_any_speech_is_a_checked_value_or_a_typed_error(speech: bytes, ending: bytes, name: str) -> None:
    pair = PairTransport()
    problem: PyroError | None = None
    outcome: Any = None
    try:
        outcome = said(pair, speech + ending, ASKS[name])
    except PyroError as error:
        problem = error
    finally:
        pair.close()
    if problem is not None:
        assert problem.code in EXPECTED
        assert problem.message.isprintable()
        return
    check(name, outcome)


def check(name: str, outcome: Any) -> None:
    """See that a value which came through is one that a caller may rely on."""
    paths: list[bytes] = []
    if name == "list":
        assert len(outcome.entries) <= 5
        paths = [each.path for each in outcome.entries]
        assert all((each.link_target is None) == (each.kind is not FileKind.LINK) for each in outcome.entries)
    elif name == "diff":
        assert len(outcome.entries) <= 5 <= 5 + outcome.total
        paths = [each.path for each in outcome.entries]
        parts = [each for found in outcome.entries for each in found.parts]
        assert sum(len(each.old) + len(each.new) for each in parts) <= BOUNDS.max_total_bytes
        assert len(outcome.ignored.names) <= outcome.ignored.count
    elif name == "fetch":
        assert set(outcome) <= set(PATHS)
        assert all(len(each.data or b"") <= 10 for each in outcome.values())
    elif name == "read":
        assert len(outcome.data) <= 10
    assert paths == sorted(set(paths))
    for path in paths:
        assert not path.startswith(b"/")
        assert b"\0" not in path
        assert b".." not in path.split(b"/")
        assert b"" not in path.split(b"/") or not path


BOTH = tasks.OLD | tasks.NEW


def a_part(old: str, new: str) -> bytes:
    return part(1, 1, old.encode(), new.encode(), len(new))


A_FILE = side(tasks.FILE, 1 << 40, b"")
LONG_PART = part(1, 1, b"", bytes(3_000_000), (1 << 31) - 1)
ENDLESS: dict[str, bytes] = {
    "list": b"".join(entry(1, 0o644, 1, b"%08d" % number, b"") for number in range(100_000)),
    "read": bytes(3_000_000),
    "write": bytes(3_000_000),
    "fetch": fetched(0, tasks.FILE, 0o644, 1 << 40, bytes(3_000_000), (1 << 31) - 1),
    "diff": difference(tasks.NEW, b"a", A_FILE, content(tasks.WHOLE, 1, LONG_PART)),
    "freeze": tasks.FROZEN + bytes(3_000_000),
}


@pytest.mark.parametrize("name", [*ENDLESS])
def test_more_data_than_was_asked_for_is_a_breach_and_costs_no_memory(pair: PairTransport, name: str) -> None:
    tracemalloc.start()
    try:
        error = complaint(pair, out(ENDLESS[name]), ASKS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What the peer itself has prepared counts too.
    assert peak < MAX_BYTES
    assert error.code in {ErrorCode.PROTOCOL, ErrorCode.GUEST_LOST}


def test_an_endless_answer_is_a_breach(pair: PairTransport) -> None:
    speech = b"".join(encode(IDENT, wire.STDERR, b" " * 60_000) for _ in range(40))
    assert complaint(pair, speech, ASKS["usage"]).code in {ErrorCode.PROTOCOL, ErrorCode.GUEST_LOST}


@pytest.mark.parametrize(
    ("data", "ask"),
    [
        (entry(tasks.FILE, 0o644, 1, b"a", b"")[:-1], "list"),
        (entry(tasks.FILE, 0o644, 1, b"a", b"") + b"\1", "list"),
        (entry(tasks.FILE, 0o644, 1, b"b", b"") + entry(tasks.FILE, 0o644, 1, b"a", b""), "list"),
        (entry(tasks.FILE, 0o644, 1, b"a", b"") * 2, "list"),
        (entry(tasks.FILE, 0o644, 1, b"../a", b""), "list"),
        (entry(tasks.FILE, 0o644, 1, b"/a", b""), "list"),
        (entry(tasks.FILE, 0o644, 1, b"a", b"target"), "list"),
        (entry(tasks.LINK, 0o644, 1, b"a", b""), "list"),
        (entry(tasks.FILE, 0o644, -1, b"a", b""), "list"),
        (entry(9, 0o644, 1, b"a", b""), "list"),
        (entry(tasks.FILE, 0o17777, 1, b"a", b""), "list"),
        (fetched(2, tasks.FILE, 0, 1, b"x", 1), "fetch"),
        (fetched(0, tasks.FILE, 0, 1, b"x", 1) * 2, "fetch"),
        (fetched(0, tasks.DIRECTORY, 0, 1, b"x", 1), "fetch"),
        (fetched(0, tasks.FILE, 0, 1, b"xx", 2), "fetch"),
        (fetched(0, tasks.FILE, 0, 1, b"", -1), "fetch"),
        (difference(0, b"a"), "diff"),
        (difference(tasks.NEW, b"a", side(tasks.LINK, 1, b"t"), content(tasks.WHOLE, 1, a_part("", "x"))), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(tasks.WHOLE, 1, a_part("x", "x"))), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(tasks.WHOLE, 0)), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(tasks.SAME, 1, a_part("", "x"))), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(9, 0)), "diff"),
        (difference(BOTH, b"a", A_FILE, A_FILE, content(tasks.PARTS, tasks.MAX_PARTS + 1)), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(tasks.MOVED, 1, a_part("../b", ""))), "diff"),
        (difference(tasks.OLD, b"a", A_FILE, content(tasks.MOVED, 1, a_part("b", ""))), "diff"),
        (difference(BOTH, b"a", A_FILE, A_FILE, content(tasks.MOVED, 1, a_part("b", ""))), "diff"),
        (difference(BOTH, b"a", A_FILE, A_FILE, content(tasks.PARTS, 2, a_part("x", ""), a_part("", ""))), "diff"),
        (difference(tasks.NEW, b"a", A_FILE, content(tasks.WHOLE, 1, a_part("", "x"))) * 2, "diff"),
        (b"FROZEN", "freeze"),
    ],
)
def test_what_is_almost_right_is_a_breach(pair: PairTransport, data: bytes, ask: str) -> None:
    document = {"ok": {"truncated": False, "total": 5}}
    assert complaint(pair, out(data) + answer(document) + result(), ASKS[ask]).code is ErrorCode.PROTOCOL


@pytest.mark.parametrize("document", [{}, {"ok": 1}, {"ok": {"size": True, "mode": 1}}, {"error": {}}, {"ok": {}}])
def test_an_answer_that_is_none_is_a_breach(pair: PairTransport, document: object) -> None:
    assert complaint(pair, answer(document) + result(), ASKS["read"]).code is ErrorCode.PROTOCOL


def test_a_task_that_dies_without_a_word_is_an_error_that_says_so(pair: PairTransport) -> None:
    error = complaint(pair, result(exit_code=137, oom_killed=True), ASKS["diff"])
    assert error.code is ErrorCode.UNAVAILABLE
    assert "ran out of memory" in error.message


def test_a_task_past_its_time_is_a_timeout(pair: PairTransport) -> None:
    error = complaint(pair, result(exit_code=137, timed_out=True), ASKS["diff"])
    assert error.code is ErrorCode.TIMEOUT
    assert f"{files.DIFF_TIMEOUT_S:g} s" in error.message


def test_a_guests_words_are_harmless_on_a_terminal(pair: PairTransport) -> None:
    document = {"error": {"code": tasks.SYSTEM, "message": "\x1b]52;c;x\x07\u202e"}}
    assert complaint(pair, answer(document) + result(), ASKS["usage"]).message.isprintable()


def test_a_path_in_an_error_is_harmless_too(pair: PairTransport) -> None:
    document = {"error": {"code": tasks.MISSING, "path": "\x1b[2J\udcff"}}
    error = complaint(pair, answer(document) + result(), ASKS["read"])
    assert error.message == "/workspace/\\x1b[2J\\xff does not exist"


def test_too_many_changes_are_refused_before_anything_is_said(pair: PairTransport) -> None:
    changes = [Delete(b"x")] * (tasks.MAX_CHANGES + 1)
    assert complaint(pair, b"", lambda guest: guest.apply(changes)).code is ErrorCode.INVALID
