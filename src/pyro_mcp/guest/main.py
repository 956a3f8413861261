"""Start the agent: as PID 1 of a guest, or as a process on a host.

As PID 1 it never ends, whatever error comes up: the machine would go with it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence

from pyro_mcp.guest.console import log_exception
from pyro_mcp.protocol.loop import Loop


def main() -> None:
    """Be the first process of a guest."""
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
    # The agent's own objects make no cycles; looking for some would cost every clone.
    gc.disable()
    run(loop)


def serve_host(arguments: Sequence[str]) -> None:
    """Be the agent on a host: `--listen-fd N --root DIR [--baseline DIR]`.

    Without a baseline's directory, it is called so and stands beside the root.
    """
    from pyro_mcp.guest.compat import host_loop

    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    root = options["--root"]
    baseline = options.get("--baseline") or os.path.join(os.path.dirname(os.path.abspath(root)), "baseline")
    run(host_loop(int(options["--listen-fd"]), root, baseline, agent_digest()))


def run(loop: Loop) -> None:
    """Run the loop for ever; an error that nobody expected is shown on the console, and costs its event alone."""
    while loop.running:
        try:
            loop.run()
        except Exception:  # noqa: BLE001 - the top of the agent
            log_exception()


def agent_digest() -> str:
    """Return what tells this build of the agent from others: a digest of its sources."""
    import hashlib

    digest = hashlib.sha256()
    for package in ("guest", "guest/tasks", "protocol"):
        directory = _sources(package)
        for name in sorted(os.listdir(directory)):
            if name.endswith(".py"):
                with open(f"{directory}/{name}", "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()[:16]


def _sources(package: str) -> str:
    # Compiled modules name the place where their sources are shown to lie, which is where they do.
    here = os.path.dirname(os.path.dirname(agent_digest.__code__.co_filename))
    return f"{here}/{package}"
