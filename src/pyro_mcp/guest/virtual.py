"""The agent's machine when it is a virtual one.

Owns the steps from a booted kernel to a guest that runs commands: `prepare` at template time, `configure` after a
restore, `power_off` at the end. Refuses to do in `configure` what `prepare` could have done.
"""

from __future__ import annotations

import gc
import os
import select
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest import environment, names, syscalls, workload
from pyro_mcp.guest.network import configure_network
from pyro_mcp.guest.process import launch
from pyro_mcp.guest.spawner import RefusalError
from pyro_mcp.guest.zygote import ZygoteLauncher
from pyro_mcp.protocol import wire

if TYPE_CHECKING:
    from pyro_mcp.guest.boot import Lanes
    from pyro_mcp.guest.loop import Loop
    from pyro_mcp.guest.spawner import Command
    from pyro_mcp.protocol.documents import Document

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What most first commands need is read into memory once, in the template.
_REHEARSALS = ((["/bin/sh", "-c", "true"], 2), (["/usr/bin/env", "true"], 1), (["/usr/bin/python3", "-c", "pass"], 1))
_REHEARSAL_MS = 20_000


class VirtualMachine:
    """A guest, with the agent as its PID 1."""

    features = ("exec", "network", "power")

    def __init__(self, loop: Loop) -> None:
        self.launcher = ZygoteLauncher(self._enter_workload)
        self.environment = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"}
        self.lanes: Lanes | None = None
        self._loop = loop
        self._names = names.Names()
        self._namespaces: workload.Namespaces | None = None
        self._flavour = ""
        workload.make_cgroups()

    def prepare(self, document: Document) -> Document:
        """Mount what every clone mounts, and rehearse a few commands so that what they need is in memory."""
        flavour = document.get("flavour")
        if flavour not in (wire.FRESH, wire.ATTACH) or self._flavour:
            raise RefusalError(wire.BAD_REQUEST, f"can't prepare for {flavour!r} after {self._flavour!r}")
        environment.mount_base()
        if flavour == wire.FRESH:
            environment.mount_root()
            for argv, times in _REHEARSALS:
                for _ in range(times):
                    self._rehearse((argv, self.environment, environment.WORKSPACE, False))
            self.launcher.replenish()
        self._flavour = cast("str", flavour)
        if self.lanes is not None:
            self.lanes.stop_looking()
        os.sync()
        # What is here now stays; scanning it again would copy every page of it in each clone.
        gc.collect()
        gc.freeze()
        return {}

    def configure(self, document: Document) -> Document:
        """Become one particular guest, random numbers first."""
        root = document.get("root", wire.ROOT_MOUNTED)
        if not self._flavour or (root == wire.ROOT_MOUNTED) != (self._flavour == wire.FRESH):
            raise RefusalError(wire.CONFLICT, f"a template of flavour {self._flavour!r} can't have its root {root!r}")
        try:
            entropy = bytes.fromhex(names.text_of(document, "entropy"))
        except ValueError:
            raise RefusalError(wire.BAD_REQUEST, "entropy is not hexadecimal") from None
        self._names.reseed(entropy)
        self._names.set_hostname(names.text_of(document, "hostname"))
        self._names.set_machine_id(names.text_of(document, "machine_id"))
        network = document.get("network")
        if network is not None:
            self._names.set_resolvers(names.texts_of(cast("Document", network), "dns"))
            configure_network(cast("Document", network))
        if root == wire.ROOT_ATTACH:
            environment.mount_root()
        return {}

    def directory(self, cwd: str) -> str:
        """Return `cwd`: the workload's directories are its own."""
        return cwd

    def set_clock(self, clock_ns: int) -> None:
        """Set the clock."""
        names.set_clock(clock_ns)

    def sync(self) -> None:
        """Put on the disks what is not there yet."""
        os.sync()

    def power_off(self) -> None:
        """Kill the workload, leave the disks clean, and switch off when the answer is out."""
        self.launcher.kill_all()
        if self._namespaces is not None:
            self._namespaces.end()
            self._namespaces = None
        if self._flavour:
            environment.unmount_all()
        os.sync()
        self._loop.later(syscalls.power_off)

    def _enter_workload(self) -> workload.Namespaces:
        if self._namespaces is not None and self._namespaces.has_ended():
            self._namespaces.end()
            self._namespaces = None
        if self._namespaces is None:
            self._namespaces = workload.Namespaces(environment.assemble)
        return self._namespaces

    def _rehearse(self, command: Command) -> None:
        process = self.launcher.take()
        launch(process, command)
        poll = select.poll()
        poll.register(process.exit_fd, select.POLLIN)
        if not poll.poll(_REHEARSAL_MS):
            process.kill()
        process.close()
