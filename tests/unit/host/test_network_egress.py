"""The processes of a guest's network start unprivileged, say what is wrong, and end with the VMM, however it ends."""

from __future__ import annotations

import os
import select
import signal
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import process
from pyro_mcp.host.network import Egress, NetworkFiles, egress, egress_problems, open_egress
from pyro_mcp.host.network.egress import explain_failure
from pyro_mcp.host.process.identity import ProcessStat, tree_of
from pyro_mcp.host.waiting import wait_until
from tests.support.ethernet import WireGuest
from tests.support.python import run_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.host.network.plan import EgressPlan
    from pyro_mcp.host.network.surroundings import Surroundings

ENDS_WITHIN_S = 10.0
PROBLEMS = egress_problems()
needs_network = pytest.mark.skipif(
    bool(PROBLEMS), reason=f"this host gives no guest a network: {PROBLEMS[0].message if PROBLEMS else ''}"
)


def members(network: Egress) -> dict[str, ProcessStat]:
    """Return the network's processes by what they are."""
    found: dict[str, ProcessStat] = {}
    for member in tree_of(network.identity.pid):
        with suppress(OSError):
            words = Path(f"/proc/{member.pid}/cmdline").read_bytes().split(b"\0")
            found[os.path.basename(words[0].decode())] = member
    return found


def everything_but(missing: str) -> Callable[[str], Path | None]:
    def look_up(name: str) -> Path | None:
        return None if name == missing else Path("/bin/true")

    return look_up


def settled(network: Egress) -> dict[str, ProcessStat]:
    network.wait_ready()
    found = members(network)
    assert {"pasta", "passt"} <= set(found)
    return found


@pytest.fixture
def files(tmp_path: Path) -> NetworkFiles:
    return NetworkFiles(tmp_path / "control", tmp_path / "log")


def assert_ended(network: Egress, found: dict[str, ProcessStat]) -> None:
    identities = [(member.pid, member.start_time) for member in found.values()]
    for pid, started in [*identities, (network.identity.pid, network.identity.start_time)]:
        assert process.wait_for_exit(pid, started, timeout_s=ENDS_WITHIN_S)


@needs_network
def test_the_network_answers_for_its_gateway_and_refuses_the_hosts_loopback(files: NetworkFiles) -> None:
    with open_egress(files) as network:
        with closing(WireGuest(network.vmm_fd, network.guest)) as guest:
            # Sent before anything is set up: the frames wait.
            assert guest.find_gateway() == "52:54:00:70:79:01"
            assert guest.connect([("127.0.0.1", 22)]) == {"127.0.0.1": "refused"}
        network.wait_ready()
        network.wait_ready()


@needs_network
def test_when_the_vmm_closes_its_end_everything_ends(files: NetworkFiles) -> None:
    with open_egress(files) as network:
        found = settled(network)
    assert_ended(network, found)


@needs_network
@pytest.mark.parametrize("victim", ["pasta", "passt"])
def test_when_one_of_them_is_killed_all_end_and_the_vmm_sees_it(victim: str, files: NetworkFiles) -> None:
    with open_egress(files) as network:
        found = settled(network)
        assert process.send_signal(found[victim].pid, found[victim].start_time, signal.SIGKILL)
        assert_ended(network, found)
        poller = select.poll()
        poller.register(network.vmm_fd, select.POLLIN)
        assert poller.poll(ENDS_WITHIN_S * 1000)
        assert os.read(network.vmm_fd, 1) == b""


@needs_network
def test_when_what_holds_their_namespace_is_killed_all_end_with_the_vmm_at_the_latest(files: NetworkFiles) -> None:
    # Where AppArmor confines passt, the kernel takes back the death signal that would end them at once.
    with open_egress(files) as network:
        found = settled(network)
        assert process.send_signal(network.identity.pid, network.identity.start_time, signal.SIGKILL)
    assert_ended(network, found)


def _pasta_itself(network: Egress) -> ProcessStat | None:
    # For a moment its child looks the same.
    found = [member for member in tree_of(network.identity.pid) if member.parent == network.identity.pid]
    return found[0] if found and "pasta" in members(network) else None


@needs_network
def test_when_pasta_is_killed_while_it_starts_its_child_does_not_stay(files: NetworkFiles) -> None:
    with open_egress(files) as network:
        started = wait_until(lambda: _pasta_itself(network), timeout_s=ENDS_WITHIN_S, what="pasta to start")
        found = members(network)
        process.send_signal(started.pid, started.start_time, signal.SIGKILL)
        assert_ended(network, found)


@needs_network
@pytest.mark.parametrize("point", ["network.started", "network.ready"])
def test_when_the_caller_is_killed_everything_ends(point: str, files: NetworkFiles) -> None:
    code = (
        "from pathlib import Path\n"
        "from pyro_mcp.host.network import NetworkFiles, open_egress\n"
        f"files = NetworkFiles(Path({os.fspath(files.control)!r}), Path({os.fspath(files.log)!r}))\n"
        "with open_egress(files) as network: network.wait_ready()"
    )
    # What it left running would be found by the census after this test.
    assert run_python(code, env={"PYRO_FAULT_POINT": point}).returncode == -signal.SIGKILL


@needs_network
def test_an_exception_ends_the_network_at_once(files: NetworkFiles) -> None:
    network = open_egress(files)
    found = settled(network)
    with os.fdopen(os.dup(network.vmm_fd), "rb"):
        with pytest.raises(RuntimeError), network:
            raise RuntimeError
        assert_ended(network, found)


def _status_of(member: ProcessStat) -> dict[str, str]:
    lines = Path(f"/proc/{member.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@needs_network
@pytest.mark.parametrize("name", ["pasta", "passt"])
def test_what_handles_a_guests_packets_has_no_rights(name: str, files: NetworkFiles) -> None:
    with open_egress(files) as network:
        member = settled(network)[name]
        # It locks itself up last, before it looks at the first packet.
        wait_until(lambda: _status_of(member)["Seccomp"] == "2", timeout_s=ENDS_WITHIN_S, what="it to lock itself up")
        status = _status_of(member)
        assert status["NoNewPrivs"] == "1"
        assert "0" not in status["Uid"].split()
        # pasta keeps CAP_SYS_ADMIN and CAP_NET_BIND_SERVICE, in a user namespace that holds nothing but its own.
        assert int(status["CapEff"], 16) & ~0x200400 == 0
        if os.geteuid() == 0:
            # They forbid their own user to look.
            assert os.readlink(f"/proc/{member.pid}/ns/user") != os.readlink("/proc/self/ns/user")
            assert os.listdir(f"/proc/{member.pid}/root") == []


@needs_network
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start them as another user")
def test_each_network_of_root_has_a_user_of_its_own(tmp_path: Path) -> None:
    files = [NetworkFiles(tmp_path / f"control{number}", tmp_path / f"log{number}") for number in range(3)]
    with open_egress(files[0]) as one, open_egress(files[1]) as other, open_egress(files[2], user=1879048199) as named:
        users = [_status_of(settled(network)["passt"])["Uid"].split()[0] for network in (one, other, named)]
    assert users[2] == "1879048199"
    assert len(set(users) - {"0"}) == 3


@needs_network
def test_what_the_filter_complains_about_is_in_the_error(monkeypatch: pytest.MonkeyPatch, files: NetworkFiles) -> None:
    plan = egress.plan_egress

    def broken(surroundings: Surroundings, **options: Any) -> EgressPlan:
        planned = plan(surroundings, **options)
        return replace(planned, enforced=replace(planned.enforced, rules="table nonsense {"))

    monkeypatch.setattr(egress, "plan_egress", broken)
    with pytest.raises(PyroError, match="nonsense") as caught, open_egress(files) as network:
        network.wait_ready()
    assert caught.value.code is ErrorCode.PROGRAM_FAILED


@needs_network
def test_a_network_that_does_not_come_up_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, files: NetworkFiles
) -> None:
    monkeypatch.setattr(egress, "_IN_NAMESPACE", "echo stuck >&2; exec sleep 60")
    network = open_egress(files)
    wait_until(lambda: "sleep" in members(network), timeout_s=ENDS_WITHIN_S, what="it to be stuck")
    with pytest.raises(PyroError, match="network to be set up") as caught, network:
        network.wait_ready(0.05)
    assert caught.value.code is ErrorCode.TIMEOUT
    assert caught.value.details["tail"] == "stuck"


def test_a_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, files: NetworkFiles
) -> None:
    monkeypatch.setattr("pyro_mcp.host.programs.look_up", everything_but("passt"))
    with pytest.raises(PyroError, match="passt is not installed") as caught:
        open_egress(files)
    assert caught.value.code is ErrorCode.MISSING_PROGRAM
    assert "passt is not installed" in {problem.message.removeprefix("the program ") for problem in egress_problems()}


def test_a_host_without_the_tun_device_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: NetworkFiles
) -> None:
    monkeypatch.setattr("pyro_mcp.host.network.egress.TUN_DEVICE", str(tmp_path / "tun"))
    monkeypatch.setattr("pyro_mcp.host.programs.look_up", everything_but("nothing"))
    with pytest.raises(PyroError, match="has no") as caught:
        open_egress(files)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert "modprobe tun" in caught.value.hint


def test_a_tun_device_for_root_alone_is_explained_to_others(
    monkeypatch: pytest.MonkeyPatch, files: NetworkFiles
) -> None:
    monkeypatch.setattr("pyro_mcp.host.network.egress.TUN_DEVICE", "/dev/null")
    monkeypatch.setattr("pyro_mcp.host.programs.look_up", everything_but("nothing"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def access(path: str, mode: int) -> bool:
        return False

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(PyroError, match="this user may not open") as caught:
        open_egress(files)
    assert "chmod 0666" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "code", "remedy"),
    [
        ("unshare: unshare failed: Operation not permitted", ErrorCode.UNAVAILABLE, "unprivileged_userns"),
        ("Failed to open tun socket in namespace", ErrorCode.UNAVAILABLE, "modprobe tun"),
        ("No external routable interface for IPv4", ErrorCode.UNAVAILABLE, "--network"),
        ("Error: Could not process rule: No such file or directory", ErrorCode.UNAVAILABLE, "modprobe -a nf_tables"),
        ("something new", ErrorCode.PROGRAM_FAILED, ""),
        ("", ErrorCode.PROGRAM_FAILED, ""),
    ],
)
def test_what_the_programs_say_becomes_an_error_with_a_remedy(said: str, code: ErrorCode, remedy: str) -> None:
    error = explain_failure(said)
    assert error.code is code
    assert said in error.message
    assert remedy in error.hint
