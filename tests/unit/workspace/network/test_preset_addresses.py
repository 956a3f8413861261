"""Addresses are reduced to the host that they name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.model.network import HostRule
from pyro_mcp.workspace.presets.addresses import host_of, without_credentials


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://Index.Example.org/simple/", "index.example.org"),
        ("https://index.example.org:443/simple/", "index.example.org"),
        ("https://index.example.org:8443/simple/", "index.example.org:8443"),
        ("http://index.example.org:443/", "index.example.org:443"),
        ("https://user:password@index.example.org/simple?token=1", "index.example.org"),
        ("sparse+https://index.example.org/", "index.example.org"),
        ("git+ssh://git@git.example.org:2222/x", "git.example.org:2222"),
        ("git@git.example.org:team/project.git", "git.example.org"),
        ("git.example.org:team/project.git", "git.example.org"),
        ("https://*.corp.example.org/", "*.corp.example.org"),
        ("https://bücher.example.org/", "xn--bcher-kva.example.org"),
        ("http://192.0.2.7:8081/repository", "192.0.2.7:8081"),
        ("http://[2001:db8::1]:8081/", "[2001:db8::1]:8081"),
        ("http://nexus:8081/", "nexus:8081"),
        ("https://index.example.org./", "index.example.org"),
    ],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    "address",
    [
        "", "off", "direct", "/srv/mirror", "./wheels", "file:///srv/mirror", "http://localhost:3141/", "http://127.0.0.1/",
        "http://[::1]/", "http://169.254.169.254/", "http://0.0.0.0/", "https:///path", "https://a b/", "https://x:99999/",
        "https://-a.example.org/", "https://${HOST}/", "http://1.2.3/", "https://[nonsense/",
        "https://" + "a." * 200 + "org/",
    ],
)  # fmt: skip
def test_what_names_no_host_outside_this_machine_is_left_out(address: str) -> None:
    assert host_of(address) == ""


def test_credentials_are_dropped() -> None:
    assert without_credentials("https://me:secret@index.example.org/simple/?key=secret#part") == (
        "https://index.example.org/simple/"
    )
    assert without_credentials("sparse+https://index.example.org/a") == "https://index.example.org/a"
    assert without_credentials("ssh://git@git.example.org/") == ""


@given(st.text(max_size=200) | st.builds("https://{}/".format, st.text(max_size=80)))
def test_any_text_is_answered(text: str) -> None:
    if host := host_of(text):
        assert str(HostRule.parse(host)) == host
    for found in (host, without_credentials(text)):
        assert "@" not in found.partition("/simple")[0].partition("//")[2].partition("/")[0]
        assert not set(found.partition("//")[0]) & set(" \n\t")
