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


def test_the_snapshot_has_every_tool_with_both_schemas() -> None:
    document: dict[str, Any] = json.loads(PAGES["tests/contract/snapshots/schemas.json"])
    for tool in document["tools"].values():
        assert tool["input"]["additionalProperties"] is False
        assert tool["output"]["type"] == "object"
        assert len(tool["annotations"]) == 5
    assert all(schema["additionalProperties"] is False for schema in document["inputs"].values())
