"""Values are put back into text that was read redacted, or the text is refused."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.workspace.secrets.redactor import Redactor
from pyro_mcp.workspace.secrets.restoring import Restorer

ONE, TWO, SPREAD = "postgres-one", "hunter2-two", "first-line\nsecond-line"
REDACTOR = Redactor([ONE, TWO, SPREAD])


def restorer(*contents: str) -> Restorer:
    return Restorer(REDACTOR, [(f"file{number}", content.encode()) for number, content in enumerate(contents)])


def edited(content: str, old: str, new: str) -> str:
    return REDACTOR.text(content).replace(old, new)


def test_what_was_read_edited_and_written_back_has_its_value() -> None:
    content = f"user = {ONE}\nport = 1\n"
    assert restorer(content).restored(edited(content, "port = 1", "port = 2")) == content.replace("= 1", "= 2")


def test_an_edited_line_has_the_only_value_that_the_file_holds() -> None:
    content = f"user = {ONE}\n"
    assert restorer(content).restored(edited(content, "user", "name")) == f"name = {ONE}\n"


def test_two_values_are_told_by_their_lines() -> None:
    content = f"user = {ONE}\nword = {TWO}\r\n"
    swapped = "word = [REDACTED]\r\nuser = [REDACTED]\n"
    assert restorer(content).restored(swapped) == f"word = {TWO}\r\nuser = {ONE}\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"user = {ONE}\nword = {TWO}\n", "name = [REDACTED]\n"),
        (f"x = {ONE}\nx = {TWO}\n", "x = [REDACTED]\n"),
        (f"x = {SPREAD}\n", "x = [REDACTED]\n"),
    ],
)
def test_a_mark_that_may_stand_for_several_values_is_refused_by_name(content: str, text: str) -> None:
    with pytest.raises(PyroError, match="file0") as caught:
        restorer(content).restored(text)
    assert caught.value.code is ErrorCode.INVALID
    assert ONE not in f"{caught.value.message} {caught.value.hint}"


def test_a_mark_where_no_file_holds_a_value_is_text() -> None:
    assert restorer("nothing\n").restored("[REDACTED]\n") == "[REDACTED]\n"
    assert Restorer(REDACTOR, []).restored("[REDACTED]\n") == "[REDACTED]\n"


def test_a_patch_made_of_redacted_text_has_the_value_in_all_its_lines() -> None:
    patch = "--- a/file0\n+++ b/file0\n@@ -1,2 +1,2 @@\n user = [REDACTED]\n-port = 1\n+port = 2\n"
    assert restorer(f"user = {ONE}\nport = 1\n").patch(patch) == patch.replace("[REDACTED]", ONE)
