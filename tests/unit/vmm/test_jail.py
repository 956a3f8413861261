"""The jail's arguments: what QEMU can see, who it is, and what the user is told where there can be no jail."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import Accelerator
from pyro_mcp.vmm.qemu import jail
from pyro_mcp.vmm.qemu.binary import QemuBinary

if TYPE_CHECKING:
    from pathlib import Path

BINARY = QemuBinary(
    path="/usr/bin/qemu",
    version="7.2.0",
    firmware="/usr/share/qemu/fw.rom",
    libraries=("/lib/x/libc.so.6",),
    directories=("/usr/lib/x",),
    links=(("/lib/x", "/usr/lib/x"),),
    preload=("libc.so.6",),
    stamps=(),
)


def command(devices: list[str] | None = None) -> list[str]:
    return jail.command(BINARY, ["-M", "microvm"], info_fd=9, data={"/boot/kernel": 7}, devices=devices or [])


def test_every_namespace_is_new_and_every_capability_dropped() -> None:
    found = command()
    for name in ("user", "pid", "net", "ipc", "uts", "cgroup-try"):
        assert f"--unshare-{name}" in found
    assert ("--cap-drop", "ALL") in pairwise(found)
    assert {"--die-with-parent", "--new-session", "--clearenv"} <= set(found)
    assert ("--uid", "65534") in pairwise(found)


def test_only_qemus_own_files_are_visible_and_nothing_is_writable() -> None:
    found = command()
    shown = [target for flag, target in pairwise(found) if flag.startswith(("--ro-bind", "--bind", "--dev-bind"))]
    assert set(shown) <= {"/usr/lib/x", "/etc/ld.so.cache", "/usr/bin/qemu", "/usr/share/qemu/fw.rom", "7"}
    assert "--bind" not in found
    assert ("--remount-ro", "/") in pairwise(found)
    assert found[-3:] == ["/usr/bin/qemu", "-M", "microvm"]


def test_the_kvm_device_is_there_only_for_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert jail.devices(Accelerator.TCG) == []
    assert jail.groups(Accelerator.TCG) == []
    assert ("--dev-bind", "/dev/kvm") in pairwise(command(jail.devices(Accelerator.KVM)))
    device = tmp_path / "kvm"
    monkeypatch.setattr(jail, "KVM_DEVICE", str(device))
    assert jail.groups(Accelerator.KVM) == []
    device.touch()
    device.chmod(0o660)
    assert jail.groups(Accelerator.KVM) == ([os.getgid()] if os.getgid() else [])


class TestUid:
    @pytest.mark.parametrize(
        ("euid", "uid_map", "has_own"),
        [
            (0, "         0          0 4294967295\n", True),
            (0, "         0       1000          1\n         1     100000      65536\n", False),
            (0, "", False),
            (1000, "         0          0 4294967295\n", False),
        ],
    )
    def test_is_one_of_its_own_for_root_alone(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, euid: int, uid_map: str, *, has_own: bool
    ) -> None:
        (tmp_path / "map").write_text(uid_map)
        monkeypatch.setattr(jail, "_UID_MAP", str(tmp_path / "map"))
        monkeypatch.setattr(os, "geteuid", lambda: euid)
        uids = {jail.outer_uid() for _ in range(20)}
        assert (None not in uids) is has_own
        if has_own:
            assert len(uids) > 15
            assert all(uid is not None and 0x70000000 <= uid < 0x70100000 for uid in uids)


class TestExplanations:
    @pytest.mark.parametrize(
        "words",
        [
            "bwrap: No permissions to create new namespace, likely because the kernel does not allow it.",
            "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
            "bwrap: setting up uid map: Permission denied",
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
            "noise\nbwrap: Failed to make / slave: Operation not permitted\n",
        ],
    )
    def test_a_host_that_permits_no_jail_is_told_how_to(self, words: str) -> None:
        error = jail.explain(words)
        assert error is not None
        assert error.code is ErrorCode.PERMISSION
        assert "user.max_user_namespaces" in error.hint
        assert "bwrap:" in error.message

    def test_another_failure_of_the_jail_is_no_matter_of_permission(self) -> None:
        error = jail.explain("bwrap: execvp /usr/bin/qemu: No such file or directory")
        assert error is not None
        assert error.code is ErrorCode.UNAVAILABLE

    def test_qemus_own_words_are_left_alone(self) -> None:
        assert jail.explain("qemu-system-x86_64: -cpu foo: unknown CPU") is None


def test_a_missing_bubblewrap_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyro_mcp.host.programs.search_path", lambda: [str(tmp_path)])
    with pytest.raises(PyroError) as caught:
        command()
    assert caught.value.code is ErrorCode.MISSING_PROGRAM
    assert "bubblewrap" in caught.value.hint
    assert [error.details["program"] for error in jail.missing()] == ["bwrap", "setpriv"]
