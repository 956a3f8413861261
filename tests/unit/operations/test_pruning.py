"""Pruning takes the templates that nothing can start from any more, and leaves the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyro_mcp.operations import environments
from pyro_mcp.operations.environments import ENV_PRUNE, EmptyRequest
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pyro_mcp.host.paths import Paths


def a_template(paths: Paths, name: str, manifest: object) -> Path:
    directory = paths.templates / name
    directory.mkdir(parents=True)
    (directory / "ram").write_bytes(b"x" * 8192)
    text = manifest if isinstance(manifest, str) else json.dumps({"parts": manifest})
    (directory / "manifest.json").write_text(text, encoding="utf-8")
    return directory


def test_templates_of_what_is_gone_go_and_count(private_paths: Paths) -> None:
    gone = a_template(private_paths, "a" * 32, {"base_digest": "1", "boot_digest": "2"})
    damaged = a_template(private_paths, "b" * 32, "{")
    result = Runner(private_paths).run(ENV_PRUNE, EmptyRequest())
    assert not gone.exists()
    assert not damaged.exists()
    assert (result.count, result.deleted_environment_dirs) == (0, [])
    assert result.freed_bytes >= 2 * 8192
    assert result.deleted_other_dirs == ["template aaaaaaaaaaaa", "template bbbbbbbbbbbb"]


def test_templates_that_vms_stand_on_stay(private_paths: Paths) -> None:
    needed = a_template(private_paths, "a" * 32, {"base_digest": "base", "boot_digest": "boot"})
    removed, freed_bytes = environments.prune_templates(private_paths, {"base"}, {"boot"})
    assert needed.exists()
    assert (removed, freed_bytes) == ([], 0)


def test_a_template_in_use_is_left_for_next_time(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    a_template(private_paths, "a" * 32, "")

    def discard_none(*_: object) -> bool:
        return False

    monkeypatch.setattr("pyro_mcp.workspace.machines.templates.discard_template", discard_none)
    assert Runner(private_paths).run(ENV_PRUNE, EmptyRequest()).count == 0


def test_an_empty_cache_has_nothing_to_prune(private_paths: Paths) -> None:
    assert Runner(private_paths).run(ENV_PRUNE, EmptyRequest()).count == 0
