"""Certificate authorities that a guest is given: trusted by its clients through a whole life, and in no diff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from mcp import Client

from pyro_mcp import ErrorCode, Pyro, PyroError, create_server
from tests.support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.host_fixture import HostFixture

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400), pytest.mark.usefixtures("guests")]

HOST = "repo.example.test"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# A server with a certificate of the authority, asked with what the guest's clients trust by themselves.
ASK = f"""
import http.server, ssl, subprocess, threading, urllib.request
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/server.pem")
server = http.server.HTTPServer(("127.0.0.1", 8443), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "https://{HOST}:8443/"
print("python", urllib.request.urlopen(url, timeout=60).status)
plain = {{"PATH": "/usr/bin:/bin"}}
for name, given in (("curl", None), ("curl without variables", plain)):
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{{http_code}}", url]
    done = subprocess.run(curl, env=given, capture_output=True)
    print(name, done.stdout.decode(), done.stderr.decode())
git = subprocess.run(["git", "ls-remote", url], env=plain, capture_output=True, text=True).stderr
print("git", "certificate" in git)
pip = ["pip", "download", "--no-deps", "--disable-pip-version-check", "--retries", "0", "-d", "/tmp/x", "-i", url]
done = subprocess.run([*pip, "none"], capture_output=True, text=True)
print("pip", "SSL" in done.stderr, "No matching distribution" in done.stderr)
"""
ANSWERS = ["python 200", "curl 200", "curl without variables 200", "git False", "pip False True"]
COUNT = f"grep -c BEGIN {BUNDLE}; ls /usr/local/share/ca-certificates | grep -c pyro; ls /etc/ssl/certs | grep -c pyro"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority("Test Root")
    (tmp_path / "ca.pem").write_text(made.pem + made.pem)
    return made


def prepared(pyro: Pyro, ws: str, authority: Authority) -> None:
    script = f"cat > /tmp/server.pem; grep -q {HOST} /etc/hosts || echo 127.0.0.1 {HOST} >> /etc/hosts"
    assert pyro.exec_workspace(ws, command=script, stdin=authority.server(HOST)).exit_code == 0


def answers(pyro: Pyro, ws: str) -> list[str]:
    done = pyro.exec_workspace(ws, command=["python3", "-c", ASK], timeout_seconds=240, cwd="/tmp", user="root")
    assert done.exit_code == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


def output(pyro: Pyro, ws: str, command: str, **more: Any) -> str:
    done = pyro.exec_workspace(ws, command=command, timeout_seconds=120, **more)
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()


def test_clients_trust_the_authority_through_stop_start_and_reset(authority: Authority, tmp_path: Path) -> None:
    pyro = Pyro()
    made = pyro.create_workspace("debian:12", ca_files=[tmp_path / "ca.pem"], mem_mib=1024)
    ws = made.workspace_id
    assert [each.partition(" (")[0] for each in made.ca_certificates] == ["Test Root"]
    (tmp_path / "ca.pem").unlink()
    prepared(pyro, ws, authority)
    assert answers(pyro, ws) == ANSWERS
    before = output(pyro, ws, COUNT)
    output(pyro, ws, "update-ca-certificates && update-ca-certificates --fresh")
    assert output(pyro, ws, COUNT) == before
    assert answers(pyro, ws) == ANSWERS
    assert output(pyro, ws, "echo $PIP_CERT $MINE", env={"PIP_CERT": "/mine.pem"}) == "/mine.pem"
    pyro.stop_workspace(ws)
    assert answers(pyro, ws) == ANSWERS
    assert output(pyro, ws, COUNT) == before
    pyro.reset_workspace(ws)
    prepared(pyro, ws, authority)
    assert answers(pyro, ws) == ANSWERS
    assert output(pyro, ws, COUNT) == before
    assert pyro.diff_workspace(ws).changed is False
    pyro.delete_workspace(ws)


def test_a_store_that_the_workload_has_changed_is_completed_by_the_next_start(
    authority: Authority, tmp_path: Path
) -> None:
    pyro = Pyro()
    ws = pyro.create_workspace("debian:12", ca_files=[tmp_path / "ca.pem"]).workspace_id
    fedora = "/etc/pki/ca-trust/extracted/pem"
    output(
        pyro,
        ws,
        f"mkdir -p {fedora} /etc/pki/ca-trust/source/anchors && printf '# none yet' > {fedora}/tls-ca-bundle.pem"
        f" && rm {BUNDLE} /etc/ssl/pyro-certificates.pem /usr/local/share/ca-certificates/*"
        " && mkfifo /etc/ssl/pyro-certificates.pem && ln -s /etc/ssl/cert.pem /etc/ssl/cert.pem",
    )
    pyro.stop_workspace(ws)
    given = f"cat {fedora}/tls-ca-bundle.pem /etc/pki/ca-trust/source/anchors/pyro-*.crt $NODE_EXTRA_CA_CERTS"
    assert output(pyro, ws, given).strip() == ("# none yet\n" + authority.pem * 3).strip()
    assert output(pyro, ws, "echo $SSL_CERT_FILE") == f"{fedora}/tls-ca-bundle.pem"
    output(pyro, ws, f"rm -r /etc/pki && rm -rf {BUNDLE}")
    pyro.stop_workspace(ws)
    assert output(pyro, ws, f"cat {BUNDLE}").strip() == authority.pem.strip()
    pyro.delete_workspace(ws)


def test_an_environment_without_a_store_gets_one(authority: Authority, tmp_path: Path) -> None:
    command = ["sh", "-c", 'cat "$SSL_CERT_FILE"; stat -c %a "$SSL_CERT_FILE"']
    done = Pyro().run_in_vm("debian:12-base", command, ca_files=[tmp_path / "ca.pem"])
    assert (done.stdout, done.stderr) == (f"{authority.pem}644\n", "")


def test_a_vm_made_step_by_step_has_them_at_each_start(authority: Authority, tmp_path: Path) -> None:
    pyro = Pyro()
    vm = pyro.create_vm("debian:12", ca_files=[tmp_path / "ca.pem"]).vm_id
    for _ in range(2):
        pyro.start_vm(vm)
        pyro.stop_vm(vm)
    pyro.start_vm(vm)
    done = pyro.exec_vm(vm, command='cat "$NODE_EXTRA_CA_CERTS"')
    assert done.stdout == authority.pem


def test_shells_services_and_other_users_have_the_variables(authority: Authority, tmp_path: Path) -> None:
    del authority
    pyro = Pyro()
    ws = pyro.create_workspace("debian:12", ca_files=[str(tmp_path / "ca.pem")]).workspace_id
    assert output(pyro, ws, 'cat "$SSL_CERT_FILE" | grep -c BEGIN', user="nobody") != "0"
    pyro.start_service(ws, "web", command="echo cert $SSL_CERT_FILE; sleep 60")
    assert f"cert {BUNDLE}" in pyro.logs_service(ws, "web").stdout
    shell = pyro.open_shell(ws).shell_id
    pyro.write_shell(ws, shell, input="echo cert-$SSL_CERT_FILE")
    shown = pyro.read_shell(ws, shell, plain=True, wait_for_idle_ms=2000).output
    assert f"cert-{BUNDLE}" in shown
    pyro.delete_workspace(ws)


def test_a_server_gives_them_to_every_workspace(authority: Authority, tmp_path: Path) -> None:
    async def talk() -> object:
        async with Client(create_server(ca_files=[tmp_path / "ca.pem"])) as client:
            made = await client.call_tool("workspace_create", {"environment": "debian:12"})
            ws = cast("str", (made.structured_content or {})["workspace_id"])
            command = 'cat "$NODE_EXTRA_CA_CERTS"'
            done = await client.call_tool("workspace_exec", {"workspace_id": ws, "command": command})
            await client.call_tool("workspace_delete", {"workspace_id": ws})
            return cast("object", (done.structured_content or {})["stdout"])

    assert anyio.run(talk) == authority.pem


def test_certificates_lost_from_the_workspace_are_an_error_with_a_remedy(
    guests: HostFixture, authority: Authority, tmp_path: Path
) -> None:
    pyro = Pyro()
    ws = pyro.create_workspace("debian:12", ca_files=[tmp_path / "ca.pem"]).workspace_id
    pyro.stop_workspace(ws)
    kept = guests.paths.workspaces / ws / "ca.pem"
    kept.unlink()
    with pytest.raises(PyroError) as caught:
        pyro.start_workspace(ws)
    assert caught.value.code is ErrorCode.CORRUPT
    assert str(kept) in caught.value.hint
    kept.write_text(authority.pem)
    assert output(pyro, ws, 'cat "$NODE_EXTRA_CA_CERTS"') == authority.pem.strip()
    pyro.delete_workspace(ws)
