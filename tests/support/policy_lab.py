"""A workspace under network policies, in the lab of `egress_lab`: web, TLS and git servers in the internet.

Run as a program: `internet` serves every name on one address; `policies` takes a workspace through its life, and prints
what its commands, and people outside, saw; `downloads` prints how fast guests download.
"""

from __future__ import annotations

import json
import os
import select
import ssl
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from pyro_mcp import Pyro
from pyro_mcp.host import process
from pyro_mcp.host.waiting import Deadline
from tests.support.egress_lab import ALLOWED, STUB, be_the_internet, said
from tests.support.pyro_cli import pyro, pyro_json, starting_pyro

if TYPE_CHECKING:
    from collections.abc import Generator

#: Names a directory with `ca.pem`, a root that signed `allowed.pem`, and `repo.git` (`make_files`).
FILES = "PYRO_LAB_FILES"
NAME, OTHER = "allowed.test", "other.test"
LARGE_BYTES = 256 * 1024 * 1024
MODULE = "tests.support.policy_lab"
_ENDS_WITHIN_S = 20.0
_MCP_TIMEOUT_S = 60
_DOWNLOADS = 5
_TIMED = "curl -sS -o /dev/null -w '%{time_total} %{http_code}' --max-time 10 "


def main() -> None:
    match sys.argv[1:]:
        case ["internet", _]:
            be_the_internet(_servers)
        case ["policies"]:
            Path("/etc/resolv.conf").write_text(f"nameserver {STUB}\n")
            print(json.dumps(_take_through_life()))
        case ["downloads"]:
            Path("/etc/resolv.conf").write_text(f"nameserver {STUB}\n")
            print(json.dumps(_downloads()))
        case other:
            sys.exit(f"no such role: {other}")


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, `/hello`, `/large`, and `/endless`, an answer that goes on as long as somebody takes it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b"more\n")
                    select.select([self.connection], [], [], 0.1)
        elif self.path == "/large":
            self.send_response(200)
            self.send_header("Content-Length", str(LARGE_BYTES))
            self.end_headers()
            part = bytes(1024 * 1024)
            with suppress(OSError):
                for _ in range(LARGE_BYTES // len(part)):
                    self.wfile.write(part)
        elif self.path == "/hello":
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"hello\n")
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


@contextmanager
def _servers() -> Generator[None]:
    files = os.environ[FILES]

    def handler(*given: Any) -> _Handler:
        return _Handler(*given, directory=files)

    plain, secure = (ThreadingHTTPServer((ALLOWED[0], port), handler) for port in (80, 443))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{files}/allowed.pem")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield


def _take_through_life() -> dict[str, Any]:
    root = str(Path(os.environ[FILES], "ca.pem"))
    create = ("workspace", "create", "debian:12", "--network-policy", "allow", "--allow-host", NAME, "--ca-file", root)
    workspace_id: str = pyro_json(*create)["workspace_id"]
    seen: dict[str, Any] = {"workspace_id": workspace_id}
    try:
        seen |= {"clone": _exec(workspace_id, f"git clone -q https://{NAME}/repo.git /tmp/repo && cat /tmp/repo/note")}
        seen |= {"refused": _refused(workspace_id), "allowed": _allowed_while_it_runs(workspace_id)}
        seen["denied"] = _ended_by(workspace_id, OTHER, "deny", workspace_id, OTHER)
        seen["turns"] = _turns(workspace_id)
        seen["off"] = _ended_by(workspace_id, NAME, "set", workspace_id, "--network-policy", "off")
        seen["after_off"] = _exec(workspace_id, f"curl -sS --max-time 10 http://{NAME}/hello")
        seen["on_again"] = pyro_json("workspace", "network", "set", workspace_id, "--network-policy", "egress")
    finally:
        said("workspace", "delete", workspace_id)
    seen["run"] = _one_shot()
    return seen


def _exec(workspace_id: str, command: str) -> dict[str, Any]:
    done = pyro("workspace", "exec", workspace_id, "--timeout-seconds", "60", "--json", "--", command)
    return json.loads(done.stdout)


def _refused(workspace_id: str) -> dict[str, Any]:
    """Return what each surface says about a refused host, and how long the guest waited for refusals."""
    by_name, by_address = f"curl -sS http://{OTHER}/", f"{_TIMED} http://{ALLOWED[1]}/"
    text = pyro("workspace", "exec", workspace_id, "--", by_name)
    result = Pyro().exec_workspace(workspace_id, command=by_name)
    return {
        "json": _exec(workspace_id, by_name),
        "text": text.stderr.decode(),
        "sdk": {"network_refused": result.network_refused, "network_hint": result.network_hint},
        "mcp": anyio.run(_over_mcp, workspace_id, by_name),
        "http": _exec(workspace_id, by_address),
        "page": _exec(workspace_id, f"curl -sS -H 'Host: {OTHER}' http://{NAME}/hello"),
        "tls": _exec(workspace_id, f"{_TIMED} --insecure --resolve {OTHER}:443:{ALLOWED[0]} https://{OTHER}/"),
        "tcp": _exec(workspace_id, f"{_TIMED} telnet://{ALLOWED[1]}:7777"),
    }


async def _over_mcp(workspace_id: str, command: str) -> dict[str, Any]:
    words = ["-m", "pyro_mcp", "mcp", "serve", "--profile", "workspace-full"]
    server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    with anyio.fail_after(_MCP_TIMEOUT_S):
        async with Client(server) as client:
            done = await client.call_tool("workspace_exec", {"workspace_id": workspace_id, "command": command})
            return dict(done.structured_content or {})


def _allowed_while_it_runs(workspace_id: str) -> dict[str, Any]:
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = _exec(workspace_id, boot)["stdout"]
    status = pyro_json("workspace", "network", "allow", workspace_id, OTHER)
    done = _exec(workspace_id, f"curl -sS http://{OTHER}/hello")
    return {"status": status, "done": done, "same_boot": _exec(workspace_id, boot)["stdout"] == before}


def _ended_by(workspace_id: str, host: str, *change: str) -> dict[str, Any]:
    """Change the network while an answer of `host` is taken; return how and when the taker ended."""
    command = f"curl -sSN http://{host}/endless"
    with starting_pyro("workspace", "exec", workspace_id, "--timeout-seconds", "90", "--", command) as taker:
        assert taker.stdout is not None
        taken = os.read(taker.stdout, 5)
        began = time.monotonic()
        status = pyro_json("workspace", "network", *change)
        deadline = Deadline(_ENDS_WITHIN_S, "the connection to end")
        while os.read(taker.stdout, 65536):
            deadline.check()
        return {"taken": taken.decode(), "seconds": time.monotonic() - began, "status": status}


def _turns(workspace_id: str) -> dict[str, Any]:
    """Return what a guest reaches after a stop and start, and after a reset, and the log then."""
    reached = f"curl -sS http://{NAME}/hello; curl -sS http://{OTHER}/hello"

    def turn() -> dict[str, Any]:
        done = _exec(workspace_id, reached)
        return {"stdout": done["stdout"], "refused": done["network_refused"], "log": _log(workspace_id)}

    first = turn()
    said("workspace", "stop", workspace_id)
    stopped = _log(workspace_id)
    said("workspace", "start", workspace_id)
    started = turn()
    said("workspace", "reset", workspace_id)
    return {"first": first, "stopped": {"log": stopped}, "started": started, "reset": turn()}


def _log(workspace_id: str) -> list[dict[str, Any]]:
    return pyro_json("workspace", "network", "log", workspace_id)["entries"]


def _downloads() -> dict[str, list[float]]:
    """Return the speeds in bytes per second of a large download, in turns without and with a filter."""
    speeds: dict[str, list[float]] = {}
    made: dict[str, str] = {}
    root = str(Path(os.environ[FILES], "ca.pem"))
    try:
        for policy, words in (("egress", ()), ("allow", ("--allow-host", NAME))):
            create = ("workspace", "create", "debian:12", "--network-policy", policy, *words, "--ca-file", root)
            made[policy] = pyro_json(*create)["workspace_id"]
        for scheme in ("http", "https"):
            command = f"curl -sS -o /dev/null -w '%{{speed_download}}' {scheme}://{NAME}/large"
            for _ in range(_DOWNLOADS):
                for policy, workspace_id in made.items():
                    done = _exec(workspace_id, command)
                    speeds.setdefault(f"{scheme} {policy}", []).append(float(done["stdout"]))
    finally:
        for workspace_id in made.values():
            said("workspace", "delete", workspace_id)
    return speeds


def _one_shot() -> dict[str, Any]:
    command = f"curl -sS http://{NAME}/hello; curl -sS http://{OTHER}/hello"
    done = pyro("run", "debian:12", "--network-policy", "allow", "--allow-host", NAME, "--json", "--", command)
    return json.loads(done.stdout)


def make_files(place: Path) -> None:
    """Write what the servers serve, and a root certificate for guests: a repository, and a certificate."""
    from tests.support.authority import Authority

    authority = Authority("Lab root")
    (place / "ca.pem").write_text(authority.pem)
    (place / "allowed.pem").write_text(authority.server(NAME))
    work = place / "work"
    work.mkdir()
    (work / "note").write_text("cloned\n")
    given = ("-c", "user.name=lab", "-c", "user.email=lab@example.org")
    for words in (("init", "-q"), ("add", "."), (*given, "commit", "-q", "-m", "note")):
        process.run(["git", *words], cwd=work, timeout_s=30.0)
    process.run(["git", "clone", "-q", "--bare", str(work), str(place / "repo.git")], timeout_s=30.0)
    # So that plain files are enough to clone it.
    process.run(["git", "update-server-info"], cwd=place / "repo.git", timeout_s=30.0)


if __name__ == "__main__":
    main()
