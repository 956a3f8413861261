"""Templates: what names one, and that no change to one goes unnoticed."""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.durable import staged_dir
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.limits import Shape
from pyro_mcp.vmm import template
from pyro_mcp.vmm.template import (
    DEVICE_STATE,
    MANIFEST,
    RAM,
    ROOT_DISK,
    Template,
    TemplateParts,
    VmmIdentity,
    host_cpu,
    open_template,
    seal_template,
)

PARTS = TemplateParts(
    kind=VmmKind.QEMU,
    accelerator=Accelerator.TCG,
    vmm=VmmIdentity("/usr/bin/vmm", "7.2.0", "abc"),
    shape=Shape(1, 512),
    boot_digest="b" * 64,
    generation=1,
    base_digest="d" * 64,
    flavour="fresh",
    cpu="0123456789abcdef",
)
MIB = 1024 * 1024


@pytest.fixture
def sealed(tmp_path: Path) -> Template:
    directory = tmp_path / PARTS.key
    directory.mkdir(mode=0o700)
    with open(directory / RAM, "wb") as file:
        file.truncate(64 * MIB)
        for position in (0, 5 * MIB + 123, 63 * MIB):
            file.seek(position)
            file.write(b"memory of the guest")
    (directory / DEVICE_STATE).write_bytes(b"state of the devices" * 100)
    (directory / ROOT_DISK).write_bytes(b"disk" * 4096)
    return seal_template(directory, PARTS)


def refusal(directory: Path, key: str = PARTS.key) -> PyroError:
    with pytest.raises(PyroError) as caught:
        open_template(directory, key)
    return caught.value


def verify_digests(template: Template) -> None:
    """Read every file whole and compare it with its digest, as where writes are not noted."""
    for name in template.files:
        os.close(replace(template, writes_are_noted=False).open(name))


class TestKey:
    @pytest.mark.parametrize(
        "changed",
        [
            replace(PARTS, kind=VmmKind.FIRECRACKER),
            replace(PARTS, accelerator=Accelerator.KVM),
            replace(PARTS, vmm=VmmIdentity("/usr/bin/vmm", "7.2.1", "abc")),
            replace(PARTS, vmm=VmmIdentity("/usr/bin/vmm", "7.2.0", "abd")),
            replace(PARTS, vmm=VmmIdentity("/opt/vmm", "7.2.0", "abc")),
            replace(PARTS, shape=Shape(2, 512)),
            replace(PARTS, shape=Shape(1, 1024)),
            replace(PARTS, boot_digest="c" * 64),
            replace(PARTS, generation=2),
            replace(PARTS, base_digest="e" * 64),
            replace(PARTS, flavour="attach"),
            replace(PARTS, cpu="f" * 16),
        ],
    )
    def test_changes_with_every_part(self, changed: TemplateParts) -> None:
        assert changed.key != PARTS.key

    def test_is_the_same_for_the_same_parts_and_safe_as_a_name(self) -> None:
        assert replace(PARTS).key == PARTS.key
        assert len(PARTS.key) == 32
        assert PARTS.key.isalnum()

    def test_the_processors_digest_changes_with_its_flags_not_with_its_speed(self, tmp_path: Path) -> None:
        text = "processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2500.0\nflags\t\t: fpu sse\n\nprocessor\t: 1\n"
        cpus: list[str] = []
        for number, changed in enumerate((text, text.replace("2500", "800"), text.replace("sse", "sse avx"))):
            path = tmp_path / str(number)
            path.write_text(changed)
            cpus.append(host_cpu(str(path)))
        assert cpus[0] == cpus[1] != cpus[2]

    def test_this_hosts_processor_can_be_read(self) -> None:
        assert len(host_cpu()) == 16


class TestSealed:
    def test_opens_by_its_key_and_gives_its_files(self, sealed: Template) -> None:
        found = open_template(sealed.directory, PARTS.key)
        assert found == sealed
        fd = found.open(DEVICE_STATE)
        assert os.read(fd, 20) == b"state of the devices"
        os.close(fd)
        verify_digests(found)

    def test_still_opens_after_it_was_renamed_into_place(self, tmp_path: Path) -> None:
        (tmp_path / "tmp").mkdir()
        target = tmp_path / PARTS.key
        with staged_dir(tmp_path / "tmp", target) as staged:
            (staged / RAM).write_bytes(b"ram")
            (staged / DEVICE_STATE).write_bytes(b"state")
            seal_template(staged, PARTS)
        assert open_template(target, PARTS.key).directory == target

    def test_one_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        assert refusal(tmp_path / "absent").code is ErrorCode.NOT_FOUND

    def test_is_refused_under_another_key(self, sealed: Template) -> None:
        assert refusal(sealed.directory, "0" * 32).code is ErrorCode.CORRUPT

    @pytest.mark.parametrize("name", [RAM, DEVICE_STATE])
    def test_can_not_be_made_without_its_parts(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"alone")
        with pytest.raises(PyroError) as caught:
            seal_template(tmp_path, PARTS)
        assert caught.value.code is ErrorCode.INVALID


class TestAnyChangeIsNoticed:
    @pytest.mark.parametrize("name", [RAM, DEVICE_STATE, ROOT_DISK])
    def test_a_flipped_byte(self, sealed: Template, name: str) -> None:
        with open(sealed.directory / name, "r+b") as file:
            first = file.read(1)
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        error = refusal(sealed.directory)
        assert error.code is ErrorCode.CORRUPT
        assert name in error.message

    def test_a_byte_flipped_and_back_with_the_times_restored(self, sealed: Template) -> None:
        path = sealed.directory / RAM
        before = path.stat()
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT

    def test_a_write_through_a_shared_mapping(self, sealed: Template) -> None:
        with open(sealed.directory / RAM, "r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
            mapped[100] ^= 1
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT

    def test_a_file_replaced_by_an_equal_one(self, sealed: Template) -> None:
        path = sealed.directory / DEVICE_STATE
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
        os.replace(copy, path)
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT

    def test_a_file_that_is_gone_cut_short_or_a_link(self, sealed: Template) -> None:
        path = sealed.directory / ROOT_DISK
        os.truncate(path, 10)
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT
        path.unlink()
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT
        path.symlink_to("/etc/passwd")
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT

    def test_between_opening_the_template_and_using_it(self, sealed: Template) -> None:
        found = open_template(sealed.directory, PARTS.key)
        with open(sealed.directory / RAM, "r+b") as file:
            file.write(b"x")
        with pytest.raises(PyroError) as caught:
            found.open(RAM)
        assert caught.value.code is ErrorCode.CORRUPT

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "null", '{"schema": 1}', "[" * 100_000, '{"schema": 99, "key": "x", "files": {}}', "\xff"],
    )
    def test_a_damaged_manifest(self, sealed: Template, text: str) -> None:
        (sealed.directory / MANIFEST).write_text(text, "latin-1")
        error = refusal(sealed.directory)
        assert error.code is ErrorCode.CORRUPT
        assert "rebuilt" in error.hint

    @pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", ".hidden"])
    def test_a_manifest_that_names_files_elsewhere(self, sealed: Template, name: str) -> None:
        path = sealed.directory / MANIFEST
        document = json.loads(path.read_text())
        document["files"][name] = document["files"][RAM]
        path.write_text(json.dumps(document))
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT

    def test_a_manifest_that_is_missing(self, sealed: Template) -> None:
        (sealed.directory / MANIFEST).unlink()
        assert refusal(sealed.directory).code is ErrorCode.CORRUPT


class TestWhereWritesAreNotNoted:
    def test_this_file_system_notes_them(self, sealed: Template) -> None:
        assert sealed.writes_are_noted

    def test_digests_are_compared_at_each_use(self, sealed: Template, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(directory: Path) -> bool:
            return False

        monkeypatch.setattr(template, "_mapped_writes_are_noted", never)
        unnoted = seal_template(sealed.directory, PARTS)
        assert not open_template(sealed.directory, PARTS.key).writes_are_noted
        path = sealed.directory / RAM
        wrong = replace(unnoted.files[RAM], sha256="0" * 64)
        tampered = replace(unnoted, files={**unnoted.files, RAM: wrong})
        with pytest.raises(PyroError) as caught:
            tampered.open(RAM)
        assert "digest" in caught.value.message
        assert path.exists()

    def test_memory_file_systems_are_found_out(self) -> None:
        shared_memory = Path("/dev/shm")
        if not os.access(shared_memory, os.W_OK):
            pytest.skip("no writable /dev/shm here")
        directory = shared_memory / f"pyro-test-{os.getpid()}"
        directory.mkdir()
        try:
            (directory / RAM).write_bytes(b"ram")
            (directory / DEVICE_STATE).write_bytes(b"state")
            assert not seal_template(directory, PARTS).writes_are_noted
        finally:
            for name in os.listdir(directory):
                (directory / name).unlink()
            directory.rmdir()


class TestDigest:
    def test_holes_and_zeros_are_the_same(self, tmp_path: Path) -> None:
        digests: list[str] = []
        for number, sparse in enumerate((True, False)):
            directory = tmp_path / str(number)
            directory.mkdir()
            with open(directory / RAM, "wb") as file:
                file.truncate(4 * MIB)
                if not sparse:
                    file.write(bytes(4 * MIB))
                file.seek(2 * MIB + 5)
                file.write(b"something")
            (directory / DEVICE_STATE).write_bytes(b"")
            digests.append(seal_template(directory, PARTS).files[RAM].sha256)
        assert digests[0] == digests[1]

    def test_a_changed_digest_is_found_by_a_full_verification(self, sealed: Template) -> None:
        wrong = replace(sealed.files[ROOT_DISK], sha256="0" * 64)
        with pytest.raises(PyroError) as caught:
            verify_digests(replace(sealed, files={**sealed.files, ROOT_DISK: wrong}))
        assert caught.value.code is ErrorCode.CORRUPT
