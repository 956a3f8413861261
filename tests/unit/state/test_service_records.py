"""Records of services are read back as they were, change for their own run only, and lead to processes of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.host import process
from pyro_mcp.model.ids import new_vm_id
from pyro_mcp.model.service import PublishedPort, Readiness, ReadinessKind, Service, ServiceState
from pyro_mcp.model.vm import Owner
from pyro_mcp.state.discard import remove_files
from pyro_mcp.state.filenames import VmFiles
from pyro_mcp.state.service_records import ServiceRecords, end_publisher, is_published

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths

WEB = Service(
    name="web",
    run="r1",
    command=("python3", "app.py"),
    cwd="/workspace",
    state=ServiceState.RUNNING,
    started_at=12.5,
    readiness=Readiness(ReadinessKind.TCP, "localhost:80"),
    ready_at=13.0,
    ports=(PublishedPort(18080, 80),),
    publisher=Owner(1, 2, "boot"),
)


@pytest.fixture
def files(private_paths: Paths) -> VmFiles:
    files = VmFiles(private_paths, new_vm_id())
    files.directory.mkdir(parents=True)
    return files


def test_a_record_is_read_back_as_it_was(files: VmFiles) -> None:
    records = ServiceRecords(files)
    assert records.all() == []
    assert records.find("web") is None
    line = replace(
        WEB, name="db", command="exec db", started_at=1.0, readiness=None, ports=(), publisher=None, exit_code=3
    )
    for each in (WEB, line):
        records.put(each)
    assert records.find("web") == WEB
    assert records.all() == [line, WEB]


def test_a_damaged_record_is_none(files: VmFiles) -> None:
    records = ServiceRecords(files)
    records.put(WEB)
    for damage in (b"", b"{", b"[]", b'{"name": "web"}', b"null"):
        (files.services / "web.json").write_bytes(damage)
        assert records.find("web") is None
        assert records.all() == []


def test_only_the_run_that_is_meant_is_changed(files: VmFiles) -> None:
    records = ServiceRecords(files)
    assert records.update("web", "r1", lambda now: replace(now, exit_code=1)) is None
    records.put(WEB)
    assert records.update("web", "another", lambda now: replace(now, exit_code=1)) == WEB
    after = records.update("web", "r1", lambda now: replace(now, state=ServiceState.EXITED, exit_code=1))
    assert after == records.find("web") == replace(WEB, state=ServiceState.EXITED, exit_code=1)


def test_what_carries_ports_ends_with_the_vms_directory(private_paths: Paths, files: VmFiles) -> None:
    with process.start(["/bin/sleep", "1000"]) as child:
        identity = child.identity
        service = replace(WEB, publisher=Owner(identity.pid, identity.start_time, identity.boot_id))
        ServiceRecords(files).put(service)
        assert is_published(service)
        # Another process that has the pid by now is left alone.
        for stranger in (
            Owner(identity.pid, identity.start_time + 1, identity.boot_id),
            Owner(identity.pid, identity.start_time, "another boot"),
        ):
            end_publisher(replace(WEB, publisher=stranger))
            assert not is_published(replace(WEB, publisher=stranger))
        assert is_published(service)
        remove_files(private_paths, files.vm_id)
        assert not is_published(service)
        assert not files.directory.exists()
