"""A workload that swaps directories for links, and back, as fast as it can while tasks run: no task is led out."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.agent import CancelToken, ExecRequest
from pyro_mcp.agent.file_values import Delete, DiffBounds, Write
from pyro_mcp.agent.files import GuestFiles
from pyro_mcp.errors import ErrorCode, PyroError
from tests.support.agents import run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.agent import AgentSession
    from tests.contract.agent.conftest import WorkspaceGuest

ROUNDS = 40
CANARY = b"canary\n"
OUTSIDE = f"/tmp/pyro-outside-{os.getpid()}"
#: Outside the workspace there is a directory with the same names in it as in the one that is swapped for a link to it.
PREPARE = f"""
rm -rf ./* {OUTSIDE}; mkdir -p {OUTSIDE}/in in/in real
echo canary > {OUTSIDE}/file; echo canary > {OUTSIDE}/in/file
echo inside > in/file; echo inside > in/in/file
"""
SWAP = f"""
ln -s {OUTSIDE} away; echo began
while :; do mv in real/in; mv away in; mv in away; mv real/in in; done
"""
#: What a task may come to when the ground shifts under it.
EXPECTED = {ErrorCode.NOT_FOUND, ErrorCode.INVALID, ErrorCode.CONFLICT, ErrorCode.UNAVAILABLE}


@contextmanager
def swapping(workspace: WorkspaceGuest) -> Generator[None]:
    """Swap while the block runs."""
    began, token = threading.Event(), CancelToken()

    def swap() -> None:
        request = ExecRequest(("/bin/sh", "-c", SWAP), timeout_s=60)
        with workspace.session() as session, pytest.raises(PyroError):
            session.exec(request, on_output=lambda _stream, _data: began.set(), cancel=token)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        assert began.wait(20)
        yield
    finally:
        token.cancel()
        swapper.join()


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("in/file", "in/in/file", "in/new"):
            info = tarfile.TarInfo(name)
            info.size = 6
            tar.addfile(info, io.BytesIO(b"pushed"))
    return buffer.getvalue()


def nothing_of(outcome: object) -> bytes:
    """Return what was brought to light by something that only writes."""
    assert outcome is not None
    return b""


def attempts(files: GuestFiles) -> dict[str, Callable[[], bytes]]:
    """Return what is tried, each with what it brought to light."""

    def packed() -> bytes:
        stream = bytearray()
        files.pack(b"", stream.extend)
        return bytes(stream)

    def fetched() -> bytes:
        found = files.fetch([b"in/file", b"in/in/file"], max_file_bytes=100)
        return b"".join(each.data or b"" for each in found.values())

    def applied() -> bytes:
        files.apply([Write(b"in/file", b"patched\n", 0o644, created=False), Delete(b"in/in/file")])
        files.write(b"in/in/file", b"inside\n")
        return b""

    def listed() -> bytes:
        entries = files.list(b"", recursive=True, limit=100).entries
        return b"".join(each.path for each in entries if each.path.startswith(b"away/"))

    def differing() -> bytes:
        diff = files.diff(DiffBounds(100, 1000, 10_000))
        return b"".join(part.old + part.new for entry in diff.entries for part in entry.parts)

    return {
        "read": lambda: files.read(b"in/file", max_bytes=100).data,
        "deeper": lambda: files.read(b"in/in/file", max_bytes=100).data,
        "write": lambda: nothing_of(files.write(b"in/in/file", b"written\n")),
        "unpack": lambda: nothing_of(files.unpack(b"", [archive()])),
        "dest": lambda: nothing_of(files.unpack(b"in/in", [archive()])),
        "pack": packed,
        "fetch": fetched,
        "apply": applied,
        "list": listed,
        "diff": differing,
    }


def tried(call: Callable[[], bytes]) -> bytes:
    try:
        return call()
    except PyroError as error:
        if error.code not in EXPECTED:
            raise
        return b""


@pytest.mark.parametrize(
    "name", ["read", "deeper", "write", "unpack", "dest", "pack", "fetch", "apply", "list", "diff"]
)
def test_no_swapped_link_leads_a_task_out(
    workspace: WorkspaceGuest, workspace_session: AgentSession, name: str
) -> None:
    session = workspace_session
    assert run(session, PREPARE).result.exit_code == 0
    with swapping(workspace):
        call = attempts(GuestFiles(session))[name]
        found = b"".join(tried(call) for _ in range(ROUNDS))
    assert b"canary" not in found
    look = f"cd {OUTSIDE} && cat file in/file && ls -A . in | tr '\\n' ' '; rm -r {OUTSIDE}"
    outside = run(session, look)
    assert outside.stdout == CANARY * 2 + b".: file in  in: file "
