"""Records are written as earlier versions wrote them, and read whatever stands in their place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.codec import from_json, to_json
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.model.service import PublishedPort, Readiness, ReadinessKind, Service, ServiceState
from pyro_mcp.model.vm import Owner
from pyro_mcp.model.workspace import SeedInfo, SeedNote, SeedOrigin

OWNER = Owner(3, 4, "boot")
RECORDS = {
    "service": (
        Service(
            name="web",
            run="1",
            command=("sleep", "1"),
            cwd="/workspace",
            state=ServiceState.RUNNING,
            started_at=5.5,
            readiness=Readiness(ReadinessKind.TCP, "127.0.0.1:80"),
            ports=(PublishedPort(8080, 80),),
            publisher=OWNER,
        ),
        {
            "name": "web",
            "run": "1",
            "command": ["sleep", "1"],
            "cwd": "/workspace",
            "state": "running",
            "started_at": 5.5,
            "readiness": ["tcp", "127.0.0.1:80"],
            "ready_at": None,
            "exit_code": None,
            "ports": [[8080, 80]],
            "publisher": [3, 4, "boot"],
            "owner": None,
            "problem": "",
        },
    ),
    "machine": (
        MachineRecord(VmmKind.QEMU, Accelerator.TCG, "boot", "/run/x", 10, 11, 12, 13, {"port": 3}, (5, 6)),
        {
            "kind": "qemu",
            "accelerator": "tcg",
            "boot_id": "boot",
            "runtime_dir": "/run/x",
            "keeper_pid": 10,
            "keeper_start_time": 11,
            "vmm_pid": 12,
            "vmm_start_time": 13,
            "facts": {"port": 3},
            "earlier_remover": [5, 6],
        },
    ),
    "seed": (
        SeedInfo("directory", "/x", skipped=(SeedNote("a", "why"),), skipped_count=1, host_hooks=(("b", "digest"),)),
        {
            "mode": "directory",
            "seed_path": "/x",
            "destination": "/workspace",
            "entry_count": 0,
            "bytes_written": 0,
            "origin_kind": SeedOrigin.EMPTY.value,
            "origin_ref": None,
            "skipped": [["a", "why"]],
            "skipped_count": 1,
            "changed": [],
            "changed_count": 0,
            "host_hooks": [["b", "digest"]],
        },
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_the_form_that_earlier_versions_wrote(name: str) -> None:
    record, document = RECORDS[name]
    written = json.loads(json.dumps(to_json(record)))
    assert {key: written[key] for key in document} == document
    assert from_json(type(record), document) == record


def test_a_field_that_a_later_version_adds_is_ignored_and_one_that_is_missing_has_its_default() -> None:
    assert from_json(SeedInfo, {"mode": "empty", "colour": "red"}) == SeedInfo()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(RECORDS)), st.data(), JSON)
def test_a_damaged_record_is_corrupt_or_still_a_record(name: str, data: st.DataObject, value: object) -> None:
    record, document = RECORDS[name]
    key = data.draw(st.sampled_from(sorted(document)))
    try:
        assert type(from_json(type(record), {**document, key: value})) is type(record)
    except PyroError as error:
        assert error.code is ErrorCode.CORRUPT  # noqa: PT017 - either outcome is right, a traceback is not
