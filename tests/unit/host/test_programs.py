"""Missing programs are named with the command that installs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import programs

if TYPE_CHECKING:
    from pathlib import Path


def release(tmp_path: Path, text: str) -> str:
    (tmp_path / "os-release").write_text(text)
    return str(tmp_path / "os-release")


def test_a_program_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find_program("tool") == tmp_path / "tool"


def test_what_cannot_be_executed_is_not_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.look_up("tool") is None
    assert programs.look_up("data") is None


def test_the_directories_of_administration_are_searched_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:relative::/sbin")
    assert programs.search_path() == ["/usr/bin", "/sbin", "/usr/local/sbin", "/usr/sbin"]
    monkeypatch.delenv("PATH")
    assert programs.search_path()[:2] == ["/usr/local/bin", "/usr/bin"]


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("ID=debian\n", "apt"),
        ("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n", "apt"),
        ('ID=fedora\nVERSION="40"\n', "dnf"),
        ('ID="ol"\nID_LIKE="fedora"\n', "dnf"),
        ("ID=cachyos\nID_LIKE=arch\n", "pacman"),
        ("ID=alpine\n", "apk"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper"),
        ("ID=nixos\n", ""),
        ("", ""),
    ],
)
def test_each_family_of_distributions_is_known_by_its_package_tool(tmp_path: Path, text: str, tool: str) -> None:
    assert programs.package_tool(release(tmp_path, text)) == tool


def test_a_machine_without_an_os_release_has_no_known_tool(tmp_path: Path) -> None:
    assert programs.package_tool(str(tmp_path / "none")) == ""


def test_the_command_names_each_package_once_and_asks_for_root_only_where_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = release(tmp_path, "ID=debian\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    command = programs.install_command(["passt", "pasta", "mke2fs"], os_release=debian)
    assert command == "apt-get install -y --no-install-recommends passt e2fsprogs"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert programs.install_command(["nft"], os_release=release(tmp_path, "ID=fedora\n")) == (
        "sudo dnf install -y nftables"
    )


def test_nothing_is_promised_where_no_package_is_known(tmp_path: Path) -> None:
    assert programs.install_command(["nft"], os_release=release(tmp_path, "ID=nixos\n")) == ""
    assert programs.install_command(["no-such"], os_release=release(tmp_path, "ID=debian\n")) == ""


def test_a_missing_program_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_name: str) -> None: ...

    def apt(_os_release: str = "") -> str:
        return "apt"

    monkeypatch.setattr(programs, "look_up", nowhere)
    monkeypatch.setattr(programs, "package_tool", apt)
    with pytest.raises(PyroError, match=r"^the program mke2fs is not installed \[") as caught:
        programs.find_program("mke2fs")
    assert caught.value.code is ErrorCode.MISSING_PROGRAM
    assert caught.value.hint.endswith("apt-get install -y --no-install-recommends e2fsprogs")
    assert "provides no-such" in programs.missing_program("no-such").hint


def test_every_required_program_has_a_package_for_every_tool() -> None:
    lacking = [name for name in programs.REQUIRED if not all(programs.PACKAGES[name])]
    assert lacking == []


def test_required_files_count_as_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "REQUIRED_FILES", {"/nonexistent/keyring.gpg": "some-keyring"})
    assert programs.missing(("sh", "no-such-program")) == ["no-such-program", "/nonexistent/keyring.gpg"]
    assert programs.packages_for(["/nonexistent/keyring.gpg", "git"], "apt") == ["git", "some-keyring"]
