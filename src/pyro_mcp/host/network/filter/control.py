"""Hand a network its rules, and replace them while it runs.

The rules, and the configurations of the programs that enforce them, are files in a directory of the VM, one folder per
generation. A shell script in the network's namespace loads a generation when it reads its number from a FIFO, and then
writes the number to the file `applied`.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host.durable import remove_tree
from pyro_mcp.host.network.filter.log import next_index
from pyro_mcp.host.network.filter.names import dnsmasq_config
from pyro_mcp.host.network.filter.proxy import haproxy_config, rule_maps
from pyro_mcp.host.network.filter.settings import named_sets
from pyro_mcp.host.network.filter.supervisor import SUPERVISE
from pyro_mcp.host.waiting import wait_until

if TYPE_CHECKING:
    from pyro_mcp.host.network.filter.settings import Enforced

#: The programs of a filtered network.
FILTER_PROGRAMS = ("haproxy", "dnsmasq")
FIRST_GENERATION = 1
_HELLO = Path(__file__).with_name("hello.lua")
_APPLY_TIMEOUT_S = 10.0
_MAX_REPLY_BYTES = 64


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """The directories of one VM's network.

    `control` lives as long as the VM, `log` holds what was tried and refused.
    """

    control: Path
    log: Path

    def prepare(self, enforced: Enforced, *, inside: str, owner: int | None) -> int:
        """Create the directories with the first generation, for a network that runs as the user `owner`.

        `inside` is the path of `control` as the network's processes see it. Returns the number of the first log file.
        """
        with os_errors(f"prepare {self.control}"):
            remove_tree(self.control)
            self.control.mkdir(mode=0o700)
            self.log.mkdir(mode=0o700, exist_ok=True)
            for name in ("control", "lines"):
                os.mkfifo(self.control / name, 0o600)
            (self.control / "supervise").write_text(SUPERVISE, encoding="ascii")
            _write_generation(self.control, FIRST_GENERATION, enforced, inside)
            index = next_index(self.log)
            if owner is not None:
                _give(self.control, owner)
                _give(self.log, owner)
        return index

    def apply(self, enforced: Enforced, *, inside: str, cut: bool) -> None:
        """Replace the rules of the running network. With `cut`, its connections end; otherwise they go on.

        Raises:
            PyroError: UNAVAILABLE if the network has ended or refuses the rules, TIMEOUT.
        """
        with os_errors(f"change the rules in {self.control}"):
            generation = 1 + max(int(path.name) for path in self.control.iterdir() if path.name.isdecimal())
            _write_generation(self.control, generation, enforced, inside)
            if cut and enforced.settings is not None:
                # Addresses of names that are no longer allowed; the guest asks for the others again.
                with (self.control / str(generation) / "rules").open("a", encoding="ascii") as rules:
                    rules.writelines(f"flush set inet pyro_egress {name}\n" for name in named_sets(enforced.settings))
            owner = self.control.stat().st_uid
            if owner != os.geteuid():
                _give(self.control / str(generation), owner)
        self._write("control", f"apply {generation} {'-st' if cut else '-sf'}\n")
        answers = (f"{generation}", f"failed {generation}")
        wait_until(lambda: self._applied() in answers, timeout_s=_APPLY_TIMEOUT_S, what="the network's new rules")
        if self._applied() != str(generation):
            raise PyroError(ErrorCode.UNAVAILABLE, "the network could not take its new rules, and keeps the old ones")

    def mark(self, mark: str) -> None:
        """Write a mark to the log, behind everything that was logged before.

        Raises:
            OSError, PyroError: UNAVAILABLE if the network has ended.
        """
        self._write("lines", f"mark {mark}\n")

    def _write(self, name: str, line: str) -> None:
        try:
            fd = os.open(self.control / name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in {errno.ENXIO, errno.ENOENT}:
                raise PyroError(ErrorCode.UNAVAILABLE, "the network has ended") from error
            raise
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def _applied(self) -> str:
        with suppress(OSError):
            fd = os.open(self.control / "applied", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.read(fd, _MAX_REPLY_BYTES).decode("ascii", "replace").strip()
            finally:
                os.close(fd)
        return ""


def _write_generation(control: Path, generation: int, enforced: Enforced, inside: str) -> None:
    folder = control / str(generation)
    folder.mkdir(mode=0o700)
    (folder / "rules").write_text(enforced.rules, encoding="ascii")
    settings = enforced.settings
    if settings is None:
        return
    place = f"{inside}/{generation}"
    files = {
        "dnsmasq.conf": dnsmasq_config(settings, enforced.resolvers, log=f"{inside}/lines"),
        "haproxy.cfg": haproxy_config(settings, directory=place, generation=generation, families=enforced.families),
        # HAProxy takes IPv4 addresses for ones of this network, and addresses of this network for IPv4 ones.
        "inside": "".join(f"{network}\n" for network in enforced.inside if str(network) != "::ffff:0:0/96"),
        "hello.lua": _HELLO.read_text(encoding="ascii"),
        **rule_maps(settings),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")


def _give(directory: Path, owner: int) -> None:
    """Give a directory and what is in it to a user, without following links that this user may have made."""
    for parent, folders, files, at in os.fwalk(directory, follow_symlinks=False):
        del parent
        for name in (*folders, *files):
            os.chown(name, owner, owner, dir_fd=at, follow_symlinks=False)
        os.fchown(at, owner, owner)
