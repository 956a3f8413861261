"""Checks for what keeps a host from giving a guest a network, and the errors that explain it."""

from __future__ import annotations

import os
import stat

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host import programs

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
