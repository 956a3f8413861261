"""Facts of this host, and the command that mends what is wrong with each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.host import doctor

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pyro_mcp.host.paths import Paths


def test_the_platform_is_described() -> None:
    found = doctor.examine_platform()
    assert found.name == doctor.PLATFORM
    assert found.cpu_count >= 1
    assert found.memory_mib > 100
    assert found.kernel == os.uname().release
    assert doctor.check_platform(found) == []


def test_another_platform_is_said_to_be_unsupported() -> None:
    (finding,) = doctor.check_platform(doctor.examine_platform(), "linux-aarch64")
    assert finding.message == "linux-aarch64 is not supported"
    assert doctor.PLATFORM in finding.hint


def test_the_directories_are_made_and_private(private_paths: Paths) -> None:
    directories, findings = doctor.examine_directories(private_paths)
    assert [each.purpose for each in directories] == ["cache", "state", "runtime"]
    assert all(each.usable for each in directories)
    assert private_paths.state.stat().st_mode & 0o777 == 0o700
    assert all(finding.code == "no_space" for finding in findings)


def test_a_directory_that_others_can_write_to_comes_with_the_command_that_mends_it(private_paths: Paths) -> None:
    private_paths.state.mkdir(parents=True)
    private_paths.state.chmod(0o777)
    directories, findings = doctor.examine_directories(private_paths)
    assert not directories[1].usable
    assert [finding.hint for finding in findings if finding.code == "permission"] == [
        f"Run chmod go-w {private_paths.state}, or use another directory."
    ]


def test_little_space_is_said_with_what_frees_some(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_CACHE_BYTES", 2**62)
    _, findings = doctor.examine_directories(private_paths)
    assert [finding.code for finding in findings] == ["no_space"]
    assert "pyro env prune" in findings[0].hint


def test_missing_programs_come_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyro_mcp.host.programs._SBIN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    listed, findings = doctor.examine_programs(("qemu-system-x86_64", "passt"))
    assert [program.path for program in listed] == [None, None]
    by_cost = {finding.blocks: finding for finding in findings}
    assert "passt" in by_cost["guest_network"].message
    assert "qemu-system-x86_64" in by_cost["vm_boot"].message
    assert all(finding.hint for finding in findings)
