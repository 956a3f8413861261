"""Secrets in real guests: there for commands, and nowhere else, through a whole life of a workspace."""

from __future__ import annotations

import base64
import json
import mmap
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp import Pyro
from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.waiting import wait_until
from tests.support.person import SEEN_TIMEOUT_S
from tests.support.pyro_cli import pyro, pyro_json, starting_pyro

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp.types import CallToolResult

    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

# What each command makes of the values is never to be seen; that it printed them at all is seen by the marks.
PRINTING = {
    "as they are": 'echo "$A"; cat /run/pyro-secrets/B; printf %s "$B" >&2',
    "in base64": 'printf %s "$A" | base64; printf "user:%s" "$A" | base64 -w 20; base64 -w 0 /run/pyro-secrets/B',
    "in hex": 'printf %s "$A" | od -An -tx1; od -An -v -tx1 -w7 /run/pyro-secrets/B',
    "in lines": 'echo "$A" | fold -w 3; echo "$B" | fold -w 1',
    "quoted": 'python3 -c \'import os, json, shlex, urllib.parse as u; v = os.environ["B"]\n'
    'print(json.dumps(v), u.quote(v), u.quote_plus(v), shlex.quote(v), repr(v), v.encode(), sep="\\n")\'',
    "by the shell": 'export -p | grep -A3 -E "^export (A|B)="; set | grep -A3 -E "^(A|B)="',
    "byte by byte": 'python3 -c \'import os\nfor byte in os.environb[b"A"] + b"\\n": os.write(1, bytes([byte]))\'',
    "over many pieces": "python3 -c 'import os\nfor n in range(3000): os.write(1, os.environb[b\"A\"][n % 9 :])'",
    "in a terminal's lines": 'script -qec \'stty cols 11; printf "%s\\n" "$A"\' /dev/null',
}


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Yield from where to where a file has data."""
    at, size = 0, os.fstat(fd).st_size
    # SEEK_DATA fails where nothing but a hole is left.
    with suppress(OSError):
        while at < size:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, start, os.SEEK_HOLE)
            yield start, at


class Values:
    """Two secrets that nobody else has, and every trace that they could leave."""

    def __init__(self, directory: Path) -> None:
        self.core = "PyroSecret" + os.urandom(9).hex()
        self.literal = f"{self.core}+=?é"
        self.filed = f'it\'s "{self.core}"\n  second $line \\ of {self.core[::-1]}\n'
        self.file = directory / "filed"
        self.file.write_text(self.filed)
        cores = [self.core.encode(), self.core[::-1].encode()]
        self.traces = [*cores, cores[0].hex().encode(), cores[0].hex().upper().encode()]
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + cores[0])
            self.traces.append(encoded[4 : 4 * (len(encoded) // 4) - 4])

    def found_in(self, data: bytes | mmap.mmap) -> bool:
        return any(data.find(trace) >= 0 for trace in self.traces)

    def shown_in(self, text: str | bytes) -> bool:
        data = text.encode() if isinstance(text, str) else text
        return self.found_in(re.sub(rb"\s", b"", data))

    def files(self, *places: Path) -> Iterator[Path]:
        """Yield the files below these places that hold a trace, wherever in them; holes hold nothing."""
        for place in places:
            # Other tests share the image cache, and may prune a template of theirs meanwhile.
            below = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
            for path in below if place.is_dir() else [place]:
                with suppress(FileNotFoundError):
                    if path.is_file() and not path.is_symlink() and self._is_in(path):
                        yield path

    def _is_in(self, path: Path) -> bool:
        with open(path, "rb") as file:
            for start, at in _extents(file.fileno()):
                first = start - start % mmap.ALLOCATIONGRANULARITY
                with mmap.mmap(file.fileno(), at - first, offset=first, access=mmap.ACCESS_READ) as data:
                    if self.found_in(data):
                        return True
        return False

    def processes(self) -> list[str]:
        """Return what any process shows of itself that has a trace."""
        found: list[str] = []
        for place in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    if self.found_in((place / name).read_bytes()):
                        found.append(f"{place / name}")
                except OSError:
                    continue
        return found


@pytest.fixture
def values(tmp_path: Path) -> Values:
    (tmp_path / "values").mkdir()
    return Values(tmp_path / "values")


def places(guests: HostFixture) -> list[Path]:
    """Return where anything of pyro's lies that may have changed; bases and kernels are checked by their digests."""
    return [guests.paths.state, guests.paths.runtime, guests.paths.templates, guests.paths.tmp]


def create(values: Values, *more: str) -> str:
    secrets = ("--secret", f"A={values.literal}", "--secret-file", f"B={values.file}")
    return pyro_json("workspace", "create", "debian:12", *secrets, *more)["workspace_id"]


def test_a_whole_life_leaves_no_trace_of_a_value_but_in_the_one_file(
    guests: HostFixture, values: Values, tmp_path: Path
) -> None:
    workspace_id = create(values)
    kept = guests.paths.workspaces / workspace_id / "secrets.json"
    assert kept.stat().st_mode & 0o777 == 0o600

    said = [_use(values, workspace_id, *PRINTING)]
    sdk = Pyro()
    said += [json.dumps(sdk.create_snapshot(workspace_id, "kept")), json.dumps(sdk.diff_workspace(workspace_id))]
    said.append(json.dumps(sdk.export_workspace(workspace_id, "work", output_path=tmp_path / "exported")))
    assert list(values.files(*places(guests), tmp_path / "exported")) == [kept]

    said += _live_in(sdk, workspace_id)
    assert list(values.files(*places(guests))) == [kept]
    said.append(json.dumps(sdk.stop_workspace(workspace_id)))
    said.append(json.dumps(sdk.export_workspace_disk(workspace_id, output_path=tmp_path / "disk.img")))
    assert list(values.files(*places(guests), tmp_path / "disk.img", tmp_path / "exported")) == [kept]
    said.append(json.dumps(sdk.start_workspace(workspace_id)))
    said.append(_use(values, workspace_id, "as they are"))
    said.append(json.dumps(sdk.reset_workspace(workspace_id)))
    said.append(_use(values, workspace_id, "in base64"))
    said += _errors(sdk, workspace_id, values)
    for words in (("status",), ("logs",), ("summary",), ("diff",)):
        done = pyro("workspace", *words, workspace_id)
        said.append((done.stdout + done.stderr).decode())
        said.append(json.dumps(pyro_json("workspace", *words, workspace_id)))
    said.append(json.dumps(pyro_json("workspace", "list")))
    assert [text for text in said if values.shown_in(text)] == []
    assert sum(text.count("[REDACTED]") for text in said) > 40

    assert values.processes() == []
    assert list(values.files(*places(guests))) == [kept]
    sdk.delete_workspace(workspace_id)
    assert list(values.files(*places(guests))) == []


def _use(values: Values, workspace_id: str, *ways: str) -> str:
    """Have commands print the values in some ways, and return all that was seen of it."""
    seen: list[str] = []
    flags = ("--secret-env", "A", "--secret-env", "B")
    for how in ways:
        command = f"mkdir -p work; echo done > work/it; {PRINTING[how]}"
        done = pyro("workspace", "exec", workspace_id, *flags, "--", command)
        assert done.returncode == 0, (how, done.stderr)
        assert not values.shown_in(done.stdout + done.stderr), how
        assert b"[REDACTED]" in done.stdout, how
        seen.append((done.stdout + done.stderr).decode())
    seen.append(json.dumps(pyro_json("workspace", "exec", workspace_id, *flags, "--", 'echo "$A$B"; exit 0')))
    return "\n".join(seen)


def _live_in(sdk: Pyro, workspace_id: str) -> list[str]:
    """Have a service and a shell print the values, and return all that was seen of it."""
    given = {"A": "A", "B": "B"}
    printing = 'echo "$A"; printf %s "$A" | base64; echo "$B" | fold -w 5'
    command = f"{printing}; touch /tmp/ready; sleep 1000"
    said = [
        json.dumps(
            sdk.start_service(
                workspace_id,
                "leaky",
                command=command,
                secret_env=given,
                readiness={"type": "file", "path": "/tmp/ready"},
            )
        )
    ]
    said += [json.dumps(sdk.logs_service(workspace_id, "leaky")), json.dumps(sdk.status_service(workspace_id, "leaky"))]
    shell = sdk.open_shell(workspace_id, cols=20, secret_env=given)
    sdk.write_shell(workspace_id, shell.shell_id, input=f"{printing}; echo e''nd")
    wait_until(
        lambda: "\nend\n" in sdk.read_shell(workspace_id, shell.shell_id, wait_for_idle_ms=50, plain=True).output,
        timeout_s=SEEN_TIMEOUT_S,
        what="the shell to have printed the values",
    )
    said += [json.dumps(sdk.read_shell(workspace_id, shell.shell_id, plain=plain)) for plain in (False, True)]
    assert all("[REDACTED]" in text for text in (said[1], *said[3:]))
    return said


def _errors(sdk: Pyro, workspace_id: str, values: Values) -> list[str]:
    """Provoke errors that would quote a value, and results that would hold it, and return what they say."""
    said: list[str] = []
    text = values.literal
    refused: list[Callable[[], object]] = [
        lambda: sdk.exec_workspace(workspace_id, command=[values.literal]),
        lambda: sdk.exec_workspace(workspace_id, command="true", secret_env={"A": values.literal}),
        lambda: sdk.exec_workspace(workspace_id, command="true", secret_env={"NOPE": "A"}),
        lambda: sdk.read_workspace_file(workspace_id, values.literal),
        lambda: sdk.apply_workspace_patch(workspace_id, patch=f"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{text}\n+y\n"),
        lambda: sdk.create_workspace("debian:12", secrets=[{"name": values.literal, "value": "x"}]),
        lambda: sdk.create_workspace("debian:12", secrets=[{"name": "A", "valeu": values.literal}]),
        lambda: sdk.create_workspace("debian:12", secrets=[{"name": "A", "value": values.literal, "more": "x"}]),
        lambda: sdk.create_workspace("no-such", secrets=[{"name": "A", "value": values.literal}]),
    ]
    for attempt in refused:
        with pytest.raises(PyroError) as caught:
            attempt()
        said.append(json.dumps(caught.value.to_json()))
    said.append(json.dumps(sdk.exec_workspace(workspace_id, command=f"echo {values.literal}")))
    said.append(
        json.dumps(sdk.exec_workspace(workspace_id, command=["printf", "%s", values.literal], timeout_seconds=20))
    )
    for words in (
        ("workspace", "create", "debian:12", "--secret", values.literal),
        ("workspace", "create", "debian:12", "--secret", f"1A={values.literal}"),
    ):
        done = pyro(*words)
        assert done.returncode != 0
        said.append((done.stdout + done.stderr).decode())
    return said


def test_no_list_of_processes_shows_a_value_while_a_workspace_is_made_and_used(
    guests: HostFixture, values: Values
) -> None:
    del guests
    with starting_pyro(
        "workspace", "create", "debian:12", "--name", "shown", "--secret", f"A={values.literal}", stdout=None
    ) as creating:
        assert creating.stderr is not None
        # The first phase is told when the arguments have been read.
        assert os.read(creating.stderr, 1)
        assert values.processes() == []
        assert creating.wait(timeout_s=60) == 0
    with starting_pyro("workspace", "exec", "shown", "--secret-env", "A=B", "--", "echo up!; sleep 60") as running:
        assert running.stdout is not None
        assert os.read(running.stdout, 4) == b"up!\n"
        assert values.processes() == []
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout_s=30) == 130


@pytest.mark.parametrize(
    "point", ["atomic_write.before_rename", "ws_create.directories", "ws_machine.launched", "ws_machine.configured"]
)
def test_a_creation_that_is_killed_leaves_no_value(
    guests: HostFixture, values: Values, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_FAULT_POINT", point)
    given = ("--secret", f"A={values.literal}", "--secret-file", f"B={values.file}")
    assert pyro("workspace", "create", "debian:12", *given).returncode == -signal.SIGKILL
    monkeypatch.delenv("PYRO_FAULT_POINT")
    assert pyro_json("workspace", "list")["count"] == 0
    assert list(values.files(*places(guests))) == []
    assert guests.remains() == []


def test_a_model_does_not_see_a_value_either(guests: HostFixture, values: Values) -> None:
    del guests
    workspace_id = create(values)
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve"], env=dict(os.environ)
    )
    answers: list[CallToolResult] = []

    async def ask() -> None:
        with anyio.fail_after(100):
            async with Client(parameters) as client:
                for tool, more in (
                    (
                        "workspace_exec",
                        {"command": "cat /run/pyro-secrets/A; cp /run/pyro-secrets/A leak"},
                    ),
                    ("workspace_file_read", {"path": "leak"}),
                    ("workspace_diff", {}),
                    ("workspace_logs", {}),
                    ("workspace_summary", {}),
                    ("workspace_status", {}),
                    ("workspace_file_read", {"path": values.literal}),
                ):
                    answers.append(await client.call_tool(tool, {"workspace_id": workspace_id, **more}))

    anyio.run(ask)
    assert [answer.is_error for answer in answers] == [False] * 6 + [True]
    texts = [answer.model_dump_json() for answer in answers]
    assert [text for text in texts if values.shown_in(text)] == []
    assert [("[REDACTED]" in text) for text in texts] == [True, True, True, True, False, False, True]


def test_redacted_text_is_written_back_with_its_values_and_a_redacted_patch_says_so(
    guests: HostFixture, values: Values
) -> None:
    del guests
    workspace_id = create(values)
    sdk = Pyro()

    def do(command: str) -> str:
        return sdk.exec_workspace(workspace_id, command=command).stdout

    do("(printf 'user = '; cat /run/pyro-secrets/A; printf '\\nport = 1\\n') > c.ini; sha256sum c.ini > sum")
    text = sdk.read_workspace_file(workspace_id, "c.ini").content
    assert text == "user = [REDACTED]\nport = 1\n"
    sdk.write_workspace_file(workspace_id, "c.ini", text=text)
    assert do("sha256sum -c sum").endswith("OK\n")
    patch = "--- a/c.ini\n+++ b/c.ini\n@@ -1,2 +1,2 @@\n-user = [REDACTED]\n+name = [REDACTED]\n port = 1\n"
    sdk.apply_workspace_patch(workspace_id, patch=patch)
    assert do("sed -i s/name/user/ c.ini; sha256sum -c sum").endswith("OK\n")
    assert sdk.diff_workspace(workspace_id).patch.startswith("# this patch can't be applied")


def test_secrets_lie_in_memory_that_only_the_guests_root_reads(guests: HostFixture, values: Values) -> None:
    workspace_id = create(values)

    def do(command: str) -> str:
        return pyro("workspace", "exec", workspace_id, "--", f"{{ {command}; }} 2>&1").stdout.decode()

    assert do("stat -c '%a %U %s' /run/pyro-secrets /run/pyro-secrets/*").splitlines()[0] == "700 root 80"
    assert do("stat -c '%a %U %s' /run/pyro-secrets/*") == (
        f"600 root {len(values.literal.encode())}\n600 root {len(values.filed.encode())}\n"
    )
    assert do("sha256sum < /run/pyro-secrets/B").split()[0] == _digest(values.filed)
    assert "tmpfs" in do("grep pyro-secrets /proc/mounts")
    assert "Read-only file system" in do("echo x > /run/pyro-secrets/A")
    assert "Permission denied" in do("setpriv --reuid 1000 --clear-groups cat /run/pyro-secrets/A")
    # Whatever a command does to them is undone by the next start.
    do("mount -o remount,rw /run/pyro-secrets; rm /run/pyro-secrets/*; head -c 20m /dev/zero > /run/pyro-secrets/full")
    guests.engine.reconcile()
    pyro_json("workspace", "stop", workspace_id)
    assert do("ls /run/pyro-secrets") == "A\nB\n"


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def test_on_the_host_itself_secrets_are_refused(guests: HostFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_VMM", "none")
    given: list[dict[str, str]] = [{"name": "A", "value": "a-value-of-some-length"}]
    with pytest.raises(PyroError, match="secrets need a guest") as caught:
        Pyro().create_workspace("debian:12", secrets=given, allow_host_compat=True)
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert guests.remains() == []


def test_without_its_file_a_workspace_is_not_used(guests: HostFixture, values: Values) -> None:
    workspace_id = create(values)
    (guests.paths.workspaces / workspace_id / "secrets.json").unlink()
    document: dict[str, Any] = json.loads(pyro("workspace", "exec", workspace_id, "--json", "--", "true").stdout)
    assert document["error"]["code"] == "corrupt"
    assert "secrets" in document["error"]["message"]
