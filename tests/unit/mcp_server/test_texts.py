"""Results as text: the outcome at both ends, everything in between, and never more than a host shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.mcp_server.texts import MAX_TEXT_BYTES, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

EXEC: dict[str, Any] = {
    "workspace_id": "ws_1",
    "command": "make test",
    "exit_code": 2,
    "timed_out": False,
    "duration_ms": 1200,
    "stdout": "first\nlast\n",
    "stderr": "",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=4),
    max_leaves=20,
)


def test_an_outcome_comes_first_and_output_keeps_its_lines() -> None:
    assert as_text(EXEC).splitlines() == [
        "exit_code=2",
        "workspace_id: ws_1",
        "command: make test",
        "duration_ms: 1200",
        "--- stdout, 11 characters:",
        "first",
        "last",
        "--- end of stdout",
    ]


def test_after_a_long_text_the_outcome_stands_again() -> None:
    lines = as_text({**EXEC, "stdout": "line\n" * 1000}).splitlines()
    assert lines[0] == lines[-1] == "exit_code=2"


def test_a_change_that_a_patch_lacks_is_in_the_first_line() -> None:
    missing = [{"path": "logo.png", "status": "modified", "reason": "binary"}]
    text = as_text({"workspace_id": "ws_1", "missing_count": 1, "missing": missing, "changed": True, "patch": ""})
    assert text.splitlines()[0] == "not in the patch: modified logo.png (binary)"


def test_a_time_limit_says_how_to_go_on() -> None:
    assert "raise timeout_seconds" in as_text({**EXEC, "exit_code": 124, "timed_out": True})


def test_items_of_a_list_have_a_line_each() -> None:
    text = as_text({"count": 2, "entries": [{"path": "a", "kind": "file"}, {"path": "b", "patch": "-1\n+2"}]})
    assert text.splitlines() == [
        "count=2",
        "entries (2):",
        "  - path=a, kind=file",
        "  - path=b",
        "    --- patch, 5 characters:",
        "-1",
        "+2",
        "    --- end of patch",
    ]


@given(st.dictionaries(st.text("abc_", min_size=1), VALUES, max_size=6))
def test_anything_is_shown(document: Mapping[str, object]) -> None:
    assert len(as_text(document).encode()) <= MAX_TEXT_BYTES


def test_no_text_is_longer_than_hosts_show() -> None:
    wide = "\N{GRINNING FACE}" * 19_000 + "\n"
    text = as_text({**EXEC, "stdout": wide, "stderr": wide, "items": [{"name": "x" * 300}] * 200})
    assert len(text.encode()) <= MAX_TEXT_BYTES
    assert text.startswith("exit_code=2")
