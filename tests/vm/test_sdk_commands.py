"""Commands with everything that the SDK can give them, in one real guest."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import NotFoundError, Pyro
from pyro_mcp.host.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Generator

    from pyro_mcp.sdk.calling import Stdin

pytestmark = pytest.mark.vm
COUNT = "wc -c; echo heard >&2"


@pytest.fixture(scope="module")
def workspace_id() -> Generator[str]:
    pyro = Pyro()
    made = pyro.create_workspace("debian:12").workspace_id
    yield made
    pyro.delete_workspace(made)


@pytest.mark.parametrize("kind", ["text", "bytes", "file", "text file", "memory", "pipe", "nothing"])
def test_a_command_reads_what_it_is_given(workspace_id: str, tmp_path: Path, kind: str) -> None:
    content = "grüße\n" * 50_000
    path = tmp_path / "input"
    path.write_text(content, encoding="utf-8")
    small = path.read_bytes()[:1000]
    reading, writing = os.pipe()
    os.write(writing, small)
    os.close(writing)
    with path.open("rb") as file, path.open(encoding="utf-8") as text, open(reading, "rb") as pipe:
        given: dict[str, Stdin | None] = {
            "text": content, "bytes": content.encode(), "file": file, "text file": text,
            "memory": io.StringIO(content), "pipe": pipe, "nothing": None,
        }  # fmt: skip
        ran = Pyro().exec_workspace(workspace_id, command=COUNT, stdin=given[kind])
    expected = {"pipe": len(small), "nothing": 0}.get(kind, len(content.encode()))
    assert (ran.stdout, ran.stderr) == (f"{expected}\n", "heard\n")


def test_a_file_is_read_from_where_it_is(workspace_id: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("one\ntwo\n", encoding="utf-8")
    with (tmp_path / "input").open("rb") as file:
        assert file.readline() == b"one\n"
        assert Pyro().exec_workspace(workspace_id, command="cat", stdin=file).stdout == "two\n"


def test_both_streams_in_one_keep_their_order(workspace_id: str) -> None:
    command = "for n in 1 2 3; do echo out $n; echo err $n >&2; done"
    ran = Pyro().exec_workspace(workspace_id, command=command, merge_stderr=True)
    assert ran.stdout == "".join(f"out {n}\nerr {n}\n" for n in (1, 2, 3))
    assert ran.stderr == ""


def test_a_result_keeps_as_much_as_it_is_asked_for() -> None:
    # A workspace of its own, since the files with long output go with it.
    pyro = Pyro()
    workspace_id = pyro.create_workspace("debian:12").workspace_id
    lines = "".join(f"{n}\n" for n in range(1, 400_001))
    whole = pyro.exec_workspace(workspace_id, command="seq 400000", max_output_bytes=64 * 1024 * 1024)
    assert not whole.stdout_truncated
    assert whole.stdout == lines
    tail = pyro.exec_workspace(workspace_id, command="seq 400000", max_output_bytes=7000, keep="tail")
    assert tail.stdout_truncated
    assert tail.stdout.endswith(lines[-7000:])
    assert "1\n2\n3\n" not in tail.stdout
    assert tail.stdout_bytes == lines[-7000:].encode()
    pyro.delete_workspace(workspace_id)


def test_bytes_that_are_no_text_are_beside_the_result(workspace_id: str) -> None:
    ran = Pyro().exec_workspace(workspace_id, command="printf '\\377\\0a'; printf '\\376' >&2")
    assert (ran.stdout_bytes, ran.stderr_bytes) == (b"\xff\0a", b"\xfe")
    assert ran.stdout == "\ufffd\0a"
    assert ran["stdout_size_bytes"] == 3
    assert "stdout_bytes" not in ran
    json.dumps(ran)


def test_output_comes_while_the_command_runs_in_whole_characters(workspace_id: str) -> None:
    out, err, seen_s = list[str](), list[str](), list[float]()

    def take(text: str) -> None:
        out.append(text)
        seen_s.append(time.monotonic())

    command = "printf 'gr\\303'; sleep 0.3; printf '\\274\\303\\237e'; echo bad >&2"
    ran = Pyro().exec_workspace(workspace_id, command=command, on_stdout=take, on_stderr=err.append)
    assert out[0] == "gr"
    assert ("".join(out), "".join(err)) == ("grüße", "bad\n") == (ran.stdout, ran.stderr)
    assert seen_s[0] < seen_s[-1]


def test_a_time_limit_may_be_a_fraction_or_none(workspace_id: str) -> None:
    pyro = Pyro()
    ran = pyro.exec_workspace(workspace_id, command="sleep 60 & sleep 60", timeout_seconds=0.4)
    assert (ran.timed_out, ran.exit_code) == (True, 124)
    assert pyro.exec_workspace(workspace_id, command="pgrep -c sleep", timeout_seconds=None).stdout == "0\n"


def test_arguments_are_as_long_as_linux_takes_them(workspace_id: str) -> None:
    arguments = ["x" * 131_071] * 15
    ran = Pyro().exec_workspace(
        workspace_id, command=["python3", "-c", "import sys; print(len(''.join(sys.argv)))", *arguments]
    )
    assert ran.stdout == f"{15 * 131_071 + 2}\n"


def test_a_shell_and_a_service_get_variables_a_directory_and_a_user() -> None:
    # A workspace of its own, with which the record of the service goes.
    pyro = Pyro()
    workspace_id = pyro.create_workspace("debian:12").workspace_id
    pyro.exec_workspace(workspace_id, command="mkdir sub")
    env = {"COLOUR": "deep blue", "HIDDEN": "a value kept nowhere"}
    tell = 'echo "$(id -un) $HOME $PWD $COLOUR" > /tmp/told; sleep 1000'
    ready = {"type": "file", "path": "/tmp/told"}
    pyro.start_service(workspace_id, "told", command=f"{tell} & wait", cwd="sub", readiness=ready, env=env, user="user")
    told = "user /home/user /workspace/sub deep blue"
    assert pyro.exec_workspace(workspace_id, command="cat /tmp/told; rm /tmp/told").stdout == f"{told}\n"
    shell = pyro.open_shell(workspace_id, cwd="sub", env=env, user="user").shell_id
    pyro.write_shell(workspace_id, shell, input="echo $(id -un) $HOME $PWD $COLOUR; tty")
    seen = pyro.read_shell(workspace_id, shell, plain=True, wait_for_idle_ms=500).output
    assert told in seen
    assert "/dev/pts/" in seen
    home = pyro.open_shell(workspace_id, cwd="~", user="user").shell_id
    pyro.write_shell(workspace_id, home, input="pwd")
    assert "/home/user\n" in pyro.read_shell(workspace_id, home, plain=True, wait_for_idle_ms=500).output
    for each in (shell, home):
        pyro.close_shell(workspace_id, each)
    pyro.stop_service(workspace_id, "told")
    with pytest.raises(NotFoundError, match="no user with that name"):
        pyro.open_shell(workspace_id, user="nobody-there")
    kept = Path(Paths.from_environment().state)
    held = [path for path in kept.rglob("*") if path.is_file() and not path.name.endswith((".img", ".raw", ".qcow2"))]
    assert not [path for path in held if path.stat().st_size < 50_000_000 and b"kept nowhere" in path.read_bytes()]
    pyro.delete_workspace(workspace_id)
