"""Each promise in docs/reliability.md and docs/security.md names a test that exists."""

from __future__ import annotations

import re

import pytest

from tests.style.source import ROOT

_QUOTED = re.compile(r"`([^`]+)`")
_TEST = re.compile(r"test_\w+\.py|\btest_\w+|\bTest[A-Z]\w+")


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_each_test_that_a_page_names_exists(page: str) -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    defined = {path.name for path in files}
    for path in files:
        defined |= set(re.findall(r"(?:def|class) (\w+)", path.read_text()))
    named = {name for quoted in _QUOTED.findall((ROOT / "docs" / page).read_text()) for name in _TEST.findall(quoted)}
    assert named
    assert named - defined == set()
