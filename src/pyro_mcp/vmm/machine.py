"""A machine under a keeper: the part of `Machine` that all drivers share.

A process whose start time or boot id does not match the record is never signalled.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import cast

from pyro_mcp.host import durable, process
from pyro_mcp.host.console import console_end
from pyro_mcp.host.process import ProcessIdentity
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.transport import LaneTransport

QUIT_TIMEOUT_S = 2.0
TERM_TIMEOUT_S = 2.0
# From the VMM's end to the end of the keeper's clean-up: tail writes 64 KiB, rm removes a few files.
CLEAN_UP_TIMEOUT_S = 5.0


class KeptMachine:
    """A VMM, running or ended, and its keeper processes."""

    #: Whether the VMM has descendants that must be killed with it.
    has_tree = False

    def __init__(self, record: MachineRecord) -> None:
        self.record = record

    @property
    def transport(self) -> LaneTransport:
        """Return the transport to the agent."""
        return LaneTransport(Path(self.record.runtime_dir))

    def is_alive(self) -> bool:
        """Return whether the VMM is running."""
        record = self.record
        return ProcessIdentity(record.vmm_pid, record.vmm_start_time, record.boot_id).is_running()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait for the VMM and then its keeper's clean-up to end; return whether both have."""
        record = self.record
        if not self._is_of_this_boot():
            return True
        if not process.wait_for_exit(record.vmm_pid, record.vmm_start_time, timeout_s=timeout_s):
            return False
        return process.wait_for_exit(record.keeper_pid, record.keeper_start_time, timeout_s=CLEAN_UP_TIMEOUT_S)

    def shutdown(self, timeout_s: float) -> None:
        """End the machine in bounded steps; see `Machine.shutdown`."""
        ended = self.wait_for_end(timeout_s)
        if not ended and self._ask_to_quit(QUIT_TIMEOUT_S):
            ended = self.wait_for_end(QUIT_TIMEOUT_S)
        if not ended:
            process.send_signal(self.record.vmm_pid, self.record.vmm_start_time, signal.SIGTERM)
            ended = self.wait_for_end(TERM_TIMEOUT_S)
        # Even after a clean end: this removes what a killed keeper left behind.
        self._end_vmm()

    def kill(self) -> None:
        """Kill all processes of the machine."""
        try:
            self._end_vmm()
        finally:
            self._end_remover()

    def console_tail(self, max_bytes: int = 4096) -> str:
        """Return the end of the console, once the keeper has written it."""
        return console_end(Path(str(self.record.facts.get("console", ""))), max_bytes)

    def is_paused_on_error(self) -> bool:
        """Return whether the VMM paused the guest: by default, False."""
        return False

    def resume(self) -> bool:
        """Continue a paused guest; return whether it is running: by default, False."""
        return False

    def close(self) -> None:
        """Close this process's descriptors; by default there are none."""

    def _ask_to_quit(self, timeout_s: float) -> bool:
        """Ask the VMM to quit; return whether it was asked. By default it can't be."""
        del timeout_s
        return False

    def _is_of_this_boot(self) -> bool:
        return self.record.boot_id == process.boot_id()

    def _end_vmm(self) -> None:
        record = self.record
        try:
            if self._is_of_this_boot():
                # Only the VMM first: its keeper then writes the console and cleans up by itself.
                process.kill(record.vmm_pid, record.vmm_start_time, tree=self.has_tree)
                keeper = (record.keeper_pid, record.keeper_start_time)
                if not process.wait_for_exit(*keeper, timeout_s=CLEAN_UP_TIMEOUT_S):
                    process.kill(*keeper, tree=True)
                process.reap_detached()
        finally:
            for path in self._remove_at_end():
                durable.remove_tree(path)

    def _end_remover(self) -> None:
        pid, started = self.record.remover
        if pid and self._is_of_this_boot():
            process.kill(pid, started, tree=True)

    def _remove_at_end(self) -> list[Path]:
        paths = self.record.facts.get("remove_at_end")
        return [Path(str(path)) for path in cast("list[object]", paths)] if isinstance(paths, list) else []
