"""Start the agent: as PID 1 of a guest, or as a process on a host.

As PID 1 it never exits, whatever error occurs: the kernel would panic.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

from pyro_mcp.guest.console import log_exception
from pyro_mcp.protocol.loop import Loop


def main() -> None:
    """Run as the first process of a guest."""
    from pyro_mcp.guest import syscalls
    from pyro_mcp.guest.operations import Operations
    from pyro_mcp.guest.system import boot
    from pyro_mcp.guest.system.network import raise_loopback
    from pyro_mcp.guest.system.virtual import VirtualMachine

    boot.mount_kernel_file_systems()
    boot.protect_agent()
    syscalls.keep_freed_memory()
    loop = Loop()
    machine = VirtualMachine(loop)
    operations = Operations(machine, agent_digest=agent_digest())
    machine.lanes = boot.Lanes(loop, operations)
    boot.load_modules()
    raise_loopback()
    boot.listen_on_vsock(loop, operations)
    machine.lanes.open_ports()
    # The agent creates no reference cycles, and each collection would cost every clone memory and time.
    gc.disable()
    run(loop)


def serve_host(arguments: Sequence[str]) -> None:
    """Run on a host, with the arguments `--listen-fd N --root DIR [--baseline DIR]`.

    The default baseline is the directory `baseline` next to the root.
    """
    from pyro_mcp.guest.compat import host_loop

    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    root = options["--root"]
    baseline = options.get("--baseline") or os.path.join(os.path.dirname(os.path.abspath(root)), "baseline")
    run(host_loop(int(options["--listen-fd"]), root, baseline, agent_digest()))


def run(loop: Loop) -> None:
    """Run the loop forever; an unexpected error is logged on the console and affects only its own event."""
    while loop.running:
        try:
            loop.run()
        except Exception:  # noqa: BLE001 - the top of the agent
            log_exception()


def agent_digest() -> str:
    """Return an identifier of this build of the agent: a digest of its sources."""
    # In a guest there is no `__file__`, but compiled modules are given the path where their sources are shipped.
    return source_digest(os.path.dirname(os.path.dirname(agent_digest.__code__.co_filename)))


def source_digest(package: str) -> str:
    """Return a digest of the agent's modules below the directory of the package `pyro_mcp`."""
    import hashlib

    digest = hashlib.sha256()
    for part in ("guest", "protocol"):
        for directory, subdirectories, names in os.walk(f"{package}/{part}"):
            subdirectories.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    with open(f"{directory}/{name}", "rb") as file:
                        digest.update(file.read())
    return digest.hexdigest()[:16]
