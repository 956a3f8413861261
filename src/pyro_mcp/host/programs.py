"""The host programs that the product runs, and the packages that provide them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pyro_mcp.errors import ErrorCode, PyroError

OS_RELEASE = "/etc/os-release"
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class Packages(NamedTuple):
    """The package that provides one program, by package manager; empty if there is none."""

    apt: str
    dnf: str
    pacman: str
    apk: str
    zypper: str


PACKAGES: dict[str, Packages] = {
    "qemu-system-x86_64": Packages(
        "qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-system-x86_64", "qemu-x86"
    ),
    "mmdebstrap": Packages("mmdebstrap", "mmdebstrap", "mmdebstrap", "mmdebstrap", "mmdebstrap"),
    "apt-get": Packages("apt", "apt", "apt", "apt", "apt"),
    "dpkg": Packages("dpkg", "dpkg", "dpkg", "dpkg", "dpkg"),
    "mke2fs": Packages("e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    "passt": Packages("passt", "passt", "passt", "passt", "passt"),
    "pasta": Packages("passt", "passt", "passt", "passt", "passt"),
    "nft": Packages("nftables", "nftables", "nftables", "nftables", "nftables"),
    "ip": Packages("iproute2", "iproute", "iproute2", "iproute2", "iproute2"),
    "haproxy": Packages("haproxy", "haproxy", "haproxy", "haproxy", "haproxy"),
    "dnsmasq": Packages("dnsmasq-base", "dnsmasq", "dnsmasq", "dnsmasq", "dnsmasq"),
    "newuidmap": Packages("uidmap", "shadow-utils", "shadow", "shadow-uidmap", "shadow"),
    "bwrap": Packages("bubblewrap", "bubblewrap", "bubblewrap", "bubblewrap", "bubblewrap"),
    "setpriv": Packages("util-linux", "util-linux", "util-linux", "setpriv", "util-linux"),
    "timeout": Packages("coreutils", "coreutils", "coreutils", "coreutils", "coreutils"),
    "unshare": Packages("util-linux", "util-linux", "util-linux", "util-linux-misc", "util-linux"),
    "nsenter": Packages("util-linux", "util-linux", "util-linux", "util-linux-misc", "util-linux"),
    "zstd": Packages("zstd", "zstd", "zstd", "zstd", "zstd"),
    "lz4": Packages("lz4", "lz4", "lz4", "lz4", "lz4"),
    "diff": Packages("diffutils", "diffutils", "diffutils", "diffutils", "diffutils"),
    "git": Packages("git", "git", "git", "git", "git"),
    "runsc": Packages("runsc", "", "", "", ""),
}

# Programs that `make setup` and `doctor` require: without them no guest can be built, booted or connected.
REQUIRED = (
    "qemu-system-x86_64",
    "mmdebstrap",
    "mke2fs",
    "passt",
    "pasta",
    "nft",
    "ip",
    "haproxy",
    "dnsmasq",
    "newuidmap",
    "bwrap",
    "setpriv",
    "unshare",
    "nsenter",
    "lz4",
    "git",
)

# Required data files, with the package that provides each. On Debian this one is always installed.
REQUIRED_FILES = {
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

_COMMANDS = {
    "apt": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y",
    "pacman": "pacman -S --needed --noconfirm",
    "apk": "apk add",
    "zypper": "zypper install -y",
}
_FAMILIES = {
    "apt": {"debian", "ubuntu", "linuxmint", "raspbian", "pop", "kali", "devuan"},
    "dnf": {"fedora", "rhel", "centos", "rocky", "almalinux", "amzn"},
    "pacman": {"arch", "manjaro", "endeavouros"},
    "apk": {"alpine", "postmarketos"},
    "zypper": {"suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"},
}


def search_path() -> list[str]:
    """Return the directories in which programs are searched.

    An ordinary user's PATH on Debian lacks the directories of mke2fs and nft, so they are always appended.
    """
    found = [part for part in os.environ.get("PATH", _DEFAULT_PATH).split(os.pathsep) if os.path.isabs(part)]
    return found + [part for part in _SBIN if part not in found]


def look_up(name: str) -> Path | None:
    """Return the path of the program `name`, or None."""
    for directory in search_path():
        candidate = os.path.join(directory, name)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return Path(candidate)
    return None


def find_program(name: str) -> Path:
    """Return the path of the program `name`.

    Raises:
        PyroError: MISSING_PROGRAM, with the command that installs it on this distribution.
    """
    found = look_up(name)
    if found is None:
        raise missing_program(name)
    return found


def missing_program(name: str) -> PyroError:
    """Return the error for a program that is not installed."""
    command = install_command([name])
    hint = f"Install it with: {command}" if command else f"Install the package that provides {name} and try again."
    return PyroError(
        ErrorCode.MISSING_PROGRAM,
        f"the program {name} is not installed",
        hint=hint,
        details={"program": name},
    )


def missing(names: tuple[str, ...] = REQUIRED) -> list[str]:
    """Return the programs and required files that are not installed, in order."""
    absent = [name for name in names if look_up(name) is None]
    return absent + [path for path in REQUIRED_FILES if not os.path.exists(path)]


def packages_for(names: list[str], tool: str) -> list[str]:
    """Return the packages that provide the programs, for a package manager such as `apt`; each once, in order."""
    known = [getattr(PACKAGES[name], tool) for name in names if name in PACKAGES]
    known += [REQUIRED_FILES[name] for name in names if name in REQUIRED_FILES]
    return list(dict.fromkeys(package for package in known if package))


def install_command(names: list[str], *, os_release: str = OS_RELEASE) -> str:
    """Return the command that installs the programs on this distribution, or "" if it is not known."""
    tool = package_tool(os_release)
    packages = packages_for(names, tool) if tool else []
    if not packages:
        return ""
    prefix = "" if os.geteuid() == 0 else "sudo "
    return f"{prefix}{_COMMANDS[tool]} {' '.join(packages)}"


def read_os_release(os_release: str = OS_RELEASE) -> dict[str, str]:
    """Return the fields of os-release(5); none if the file does not exist."""
    fields: dict[str, str] = {}
    with suppress(OSError), open(os_release, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            fields[key] = value.strip("\"'")
    return fields


def package_tool(os_release: str = OS_RELEASE) -> str:
    """Return the package manager of this distribution (`apt`, `dnf`, `pacman`, `apk`, `zypper`), or ""."""
    fields = read_os_release(os_release)
    # ID_LIKE lists the closest relative first (os-release(5)).
    for name in [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]:
        for tool, family in _FAMILIES.items():
            if name in family:
                return tool
    return ""
