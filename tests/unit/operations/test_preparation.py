"""A preparation holds until something that it depends on changes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.operations import preparation
from pyro_mcp.operations.diagnosis import PrepareRequest
from pyro_mcp.operations.environments import ENV_PULL, EnvPullRequest
from pyro_mcp.operations.machine import PREPARE
from pyro_mcp.operations.preparation import Dependencies, Prepared, daily_loop, load
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.paths import Paths

FACTS = {"this release": "5", "the VMM": "qemu 7"}


def record(**changed: object) -> dict[str, object]:
    prepared = Prepared(
        facts=FACTS,
        network=False,
        prepared_at="2026-09-21T10:00:00.000Z",
        execution_mode="guest_virtio_serial",
        isolation="tcg",
        create_ms=1,
        exec_ms=2,
        reset_ms=3,
        delete_ms=4,
    )
    return {**asdict(prepared), **changed}


def written(paths: Paths, document: object) -> Path:
    paths.cache.mkdir(parents=True)
    path = paths.cache / "prepared.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def one_record(**changed: object) -> dict[str, object]:
    return {"schema": 2, "environments": {"debian:12": record(**changed)}}


@pytest.fixture
def now(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a preparation would depend on now; its template is there."""
    facts = dict(FACTS)
    template = private_paths.templates / "key"
    template.mkdir(parents=True)

    def dependencies(*_: object) -> Dependencies:
        return Dependencies(facts, template)

    monkeypatch.setattr(preparation, "_dependencies", dependencies)
    return facts


def test_what_was_never_prepared_is_cold_and_says_how_to_warm_it(private_paths: Paths) -> None:
    loop = daily_loop(private_paths, "debian:12-base")
    assert loop.status == "cold"
    assert loop.reason.endswith("run: pyro prepare debian:12-base")


@pytest.mark.parametrize(
    "document",
    ["", "{", "[]", "null", {"schema": 1}, {"schema": 2}, {"schema": 2, "environments": []},
     {"schema": 2, "environments": {"debian:12": {"facts": {}}}}, one_record(facts=[]), one_record(unknown=1)],
)  # fmt: skip
def test_a_damaged_or_foreign_record_counts_as_none(private_paths: Paths, document: object) -> None:
    written(private_paths, document)
    assert load(private_paths) == {}
    assert daily_loop(private_paths).status == "cold"


@pytest.mark.usefixtures("now")
def test_it_is_warm_while_nothing_has_changed(private_paths: Paths) -> None:
    (private_paths.cache / "prepared.json").write_text(json.dumps(one_record()), encoding="utf-8")
    assert daily_loop(private_paths).status == "warm"


def test_it_is_stale_when_something_changed_and_says_what(private_paths: Paths, now: dict[str, str]) -> None:
    (private_paths.cache / "prepared.json").write_text(json.dumps(one_record()), encoding="utf-8")
    now["the VMM"] = "qemu 8"
    loop = daily_loop(private_paths)
    assert loop.status == "stale"
    assert loop.reason == "changed since: the VMM; run: pyro prepare debian:12"
    assert loop.prepared_at == "2026-09-21T10:00:00.000Z"


@pytest.mark.usefixtures("now")
def test_it_is_stale_when_its_template_is_gone(private_paths: Paths) -> None:
    (private_paths.cache / "prepared.json").write_text(json.dumps(one_record()), encoding="utf-8")
    (private_paths.templates / "key").rmdir()
    assert daily_loop(private_paths).reason.startswith("its template was removed")


def test_it_is_stale_when_the_environment_is_gone(private_paths: Paths) -> None:
    written(private_paths, one_record())
    assert daily_loop(private_paths).reason.startswith("it is no longer installed")


def test_an_unknown_environment_is_refused_before_anything_is_built(private_paths: Paths) -> None:
    runner = Runner(private_paths)
    with pytest.raises(PyroError, match="there is no environment nope:1"):
        runner.run(PREPARE, PrepareRequest(environment="nope:1"))
    with pytest.raises(PyroError, match="there is no environment nope:1"):
        runner.run(ENV_PULL, EnvPullRequest(environment="nope:1"))
    assert not private_paths.cache.exists()
