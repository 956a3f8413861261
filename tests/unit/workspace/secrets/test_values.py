"""What a secret may be, and that no error says what it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.workspace import SecretKind, SecretSource
from pyro_mcp.workspace.secrets.redactor import Redactor
from pyro_mcp.workspace.secrets.values import MAX_SECRETS, MAX_VALUE_BYTES, Secret, check_secrets, secret_from_file

if TYPE_CHECKING:
    from pathlib import Path

VALUE = "a value that nobody says"


def literal(name: str, value: str = VALUE) -> Secret:
    return Secret(name, SecretKind.LITERAL, value)


@pytest.mark.parametrize("name", ["A", "_", "api_key_2", "Z" * 64])
def test_letters_digits_and_underscores_make_a_name(name: str) -> None:
    assert literal(name).source == SecretSource(name, SecretKind.LITERAL)


@pytest.mark.parametrize("name", ["", "2A", "A-B", "A B", "a/../b", "é", "A\n", "A" * 65, VALUE])
def test_anything_else_is_no_name_and_is_not_repeated(name: str) -> None:
    with pytest.raises(PyroError) as caught:
        literal(name)
    assert caught.value.code is ErrorCode.INVALID
    assert not name or name not in str(caught.value.to_json())


@pytest.mark.parametrize("value", ["abcd", "é\nà", "a\0b\0cd", " ab cd ", "x" * MAX_VALUE_BYTES, "漢字"])
def test_four_bytes_besides_blanks_can_be_redacted(value: str) -> None:
    assert literal("A", value).value == value
    assert literal("A", value).source.redacted


@pytest.mark.parametrize("value", ["", "abc", " a b c \n", "\r\n" * 20])
def test_a_shorter_value_is_taken_and_not_redacted(value: str) -> None:
    assert literal("A", value).value == value
    assert not literal("A", value).source.redacted
    assert Redactor([value]).text(f"x{value}y") == f"x{value}y"


@pytest.mark.parametrize("value", ["x" * (MAX_VALUE_BYTES + 1), "é" * 32769, "ab\udcffcd"])
def test_a_value_that_could_not_be_kept_or_hidden_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(PyroError, match="secret A ") as caught:
        literal("A", value)
    assert caught.value.code is ErrorCode.INVALID
    assert not value or value not in str(caught.value.to_json())


def test_no_representation_shows_a_value() -> None:
    assert VALUE not in repr(literal("A"))
    assert VALUE not in str(literal("A").source)


def test_there_may_be_so_many_and_each_name_once() -> None:
    many = [literal(f"A{number}") for number in range(MAX_SECRETS)]
    assert check_secrets(many) == tuple(many)
    with pytest.raises(PyroError, match="65 secrets are too many"):
        check_secrets([*many, literal("B")])
    with pytest.raises(PyroError, match="two secrets with the name A1"):
        check_secrets([*many[:3], literal("A1", "another value")])


def test_a_file_is_taken_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes("first\r\n\tsecond é\n".encode())
    found = secret_from_file("A", tmp_path / "value")
    assert (found.value, found.source) == ("first\r\n\tsecond é\n", SecretSource("A", SecretKind.FILE))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * (MAX_VALUE_BYTES + 1), "too long"),
        (b"\xff" * (MAX_VALUE_BYTES + 1), "too long"),
        (b"latin \xe9t\xe9", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_value_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "value").write_bytes(content)
    with pytest.raises(PyroError, match=message) as caught:
        secret_from_file("A", tmp_path / "value")
    assert caught.value.code is ErrorCode.INVALID


def test_only_a_regular_file_is_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, code in (
        (tmp_path / "pipe", ErrorCode.INVALID),
        (tmp_path, ErrorCode.INVALID),
        (tmp_path / "none", ErrorCode.NOT_FOUND),
    ):
        with pytest.raises(PyroError, match="secret A") as caught:
            secret_from_file("A", path)
        assert caught.value.code is code
