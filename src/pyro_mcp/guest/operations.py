"""Handle the host's requests other than commands. Nothing runs before `configure`."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, cast

from pyro_mcp.guest.refusal import RefusalError
from pyro_mcp.guest.services.operations import Services
from pyro_mcp.guest.shells.operations import Shells
from pyro_mcp.protocol import wire
from pyro_mcp.protocol.documents import decode_trusted, encode_document

if TYPE_CHECKING:
    from pyro_mcp.guest.machine import Machine
    from pyro_mcp.protocol.documents import Document

_CONFIGURE = struct.Struct(wire.CONFIGURE_FORMAT)
# A smaller difference may be due to the request's own latency.
_CLOCK_TOLERANCE_NS = 200_000_000


class Operations:
    """The agent's operations on one machine."""

    def __init__(self, machine: Machine, *, agent_digest: str) -> None:
        self.machine = machine
        self.configured = False
        #: The guest only serves an inspection of its disks: no command runs.
        self.inspecting = False
        self.shells = Shells(machine)
        self.services = Services(machine)
        self._agent_digest = agent_digest
        self._ready: bytes = b""
        self._table = {
            wire.PING: self._ping,
            wire.PREPARE: self._prepare,
            wire.SYNC: self._sync,
            wire.POWEROFF: self._power_off,
            wire.KEEP: self._keep_secret,
        }

    def ready(self) -> bytes:
        """Return the body of READY, which is rebuilt only when it changes."""
        if not self._ready:
            document: Document = {
                "generation": wire.GENERATION,
                "agent": self._agent_digest,
                "features": list(self.machine.features),
                "configured": self.configured,
            }
            self._ready = encode_document(document)
        return self._ready

    def greet(self, clock_ns: int) -> None:
        """Set the clock if it is wrong: the guest may have been suspended. 0 leaves it alone.

        Before `configure` the time is ignored: it may have been sent during boot, and `configure` sends it again.
        """
        if self.configured:
            self._set_clock(clock_ns)

    def perform(self, document: Document) -> Document:
        """Perform a request.

        Raises:
            RefusalError: if it can't be performed.
            OSError: if a system call failed.
        """
        operation = self._table.get(cast("str", document.get("op")))
        if operation is None:
            raise RefusalError(wire.UNSUPPORTED, f"the agent does not know the operation {document.get('op')!r}")
        return operation(document)

    def configure(self, body: bytes) -> None:
        """Apply a CONFIGURE frame. Only one is accepted.

        Raises:
            RefusalError, OSError: if it can't be applied.
        """
        if self.configured:
            raise RefusalError(wire.CONFLICT, "the guest is already configured")
        clock_ns, entropy, machine_id, name_length = _CONFIGURE.unpack_from(body)
        end = _CONFIGURE.size + name_length
        self._set_clock(clock_ns)
        rest = decode_trusted(body[end:]) if len(body) > end else {}
        self.machine.configure(entropy, body[_CONFIGURE.size : end], machine_id, rest)
        self.configured = True
        self.inspecting = rest.get(wire.INSPECT) is True
        self._ready = b""

    def _set_clock(self, clock_ns: int) -> None:
        if clock_ns and abs(clock_ns - time.time_ns()) > _CLOCK_TOLERANCE_NS:
            self.machine.set_clock(clock_ns)

    def _ping(self, document: Document) -> Document:
        del document
        return {}

    def _prepare(self, document: Document) -> Document:
        if self.configured:
            raise RefusalError(wire.CONFLICT, "prepare comes before configure")
        return self.machine.prepare(document)

    def _sync(self, document: Document) -> Document:
        del document
        self.machine.sync()
        return {}

    def _keep_secret(self, document: Document) -> Document:
        if not self.configured:
            raise RefusalError(wire.NOT_CONFIGURED, "secrets can't be stored before configure")
        self.machine.keep_secret(document)
        return {}

    def _power_off(self, document: Document) -> Document:
        del document
        self.machine.power_off()
        return {}
