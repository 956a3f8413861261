"""Start the processes that carry a guest's packets.

They are unprivileged, leave no files, and end with the VMM: passt ends when the VMM closes its socket, and if any of
them ends, so does the PID namespace that contains all of them.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import process, programs
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.network.filter.control import FILTER_PROGRAMS, NetworkFiles
from pyro_mcp.host.network.filter.settings import FilterSettings
from pyro_mcp.host.network.guest import GuestNetwork
from pyro_mcp.host.network.plan import MTU_BYTES, EgressPlan, plan_egress
from pyro_mcp.host.network.surroundings import Surroundings
from pyro_mcp.host.waiting import Deadline

if TYPE_CHECKING:
    from ipaddress import IPv4Network

READY_TIMEOUT_S = 10.0
# Each connection of a guest needs a descriptor in pasta and one in passt.
MAX_DESCRIPTORS = 8192
# The range of uids for VMs started by root; no distribution assigns them.
_FIRST_UID = 1879048192
_MAX_LOG_BYTES = 65536
# passt drops frames that the socket does not accept, and each loss costs TCP a second or two: with the usual 208 KiB, a
# download falls from 100 to below 1 MB/s.
_SEND_BUFFER_BYTES = 2 * 1024 * 1024
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h

# The addresses of the link between the two namespaces: outer end, inner end, prefix length, flags. 192.0.0.0/29 is set
# aside for links that no host sees (RFC 7335); guests never need it. The loopback of the inner namespace is down, and a
# packet to an address of that kind would leave it, to be dropped without an answer.
_LINK = (
    ("192.0.0.1", "192.0.0.2", 29, "", ("127.0.0.0/8",)),
    ("fd70:7972:6f:1::1", "fd70:7972:6f:1::2", 64, "nodad", ("::/96", "::ffff:0:0/96")),
)

# Where root mounts the directories of a network for its processes.
_MOUNTED = "/dev/shm"  # noqa: S108 - a mount of its own
# Adds addresses that the host is assigned while the network is up to the filter's sets. It subscribes before it lists
# the current addresses; $1 are those already in the filter. `nsenter` may enter the namespace, which belongs to the
# same user. If this process can't continue, it ends the network, which could otherwise reach the host.
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
# Executes pasta, with limits and unprivileged. If only root may open /dev/net/tun, root first creates a node of the
# same device in this mount namespace, since pasta opens it as the unprivileged user. The network's directories, which
# that user can't reach by their paths, are mounted where nothing else is needed. setpriv comes last, because a change
# of user clears the parent death signal.
_UNPRIVILEGED = """\
ulimit -c 0
ulimit -n "$1" 2>/dev/null
if [ "$2" = make-tun ]; then
	mount -t tmpfs -o mode=0755,size=16k,nosuid,noexec tmpfs /dev/net && mknod -m 0666 /dev/net/tun c 10 200 || exit 1
fi
user=$3 follow=$4 known=$5 nft=$6
if [ "$user" ]; then
	mount -t tmpfs -o mode=0755,size=16k,nosuid,nodev,noexec tmpfs /dev/shm && cd /dev/shm && mkdir control log &&
		mount --bind "$7" control && mount --bind "$8" log && cd / || exit 1
fi
shift 8
unprivileged() {
	[ "$user" ] || exec "$@"
	exec setpriv --reuid "$user" --regid "$user" --clear-groups --pdeathsig KILL -- "$@"
}
# Without our sockets and pipes: an open copy would hide the end of the network.
unprivileged /bin/sh -c "$follow" sh "$known" "$nft" </dev/null >/dev/null 2>&1 &
unprivileged "$@"
"""
# Runs in the namespace. pasta keeps only the standard streams open for its command, so passt's socket is passed as
# stdin. passt writes its pid when it is ready, which shows that the network works. passt moves to a user namespace of
# its own, so `nsenter` finds the one that may change the filter through the sleeping process.
_IN_NAMESPACE = """\
exec 3<&0 0</dev/null
sleep 2147483647 3<&- >/dev/null 2>&1 &
export HOLDER=$!
echo 1 >/proc/sys/net/ipv4/ip_forward
[ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
control=$1 nft=$3 inner=$6
"$nft" -f "$control/1/rules" || exit 1
/bin/sh "$control/supervise" "$control" "$2" "$7" "$nft" "$4" "$5" 3<&- </dev/null >/dev/null &
export CONTROL=$control
shift 7
exec 4</proc/self/ns/net
exec unshare --net -- /bin/sh -c "$inner" sh "$@"
"""
# Runs in the inner namespace, whose only way out is through the packet filter of the outer one.
_INNER = f"""\
echo "0 0" 2>/dev/null >/proc/sys/net/ipv4/ping_group_range
ip -batch - <<-END || exit 1
	link add up0 mtu {MTU_BYTES} type veth peer name in0 mtu {MTU_BYTES} netns $HOLDER
END
nsenter --net=/proc/self/fd/4 -- ip -batch - <<-END || exit 1
	$OUTER_END
	link set in0 up
END
ip -batch - <<-END || exit 1
	$INNER_END
	link set up0 up
	$INNER_ROUTES
END
exec 4<&-
tries=1000
until [ -s "$CONTROL/applied" ]; do
	[ -d "$CONTROL" ] && [ $((tries -= 1)) -gt 0 ] || exit 1
	sleep 0.01
done
unset HOLDER CONTROL OUTER_END INNER_END INNER_ROUTES
exec "$@" --fd 3 --pid /proc/self/fd/1
"""


class Egress:
    """The running network of one guest.

    As a context manager it closes this process's descriptors at the end of the block; the network continues as long as
    the VMM keeps its end open. If the block raises, the network is ended.
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

        Frames sent before the network is ready are buffered in the socket. When the last copy of the descriptor is
        closed, the network ends.
        """
        return self._vmm_end.fileno()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the network carries packets. Returns immediately once it does.

        Raises:
            PyroError: UNAVAILABLE or PROGRAM_FAILED with the messages of pasta, nft or passt; TIMEOUT.
        """
        if self._is_ready:
            return
        deadline = Deadline(timeout_s, "the guest's network to be set up")
        poller = select.poll()
        poller.register(self._ready, select.POLLIN)
        if not poller.poll(deadline.remaining_s() * 1000):
            raise deadline.error(tail=self._messages)
        if not os.read(self._ready, 64):
            # End of file: every process that could have written it has ended.
            raise explain_failure(self._messages())
        self._is_ready = True
        fault_point("network.ready")

    def kill(self) -> None:
        """Kill the network's processes, and close this process's descriptors."""
        try:
            self._child.kill()
        finally:
            self.close()

    def close(self) -> None:
        """Close this process's descriptors."""
        self._resources.close()

    def _messages(self) -> str:
        """Return what the processes have written to stderr so far."""
        output = b""
        with suppress(OSError):
            while len(output) < _MAX_LOG_BYTES and (more := self._log.recv(_MAX_LOG_BYTES, socket.MSG_DONTWAIT)):
                output += more
        lines = output.decode("utf-8", "replace").splitlines()
        # Without syslog, Debian 12's passt reports an error for every line that it tries to log.
        return "\n".join(line for line in lines if line.strip() and "to syslog" not in line)


def open_egress(
    files: NetworkFiles,
    *,
    settings: FilterSettings | None = None,
    private_networks: bool = False,
    user: int | None = None,
    surroundings: Surroundings | None = None,
) -> Egress:
    """Start the network of one guest and return immediately; it is set up while the guest starts.

    The guest can reach everything that the host can reach, except loopback, link-local, metadata services, multicast
    and the host's own addresses; private ranges and the host's local networks only with `private_networks`; port 53 of
    the host's name servers always. With `settings` it reaches only the hosts that they allow. As root, the processes
    run as `user` (by default an unused uid). Pass `vmm_fd` to the VMM, then leave the context.

    Raises:
        PyroError: MISSING_PROGRAM; UNAVAILABLE, with the reason, if this host can't provide a network for a guest.
    """
    found = {name: str(programs.find_program(name)) for name in PROGRAMS}
    found |= {name: str(programs.find_program(name)) for name in FILTER_PROGRAMS if settings is not None}
    check_tun()
    plan = plan_egress(surroundings or Surroundings.observe(), private_networks=private_networks, settings=settings)
    as_root = os.geteuid() == 0
    owner = _own_user() if user is None and as_root else user
    first_log = files.prepare(plan.enforced, inside=inside(files), owner=owner if as_root else None)
    with ExitStack() as stack:
        with os_errors("create the sockets of a guest's network"):
            vmm_end, passt_end = (stack.enter_context(end) for end in socket.socketpair())
            log, log_end = (stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            ready, ready_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, ready)
        for end in (vmm_end, passt_end):
            _enlarge_send_buffer(end)
        # Non-blocking, so that a full queue drops messages rather than blocking the network: after the start it is not
        # read.
        log_end.setblocking(False)
        with ExitStack() as theirs:
            theirs.callback(os.close, ready_end)
            theirs.callback(passt_end.close)
            theirs.callback(log_end.close)
            if as_root and owner is not None:
                # passt reopens the pipe through /proc.
                os.fchown(ready_end, owner, owner)
            child = process.start(
                [*_confined(found, plan, files, owner if as_root else None), *_command(found, plan, files, first_log)],
                env=_environment(plan),
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


def change_egress(
    files: NetworkFiles, *, settings: FilterSettings | None, subnet: IPv4Network | None, cut: bool
) -> None:
    """Replace the rules of a running network. With `cut`, its connections end; otherwise they go on.

    Raises:
        PyroError: UNAVAILABLE if the network has ended, MISSING_PROGRAM, TIMEOUT.
    """
    if settings is not None:
        for name in FILTER_PROGRAMS:
            programs.find_program(name)
    plan = plan_egress(Surroundings.observe(), settings=settings, subnet=subnet)
    files.apply(plan.enforced, inside=inside(files), cut=cut)


def egress_problems() -> list[PyroError]:
    """Return the problems that keep this host from providing a network for a guest, without starting anything."""
    problems = missing_programs()
    for check in (check_tun, lambda: plan_egress(Surroundings.observe())):
        try:
            check()
        except PyroError as error:
            problems.append(error)
    return problems


def inside(files: NetworkFiles) -> str:
    """Return the path of the control directory as the network's processes see it."""
    return f"{_MOUNTED}/control" if os.geteuid() == 0 else os.fspath(files.control)


def _confined(found: dict[str, str], plan: EgressPlan, files: NetworkFiles, user: int | None) -> list[str]:
    """Return the command prefix that runs the rest unprivileged and in its own PID namespace.

    The namespace ensures that all processes end when one of them is killed: otherwise, Debian 12's pasta leaves its
    child behind if it fails or is killed during its start, and every version leaves passt behind.
    """
    outside = [found["unshare"], "--pid", "--fork", "--kill-child", "--mount-proc"]
    tun, name = "", ""
    if user is None:
        outside += ["--user", "--map-current-user"]
    else:
        tun, name = "" if tun_is_open_to_all() else "make-tun", str(user)
    follow = [_FOLLOW_ADDRESSES, " ".join(plan.known), found["nft"]]
    follow += [os.fspath(files.control), os.fspath(files.log)]
    return [*outside, "--", "/bin/sh", "-c", _UNPRIVILEGED, "sh", str(MAX_DESCRIPTORS), tun, name, *follow]


def _command(found: dict[str, str], plan: EgressPlan, files: NetworkFiles, first_log: int) -> list[str]:
    log = f"{_MOUNTED}/log" if os.geteuid() == 0 else os.fspath(files.log)
    return [
        found["pasta"], *plan.pasta_arguments, "--",
        "/bin/sh", "-c", _IN_NAMESPACE, "sh",
        inside(files), log,
        found["nft"], found.get("dnsmasq", "dnsmasq"), found.get("haproxy", "haproxy"),
        _INNER, str(first_log),
        found["passt"], *plan.passt_arguments,
    ]  # fmt: skip


def _environment(plan: EgressPlan) -> dict[str, str]:
    # dnsmasq logs local times.
    return {"PATH": os.pathsep.join(programs.search_path()), "LC_ALL": "C", "TZ": "UTC0", **_link(plan.guest)}


def _link(guest: GuestNetwork) -> dict[str, str]:
    """Return the commands of ip(8) that configure both ends of the link between the namespaces."""
    families = [family for family, own in zip(_LINK, (guest.ipv4, guest.ipv6), strict=True) if own is not None]
    routes = [
        line
        for outer, _, _, _, nowhere in families
        for line in (f"route add default via {outer}", *(f"route add prohibit {network}" for network in nowhere))
    ]
    return {
        "OUTER_END": "\n".join(f"address add {outer}/{bits} dev in0 {flags}" for outer, _, bits, flags, _ in families),
        "INNER_END": "\n".join(f"address add {inner}/{bits} dev up0 {flags}" for _, inner, bits, flags, _ in families),
        "INNER_ROUTES": "\n".join(routes),
    }


def _enlarge_send_buffer(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
    except PermissionError:
        # An ordinary user is limited by net.core.wmem_max.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _own_user() -> int:
    return _FIRST_UID + (int.from_bytes(os.getrandom(4), "little") & 0xFFFFF)


TUN_DEVICE = "/dev/net/tun"
PROGRAMS = ("pasta", "passt", "nft", "ip", "unshare", "nsenter", "setpriv")

# Messages of the programs that indicate a problem of the host.
_KNOWN_FAILURES = (
    (
        "no external routable interface",
        "this host has no network that a guest could use",
        "Connect the host to a network, or run the guest without --network.",
    ),
    (
        "unshare failed",
        "this host does not allow the namespaces that a guest's network needs",
        "Allow user namespaces: sysctl -a | grep -E 'unprivileged_userns|max_user_namespaces' shows the settings.",
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
    """Check that this user can create the tun device that carries a guest's packets.

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
            f"this host has no {TUN_DEVICE}, which a guest's network needs",
            hint="As root, run modprobe tun; in a container, start it with `--device /dev/net/tun`.",
        )
    if os.geteuid() != 0 and not os.access(TUN_DEVICE, os.R_OK | os.W_OK):
        raise PyroError(
            ErrorCode.UNAVAILABLE,
            f"this user may not open {TUN_DEVICE}",
            hint=f"As root, run chmod 0666 {TUN_DEVICE}, its usual mode: opening it grants no privileges.",
        )


def tun_is_open_to_all() -> bool:
    """Return whether any user may open the device."""
    return os.stat(TUN_DEVICE).st_mode & 0o006 == 0o006


def explain_failure(output: str) -> PyroError:
    """Return the error for a network that could not be set up, given the programs' messages."""
    for sign, message, hint in _KNOWN_FAILURES:
        if sign in output.lower():
            return PyroError(ErrorCode.UNAVAILABLE, f"{message}: {output}", hint=hint)
    reason = output or "no reason given"
    return PyroError(ErrorCode.PROGRAM_FAILED, f"the guest's network could not be set up: {reason}")
