"""A real guest on a host, and in an internet, of our own: what it reaches, and what it does not."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.host.network import egress_problems
from tests.support.egress_lab import ALLOWED, HOSTS_OWN, LOOPBACK, METADATA, PRIVATE, SPELLINGS, run_lab
from tests.support.pyro_cli import pyro

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.vm

CONNECTED = {0, errno.EISCONN}
# Until 2025 passt's refusal is one that a guest's TCP does not take for an answer; then it gives up within seconds.
KEPT_OUT = {errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}

needs_network = pytest.mark.skipif(
    any("/dev/net/tun" in problem.message or "installed" in problem.message for problem in egress_problems()),
    reason="this host gives no guest a network",
)


@pytest.fixture(scope="module")
def seen() -> Mapping[str, Any]:
    """Return what a program in a guest on the lab's host saw."""
    account = "root" if os.geteuid() == 0 else str(os.geteuid())
    return run_lab("machine", account, sys.executable)


@needs_network
@pytest.mark.timeout(180)
def test_a_guest_with_egress_reaches_the_world_by_name_and_by_address(seen: Mapping[str, Any]) -> None:
    assert {seen["tcp"][address] for address in ALLOWED} <= CONNECTED
    assert seen["names"] == {"allowed.test": ALLOWED[0], "loopback.test": "127.0.0.1"}


@needs_network
@pytest.mark.parametrize(
    "targets", [HOSTS_OWN, METADATA, PRIVATE, LOOPBACK], ids=["host", "metadata", "lan", "loopback"]
)
def test_a_guest_with_egress_is_kept_from_what_the_host_could_reach(
    seen: Mapping[str, Any], targets: tuple[str, ...]
) -> None:
    assert {address: seen["controls"][address] for address in targets} == dict.fromkeys(targets, True)
    assert {seen["tcp"][address] for address in targets} <= KEPT_OUT


@needs_network
def test_what_is_not_answered_is_given_up_in_seconds(seen: Mapping[str, Any]) -> None:
    assert seen["retries"] == "2"


@needs_network
def test_no_spelling_of_a_local_address_gets_a_guest_anywhere(seen: Mapping[str, Any]) -> None:
    assert {seen["tcp"][address] for address in SPELLINGS} <= KEPT_OUT | {errno.EINVAL, errno.EACCES}


def test_a_guest_without_a_network_has_no_route_and_no_resolver() -> None:
    command = "cat /proc/net/route /etc/resolv.conf; curl --max-time 5 http://198.51.100.10 || curl http://127.0.0.1"
    done = pyro("run", "debian:12", "--", command)
    assert done.returncode == 7, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert b"Immediate connect fail" in done.stderr or b"Couldn't connect to server" in done.stderr
