"""The processes that carry a guest's packets.

They are unprivileged, leave no files, and end with the VMM: passt ends when the VMM's end of its socket closes, and the
process namespace around all of them ends with any of them.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from contextlib import ExitStack, suppress
from typing import Self

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import process, programs
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.network.guest import GuestNetwork
from pyro_mcp.host.network.plan import EgressPlan, plan_egress
from pyro_mcp.host.network.surroundings import Surroundings
from pyro_mcp.host.waiting import Deadline

READY_TIMEOUT_S = 10.0
# Each connection of a guest takes a descriptor in pasta and one in passt.
MAX_DESCRIPTORS = 8192
# Unprivileged users of VMs whose VMM was started by root come from here; nothing else on a host does.
_FIRST_UID = 1879048192
_MAX_LOG_BYTES = 65536
# passt drops what the socket does not take, and each loss costs TCP a second or two: with the usual 208 KiB, a download
# falls from 100 to below 1 MB/s.
_SEND_BUFFER_BYTES = 2 * 1024 * 1024
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h

# Adds each address that the host gets while the network is up to the sets of the filter. It is subscribed before it
# lists those that there are by now; $1 are those that the filter has. `nsenter` may enter, since the namespace belongs
# to the same user. If it can't go on, it ends the network: better none than one that leads to the host.
_FOLLOW_ADDRESSES = """\
known=$1 nft=$2 own=$(readlink /proc/self/ns/net)
guest() {
	for process in /proc/[0-9]*; do
		read -r name <"$process/comm" && [ "$name" = sleep ] || continue
		[ "$(readlink "$process/ns/net")" != "$own" ] && echo "${process#/proc/}" && return
	done
}
add() {
	tries=100
	rule="add element inet pyro_egress $1 { $2 }"
	until nsenter --target "$(guest)" --user --net --preserve-credentials "$nft" "$rule"; do
		[ $((tries -= 1)) -gt 0 ] || return
		sleep 0.1
	done
}
{
	ip -o monitor address &
	tries=100
	until grep -q " 0 *$! *0*[1-9]" /proc/net/netlink || [ $((tries -= 1)) -eq 0 ]; do sleep 0.02; done
	ip -o address
	wait
} | while read -r _ _ family address _; do
	address=${address%%/*}
	case $family in
	inet) set=later_ipv4 ;;
	inet6) set=later_ipv6 ;;
	*) continue ;;
	esac
	case " $known " in
	*" $address "*) ;;
	*) add "$set" "$address" && known="$known $address" || break ;;
	esac
done 2>/dev/null
kill -KILL -1
"""
# Becomes pasta, within limits and unprivileged. As root, where only root may open /dev/net/tun (pasta does so as the
# unprivileged user), it first makes a node of the same device that nobody outside this mount namespace sees. setpriv
# comes last: a change of user clears the death signal.
_UNPRIVILEGED = """\
ulimit -c 0
ulimit -n "$1" 2>/dev/null
if [ "$2" = make-tun ]; then
	mount -t tmpfs -o mode=0755,size=16k,nosuid,noexec tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200 || exit 1
fi
user=$3 follow=$4 known=$5 nft=$6
shift 6
unprivileged() {
	[ "$user" ] || exec "$@"
	exec setpriv --reuid "$user" --regid "$user" --clear-groups --pdeathsig KILL -- "$@"
}
# Without our ends of its sockets and pipes, which tell by their end that the network is gone.
unprivileged /bin/sh -c "$follow" sh "$known" "$nft" </dev/null >/dev/null 2>&1 &
unprivileged "$@"
"""
# Runs in the namespace. pasta keeps only the standard streams open for its command, so passt's socket comes as stdin.
# passt writes its pid once it is set up: that is the sign that the network works. It leaves the user namespace for one
# of its own; `nsenter` finds the one that may change the filter by the process that sleeps.
_IN_NAMESPACE = """\
exec 3<&0 0</dev/null
sleep 2147483647 3<&- >/dev/null 2>&1 &
printf %s "$PYRO_EGRESS_RULES" | "$1" -f - || exit 1
unset PYRO_EGRESS_RULES
shift
exec "$@" --fd 3 --pid /proc/self/fd/1
"""


class Egress:
    """The running network of one guest.

    As a context manager: leaving it gives back this process's descriptors, and the network goes on for as long as the
    VMM holds its end; an exception ends the network.
    """

    def __init__(
        self,
        guest: GuestNetwork,
        child: process.Child,
        vmm_end: socket.socket,
        ready: int,
        log: socket.socket,
        resources: ExitStack,
    ) -> None:
        self.guest = guest
        self.identity = child.identity
        self._child = child
        self._vmm_end = vmm_end
        self._ready = ready
        self._log = log
        self._resources = resources
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close() if kind is None else self.kill()

    @property
    def vmm_fd(self) -> int:
        """Return the VMM's end: a connected stream socket, for `-netdev stream,addr.type=fd`.

        Frames that are sent before the network is ready wait in the socket. The process that starts the VMM hands it a
        copy; when the last copy is closed, the network ends.
        """
        return self._vmm_end.fileno()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until packets get through. Returns at once if they already did.

        Raises:
            PyroError: UNAVAILABLE or PROGRAM_FAILED with what pasta, nft or passt said; TIMEOUT.
        """
        if self._is_ready:
            return
        deadline = Deadline(timeout_s, "the guest's network to be set up")
        poller = select.poll()
        poller.register(self._ready, select.POLLIN)
        if not poller.poll(deadline.remaining_s() * 1000):
            raise deadline.error(tail=self._said)
        if not os.read(self._ready, 64):
            # End of file: every process that could have written it has ended.
            raise explain_failure(self._said())
        self._is_ready = True
        fault_point("network.ready")

    def kill(self) -> None:
        """End the network at once, and give back this process's descriptors."""
        try:
            self._child.kill()
        finally:
            self.close()

    def close(self) -> None:
        """Give back this process's descriptors."""
        self._resources.close()

    def _said(self) -> str:
        """Return what the processes have written to stderr so far."""
        said = b""
        with suppress(OSError):
            while len(said) < _MAX_LOG_BYTES and (more := self._log.recv(_MAX_LOG_BYTES, socket.MSG_DONTWAIT)):
                said += more
        lines = said.decode("utf-8", "replace").splitlines()
        # Debian 12's passt complains once for each line that a machine without syslog does not take.
        return "\n".join(line for line in lines if line.strip() and "to syslog" not in line)


def open_egress(
    *,
    private_networks: bool = False,
    user: int | None = None,
    surroundings: Surroundings | None = None,
) -> Egress:
    """Start the network of one guest and return at once; it is set up while the guest starts.

    The guest reaches what the host reaches, except loopback, link-local, metadata services, multicast and the host's
    own addresses; private ranges and the networks the host is in only with `private_networks`; of the host's name
    servers always port 53. As root, the processes run as `user` (by default one of their own). Hand `vmm_fd` to the
    VMM, then leave the context.

    Raises:
        PyroError: MISSING_PROGRAM; UNAVAILABLE if this host can't give a guest a network, and why.
    """
    found = {name: str(programs.find_program(name)) for name in PROGRAMS}
    check_tun()
    plan = plan_egress(surroundings or Surroundings.observe(), private_networks=private_networks)
    with ExitStack() as stack:
        with os_errors("make the sockets of a guest's network"):
            vmm_end, passt_end = (stack.enter_context(end) for end in socket.socketpair())
            log, log_end = (stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            ready, ready_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, ready)
        for end in (vmm_end, passt_end):
            _enlarge_send_buffer(end)
        # A full queue drops a message instead of holding up the network; nobody reads it after the start.
        log_end.setblocking(False)
        with ExitStack() as theirs:
            theirs.callback(os.close, ready_end)
            theirs.callback(passt_end.close)
            theirs.callback(log_end.close)
            as_root = os.geteuid() == 0
            owner = _own_user() if user is None and as_root else user
            if as_root and owner is not None:
                # passt reopens the pipe, by its name in /proc.
                os.fchown(ready_end, owner, owner)
            child = process.start(
                [*_confined(found, plan, owner if as_root else None), *_command(found, plan)],
                env={
                    "PATH": os.pathsep.join(programs.search_path()),
                    "LC_ALL": "C",
                    "PYRO_EGRESS_RULES": plan.rules,
                },
                cwd="/",
                stdin=passt_end.fileno(),
                stdout=ready_end,
                stderr=log_end.fileno(),
                detached=True,
                reports_to=ready,
            )
        stack.callback(child.close)
        fault_point("network.started")
        return Egress(plan.guest, child, vmm_end, ready, log, stack.pop_all())


def egress_problems() -> list[PyroError]:
    """Return what keeps this host from giving a guest a network, as far as looking shows. Starts nothing."""
    problems = missing_programs()
    for check in (check_tun, lambda: plan_egress(Surroundings.observe())):
        try:
            check()
        except PyroError as error:
            problems.append(error)
    return problems


def _confined(found: dict[str, str], plan: EgressPlan, user: int | None) -> list[str]:
    """Return what runs the rest unprivileged and in a process namespace of its own.

    The namespace is what ends all of it when one of them is killed: without it, Debian 12's pasta leaves its child
    behind where it fails or is killed while it starts, and any pasta leaves passt.
    """
    outside = [found["unshare"], "--pid", "--fork", "--kill-child", "--mount-proc"]
    tun, name = "", ""
    if user is None:
        outside += ["--user", "--map-current-user"]
    else:
        tun, name = "" if tun_is_open_to_all() else "make-tun", str(user)
    follow = [_FOLLOW_ADDRESSES, " ".join(plan.known), found["nft"]]
    return [*outside, "--", "/bin/sh", "-c", _UNPRIVILEGED, "sh", str(MAX_DESCRIPTORS), tun, name, *follow]


def _command(found: dict[str, str], plan: EgressPlan) -> list[str]:
    return [
        found["pasta"], *plan.pasta_arguments, "--",
        "/bin/sh", "-c", _IN_NAMESPACE, "sh", found["nft"],
        found["passt"], *plan.passt_arguments,
    ]  # fmt: skip


def _enlarge_send_buffer(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
    except PermissionError:
        # An ordinary user gets what net.core.wmem_max allows.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _own_user() -> int:
    return _FIRST_UID + (int.from_bytes(os.getrandom(4), "little") & 0xFFFFF)


TUN_DEVICE = "/dev/net/tun"
PROGRAMS = ("pasta", "passt", "nft", "ip", "unshare", "nsenter", "setpriv")

# Messages of the programs where the host is at fault.
_KNOWN_FAILURES = (
    (
        "no external routable interface",
        "this host has no network that a guest could use",
        "Connect the host to a network, or run the guest without --network.",
    ),
    (
        "unshare failed",
        "this host does not let programs make the namespaces that a guest's network needs",
        "Allow user namespaces: sysctl -a | grep -E 'unprivileged_userns|max_user_namespaces' shows what forbids them.",
    ),
    ("tun socket", f"{TUN_DEVICE} can't be used in a namespace", "As root, run modprobe tun."),
    (
        "could not process rule",
        "this host's kernel can't filter a guest's packets",
        "As root, run modprobe -a nf_tables nft_reject_inet nft_ct nft_masq.",
    ),
)


def missing_programs() -> list[PyroError]:
    """Return an error for each program that a guest's network needs and that is not installed."""
    return [programs.missing_program(name) for name in PROGRAMS if programs.look_up(name) is None]


def check_tun() -> None:
    """Check that this user can make the device through which a guest's packets go.

    Raises:
        PyroError: UNAVAILABLE.
    """
    try:
        is_device = stat.S_ISCHR(os.stat(TUN_DEVICE).st_mode)
    except OSError:
        is_device = False
    if not is_device:
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"this host has no {TUN_DEVICE}, through which a guest's network goes",
            hint="As root, run modprobe tun; in a container, start it with `--device /dev/net/tun`.",
        )
    if os.geteuid() != 0 and not os.access(TUN_DEVICE, os.R_OK | os.W_OK):
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"{TUN_DEVICE} may not be opened by this user",
            hint=f"As root, run chmod 0666 {TUN_DEVICE}, its usual mode: opening it gives nobody any rights.",
        )


def tun_is_open_to_all() -> bool:
    """Return whether any user may open the device."""
    return os.stat(TUN_DEVICE).st_mode & 0o006 == 0o006


def explain_failure(said: str) -> PyroError:
    """Make the error for a network that could not be set up, out of what the programs said."""
    for sign, message, hint in _KNOWN_FAILURES:
        if sign in said.lower():
            return PyroError(ErrorCode.UNAVAILABLE, f"{message}: {said}", hint=hint)
    return PyroError(ErrorCode.PROGRAM_FAILED, f"the guest's network could not be set up: {said or 'no reason given'}")
