"""Watchers: small shell processes that stop a machine when its time to live expires.

They also lower the priority of a busy machine and restore it later, and continue a machine that was paused because the
host's disk was full.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.host import process, programs
from pyro_mcp.host.process import Child
from pyro_mcp.model.machine import MachineRecord

# How often it checks whether the machine is busy.
PERIOD_S = 5
SCRIPT = Path(__file__).with_name("watcher.sh")


def start_watcher(
    name: str, machine: MachineRecord, command: Sequence[str], *, after_s: float, disks: str | Path
) -> Child:
    """Start a detached process that runs `command` after `after_s` seconds to stop the machine (see watcher.sh).

    It also runs `command` when the file system of the directory `disks` was full and has room again.

    Raises:
        PyroError: UNAVAILABLE, MISSING_PROGRAM.
    """
    return process.start(
        [
            "/bin/sh",
            SCRIPT,
            str(max(1, math.ceil(after_s))),
            str(PERIOD_S),
            str(machine.vmm_pid),
            str(machine.vmm_start_time),
            disks,
            name,
            *command,
        ],
        # Nothing of the caller's environment: it may hold secrets, and PYTHONPATH or BASH_ENV would change what runs.
        env={"PATH": os.pathsep.join(programs.search_path())},
        cwd="/",
        umask=0o077,
        detached=True,
    )
