"""The doctor says what works, what does not, and what mends it. Nothing is installed here, so nothing boots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.cli.output.doctor import doctor_report
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import roots
from pyro_mcp.image.catalog import load_catalog
from pyro_mcp.operations.machine import DOCTOR, DoctorRequest
from pyro_mcp.operations.runner import Runner

if TYPE_CHECKING:
    from pyro_mcp.host.paths import Paths
    from pyro_mcp.operations.diagnosis import DoctorResult


@pytest.fixture(autouse=True)
def software_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_ACCEL", "tcg")
    # This host may have some of its own.
    monkeypatch.setattr(roots, "extra_roots", dict[Path, str])


def examine(paths: Paths, request: DoctorRequest | None = None) -> DoctorResult:
    return Runner(paths).run(DOCTOR, request or DoctorRequest())


def test_a_fresh_machine_is_fit_cold_and_told_how_to_go_on(private_paths: Paths) -> None:
    report = examine(private_paths)
    assert report.runtime_ok
    assert report.exit_status == 0
    assert report.environment.state == "missing"
    assert report.acceleration.accelerator == "tcg"
    assert report.acceleration.reason == "PYRO_ACCEL=tcg requests it"
    assert not report.acceleration.proven_by_boot
    assert report.daily_loop.status == "cold"
    assert "pyro prepare debian:12" in report.runtime.capabilities.reason
    assert report.platform == "linux-x86_64"
    lines = doctor_report(report).splitlines()
    assert lines[:2] == ["Platform: linux-x86_64", "Runtime: PASS"]
    assert re.fullmatch("KVM: exists=(yes|no) readable=(yes|no) writable=(yes|no)", lines[2])
    assert lines[3] == f"Environment cache: {private_paths.environments}"
    assert lines[4] == f"Catalog version: {load_catalog().version}"
    assert re.fullmatch("Capabilities: vm_boot=yes guest_exec=yes guest_network=(yes|no)", lines[5])
    assert re.fullmatch("Networking: tun=(yes|no) ip_forward=(yes|no)", lines[6])
    assert lines[7:9] == ["Daily loop: COLD (debian:12)", "Run: pyro prepare debian:12"]
    assert lines[-1] == "ready"


def test_a_machine_that_may_not_boot_guests_is_not_fit(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_VMM", "none")
    report = examine(private_paths)
    assert not report.runtime_ok
    assert report.exit_status == 1
    assert not report.runtime.capabilities.supports_vm_boot
    assert [problem.hint for problem in report.problems] == ["Unset PYRO_VMM."]
    assert "problem: PYRO_VMM=none forbids every VM\nfix:     Unset PYRO_VMM." in doctor_report(report)
    assert doctor_report(report).endswith("not ready")
    # What scripts and people copy stays on a line; the rest fits in 80 columns.
    for line in doctor_report(report).splitlines():
        assert len(line) <= 80 or line.startswith(("Faster: ", "fix: ")) or len(line.split()) <= 3 or " /" in line, line


def test_kvm_that_is_required_and_missing_is_a_problem(private_paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_REQUIRE_KVM", "1")
    report = examine(private_paths)
    assert not report.runtime_ok
    assert "KVM is required" in report.problems[0].message
    assert report.issues == [report.problems[0].message]


def test_what_is_in_quarantine_is_listed_and_keeps_nothing_from_working(private_paths: Paths) -> None:
    kept = private_paths.quarantine / "20260101T000000-ws_x life"
    kept.mkdir(parents=True)
    report = examine(private_paths)
    assert report.runtime_ok
    assert [(each.code, each.message) for each in report.problems] == [
        ("quarantine", f"{kept} could not be used, and is kept until you remove it")
    ]
    assert report.problems[0].hint.endswith(f"rm -r '{kept}'")


def test_another_platform_is_judged_unfit(private_paths: Paths) -> None:
    report = examine(private_paths, DoctorRequest(platform="darwin-arm64"))
    assert not report.machine.supported
    assert not report.runtime_ok


def test_an_unknown_environment_is_an_error(private_paths: Paths) -> None:
    with pytest.raises(PyroError) as caught:
        examine(private_paths, DoctorRequest(environment="nope:1"))
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_authorities_that_only_the_host_trusts_are_named_with_the_option_for_them(
    private_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {Path("/etc/own/root.crt"): "in /etc/own"}
    monkeypatch.setattr(roots, "extra_roots", lambda: found)
    report = examine(private_paths)
    assert report.runtime_ok
    assert [problem.code for problem in report.problems] == ["extra_roots"]
    assert "/etc/own/root.crt (in /etc/own)" in report.problems[0].message
    assert report.problems[0].hint.endswith(": --ca-file /etc/own/root.crt")
