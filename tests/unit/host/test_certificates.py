"""Files of certificate authorities are checked before a guest gets them, and the host's own ones are found."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import certificates
from pyro_mcp.host.certificates import read_certificates
from pyro_mcp.host.roots import extra_roots, remedy
from tests.support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PyroError) as caught:
        read_certificates([path])
    assert caught.value.code is ErrorCode.INVALID
    assert caught.value.hint
    assert str(path) in caught.value.message
    return caught.value.message.removeprefix(f"{path} ")


def test_certificates_of_several_files_are_read_once_each(tmp_path: Path) -> None:
    one, two = Authority("Company Root"), Authority("Proxy Root")
    (tmp_path / "one.pem").write_text(f"# Größe\nsubject=x\n{one.pem}".replace("\n", "\r\n"), encoding="latin-1")
    (tmp_path / "both.pem").write_text(f"{two.pem}\n{one.pem}")
    found = read_certificates([tmp_path / "one.pem", tmp_path / "both.pem"])
    assert [each.subject for each in found] == ["Company Root", "Proxy Root"]
    assert [each.pem for each in found] == [one.pem, two.pem]
    assert found[0].title == f"Company Root (sha256 {found[0].fingerprint[:16]})"
    assert found[0].name == f"pyro-{found[0].fingerprint[:16]}"


def test_a_file_with_anything_but_certificates_is_refused_and_named(tmp_path: Path) -> None:
    one, path = Authority("Root"), tmp_path / "given.pem"
    der = base64.b64decode("".join(one.pem.splitlines()[1:-1]))
    broken = base64.b64encode(der[:-9]).decode()
    assert refusal(path, one.pem + one.key_pem) == "has a private key, which no guest may get"
    assert refusal(path, "") == "has no PEM certificate"
    assert refusal(path, der) == "has no PEM certificate"
    assert refusal(path, one.pem[:-40]) == "ends within a certificate"
    assert refusal(path, one.pem.replace("MII", "M!I")).startswith("has a damaged certificate before line ")
    wrong = f"-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----\n"
    assert refusal(path, wrong) == "has a certificate that OpenSSL can't parse"
    request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    assert refusal(path, request) == "has a 'CERTIFICATE REQUEST', which is not a certificate"
    assert refusal(path, b"x" * (1024 * 1024 + 1)) == "has more than 1024 KiB"


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PyroError) as caught:
        read_certificates([tmp_path / "gone.pem"])
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert "gone.pem" in caught.value.message
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PyroError, match="it is not a regular file"):
        read_certificates([tmp_path / "fifo"])


def test_too_many_certificates_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all.pem").write_text("".join(Authority(f"Root {number}").pem for number in range(3)))
    monkeypatch.setattr(certificates, "MAX_CERTIFICATES", 2)
    with pytest.raises(PyroError, match=r"^3 certificates with [0-9]+ bytes are too many"):
        read_certificates([tmp_path / "all.pem"])


def test_the_hosts_own_authorities_are_found_where_they_are(tmp_path: Path) -> None:
    shipped, local, bundled, named = (Authority(name).pem for name in ("Shipped", "Local", "Bundled", "Named"))
    files = {
        "usr/share/ca-certificates/mozilla/Shipped.crt": shipped,
        "usr/local/share/ca-certificates/own root.crt": local,
        "etc/ssl/certs/ca-certificates.crt": shipped + local + bundled,
        "named.pem": shipped + named,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    variables = {
        "SSL_CERT_FILE": str(tmp_path / "etc/ssl/certs/ca-certificates.crt"),
        "PIP_CERT": str(tmp_path / "named.pem"),
        "REQUESTS_CA_BUNDLE": "/gone.pem",
    }
    own = tmp_path / "usr/local/share/ca-certificates/own root.crt"
    assert extra_roots(variables, tmp_path) == {
        own: f"in {own.parent}",
        tmp_path / "etc/ssl/certs/ca-certificates.crt": "in the system's bundle",
        tmp_path / "named.pem": "named by PIP_CERT",
    }
    assert remedy([own]) == f"--ca-file '{own}'"
    own.unlink()
    (tmp_path / "etc/ssl/certs/ca-certificates.crt").write_text(shipped)
    assert extra_roots({}, tmp_path) == {}
