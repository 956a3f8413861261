"""The files behind a machine are regular files, or nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.files import open_regular
from pyro_mcp.host.sockets import listen_unix
from pyro_mcp.vmm.qemu.driver import create_memory, save_memory

if TYPE_CHECKING:
    from pathlib import Path


def refusal(path: Path, *, writable: bool = True) -> ErrorCode:
    with pytest.raises(PyroError) as caught:
        open_regular(path, "the disk", writable=writable)
    assert str(path) in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("writable", [True, False])
def test_a_link_a_pipe_a_directory_a_socket_and_a_device_are_refused(tmp_path: Path, *, writable: bool) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    with listen_unix(tmp_path / "socket"):
        for name in ("link", "pipe", "directory", "socket", "device"):
            assert refusal(tmp_path / name, writable=writable) is ErrorCode.INVALID
        assert refusal(tmp_path / "absent", writable=writable) is ErrorCode.NOT_FOUND


def test_a_regular_file_is_opened_for_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"disk")
    fd = open_regular(path, "the disk")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x")
    os.close(fd)
    fd = open_regular(path, "the disk", writable=True)
    os.write(fd, b"D")
    os.close(fd)
    assert path.read_bytes() == b"Disk"


def test_memory_is_saved_as_a_new_sparse_file_that_the_vmms_user_may_open(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    memory_fd = create_memory(1 << 30)
    try:
        os.pwrite(memory_fd, b"touched", 1 << 20)
        save_memory(memory_fd, path)
        with pytest.raises(PyroError) as caught:
            save_memory(memory_fd, path)
    finally:
        os.close(memory_fd)
    assert caught.value.code is ErrorCode.CONFLICT
    found = path.stat()
    assert (found.st_size, found.st_mode & 0o777) == (1 << 30, 0o666)
    assert found.st_blocks * 512 <= 1 << 20
    with path.open("rb") as file:
        file.seek(1 << 20)
        assert file.read(7) == b"touched"
