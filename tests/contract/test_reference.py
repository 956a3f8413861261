"""What is written down about the operations is what the table says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_table_says(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name], (
        "run scripts/reference.py, and look at the difference: fields are added, never renamed or removed"
    )


LISTINGS = [name for name in PAGES if "/listings/" in name]


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_has_every_tool_with_both_schemas(name: str) -> None:
    document: dict[str, Any] = json.loads(PAGES[name])
    for tool in document["tools"]:
        assert tool["inputSchema"]["additionalProperties"] is False
        assert tool["outputSchema"]["type"] == "object"
        assert len(tool["annotations"]) == 5
