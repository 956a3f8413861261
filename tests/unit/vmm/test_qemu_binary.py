"""Finding QEMU: its version, its files, and when it counts as another one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.vmm.qemu import binary
from pyro_mcp.vmm.qemu.binary import CACHE_FILE, find_binary, parse_version, require_version
from pyro_mcp.vmm.qemu.driver import QemuDriver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a QEMU on the path that only says its version."""
    directory = tmp_path / "bin"
    directory.mkdir()
    path = directory / binary.PROGRAM
    say(path, "QEMU emulator version 7.2.22 (Debian 1:7.2)")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr("pyro_mcp.host.programs.search_path", lambda: [str(directory), "/usr/bin", "/bin"])
    return path


def say(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{text}'\necho asked >>{path.parent}/asked\n")
    path.chmod(0o755)


def times_asked(path: Path) -> int:
    return (path.parent / "asked").read_text().count("asked")


class TestVersion:
    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", "7.2.22"),
            ("QEMU emulator version 10.0 (qemu-10.0-1.fc42)", "10.0.0"),
            ("QEMU emulator version 9.2.50 (v9.2.0-1-gabc)", "9.2.50"),
        ],
    )
    def test_is_read_as_distributions_write_it(self, text: str, version: str) -> None:
        assert parse_version(text) == version

    def test_what_says_no_version_is_refused(self) -> None:
        with pytest.raises(PyroError) as caught:
            parse_version("I am a teapot")
        assert caught.value.code is ErrorCode.UNSUPPORTED

    @pytest.mark.parametrize("version", ["7.1.9", "6.2.0", "2.11.1"])
    def test_an_old_one_is_refused_with_both_versions_and_a_command(self, version: str) -> None:
        with pytest.raises(PyroError) as caught:
            require_version(version)
        assert caught.value.code is ErrorCode.UNSUPPORTED
        assert version in caught.value.message
        assert "7.2.0" in caught.value.message
        assert caught.value.hint

    @pytest.mark.parametrize("version", ["7.2.0", "8.0.0", "10.1.2"])
    def test_a_later_one_is_accepted(self, version: str) -> None:
        require_version(version)


class TestFinding:
    def test_a_missing_one_is_named_with_the_command_that_installs_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pyro_mcp.host.programs.search_path", lambda: [str(tmp_path)])
        with pytest.raises(PyroError) as caught:
            QemuDriver(tmp_path).identity()
        assert caught.value.code is ErrorCode.MISSING_PROGRAM
        assert "qemu-system-x86" in caught.value.hint
        probe = QemuDriver(tmp_path).probe()
        assert not probe.found
        assert any("bwrap" in problem.what for problem in probe.problems)

    def test_it_is_asked_once_and_again_when_it_changed(self, fake: Path, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        first = find_binary(cache)
        assert (first.version, find_binary(cache), times_asked(fake)) == ("7.2.22", first, 1)
        say(fake, "QEMU emulator version 8.2.1")
        upgraded = find_binary(cache)
        assert (upgraded.version, times_asked(fake)) == ("8.2.1", 2)
        assert upgraded.identity != first.identity
        assert (first.opens_ram_read_only, upgraded.opens_ram_read_only) == (False, True)

    def test_a_hard_link_to_it_is_no_change(self, fake: Path, tmp_path: Path) -> None:
        first = find_binary(tmp_path / "cache")
        os.link(fake, fake.with_name("another-name"))
        assert find_binary(tmp_path / "cache").identity == first.identity

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 0}', '{"schema": 3, "path": 1}'])
    def test_a_damaged_record_only_costs_asking_again(self, fake: Path, tmp_path: Path, text: str) -> None:
        first = find_binary(tmp_path / "cache")
        (tmp_path / "cache" / CACHE_FILE).write_text(text)
        assert find_binary(tmp_path / "cache") == first
        assert times_asked(fake) == 2

    def test_a_cache_that_can_not_be_written_is_no_error(self, fake: Path, tmp_path: Path) -> None:
        assert find_binary(tmp_path / "absent").version == "7.2.22"
        assert times_asked(fake) == 1

    def test_the_upgrade_of_a_library_is_another_identity(self, fake: Path, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        first = find_binary(cache)
        library = tmp_path / "libfoo.so"
        library.write_bytes(b"1")
        path = cache / CACHE_FILE
        document = json.loads(path.read_text())
        stat = library.stat()
        document["libraries"].append(str(library))
        document["stamps"].append([stat.st_size, stat.st_ino, stat.st_mtime_ns])
        path.write_text(json.dumps(document))
        with_library = find_binary(cache)
        assert with_library.identity != first.identity
        assert times_asked(fake) == 1
        library.write_bytes(b"22")
        find_binary(cache)
        assert times_asked(fake) == 2

    def test_firmware_that_is_missing_says_so(
        self, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert fake.exists()
        monkeypatch.setattr(binary, "_FIRMWARE_DIRECTORIES", (str(tmp_path),))
        with pytest.raises(PyroError) as caught:
            find_binary(tmp_path / "cache")
        assert caught.value.code is ErrorCode.MISSING_PROGRAM
        assert "firmware" in caught.value.message


def test_this_hosts_qemu_names_its_libraries_and_loader(tmp_path: Path) -> None:
    found = find_binary(tmp_path)
    assert any("libc.so" in path for path in found.libraries)
    assert any(os.path.basename(path).startswith("ld-") for path in found.libraries)
    assert all(os.path.isdir(directory) for directory in found.directories)
    assert len(found.stamps) == len(found.files())
    listed = process.run([found.path, "--version"], timeout_s=60).text
    assert found.version in listed
