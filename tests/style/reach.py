"""Rules about what code may reach: processes, sleeps, mounts, broad excepts, foreign packages."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from tests.style.source import Finding, Rule, Source, called_name, imports, sample, uses

if TYPE_CHECKING:
    from collections.abc import Iterable

SLEEPS = {"time.sleep", "asyncio.sleep", "anyio.sleep"}
SPAWNS = re.compile(
    r"^(subprocess|multiprocessing|pty|_posixsubprocess)(\.|$)"
    r"|^os\.(kill|killpg|fork|forkpty|system|popen|posix_spawnp?|exec[lv]\w*|spawn\w+)$"
    r"|^signal\.pidfd_send_signal$"
)
# The guest has no host/process: it forks, and ends what it forked, in these modules alone.
GUEST_SPAWNERS = {"guest/processes/spawner.py"}
# Where an unexpected exception may be turned into an answer: the top of each surface, and of the agent.
SURFACE_TOPS = {"cli/main.py", "mcp_server/calls.py", "guest/main.py"}
DISK_PROGRAMS = {
    "mount", "umount", "losetup", "debugfs", "e2fsck", "fsck", "fsck.ext4", "tune2fs", "dumpe2fs", "resize2fs",
    "fuse2fs", "fuseext2", "guestfish", "guestmount", "qemu-nbd", "kpartx",
}  # fmt: skip
# Each package from outside has one home, so that nobody else pays for loading it.
HOMES = {
    "mcp": ("mcp_server/", "sdk/pyro.py"),  # the SDK names a type of it, and loads nothing
    "anyio": "mcp_server/",
    "packageurl": "workspace/presets/",
    "pydantic": "mcp_server/",
    "pyte": "workspace/shells/",
    "rich": "host/progress_bar.py",
    "tomlkit": "hosts/",
}


def _sleeps(source: Source) -> Iterable[Finding]:
    for line, name in uses(source):
        if name in SLEEPS:
            yield Finding(source.path, line, f"{name}: wait for something, with host.waiting")


def _spawns(source: Source) -> Iterable[Finding]:
    for line, name in uses(source):
        if SPAWNS.search(name):
            yield Finding(source.path, line, f"{name} belongs into host.process")


def _may_not_spawn(source: Source) -> bool:
    allowed = source.module.startswith("host/process/") or source.module in GUEST_SPAWNERS
    return source.is_product and not allowed


def _preexec(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield Finding(source.path, node.value.lineno, "preexec_fn can deadlock under threads")


def _broad_excepts(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(kind is None or called_name(kind) in {"Exception", "BaseException"} for kind in kinds)
        # Cleaning up and going on raising is not catching.
        if broad and not isinstance(node.body[-1], ast.Raise):
            yield Finding(source.path, node.lineno, "only the top of a surface catches everything")


def _touches_disks(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            program = node.value.split(" ")[0].rpartition("/")[2]
            if program in DISK_PROGRAMS:
                yield Finding(source.path, node.lineno, f"{program}: the host never mounts or parses a guest's disk")
        elif isinstance(node, ast.Attribute) and node.attr in {"mount", "umount", "umount2", "fsmount"}:
            yield Finding(source.path, node.lineno, f"{node.attr}: the host never mounts a guest's disk")


def _foreign_imports(source: Source) -> Iterable[Finding]:
    for line, name in imports(source):
        package = name.partition(".")[0]
        if package == "pyro_mcp" or package in sys.stdlib_module_names:
            continue
        home = HOMES.get(package)
        if home is None or not source.module.startswith(home):
            yield Finding(source.path, line, f"{package} may not be imported here")


def _guest_imports(source: Source) -> Iterable[Finding]:
    for line, name in imports(source):
        own = name.startswith(("pyro_mcp.guest", "pyro_mcp.protocol"))
        if not own and name.partition(".")[0] not in sys.stdlib_module_names:
            yield Finding(source.path, line, f"{name} is not in the initramfs")


RULES = (
    Rule(
        "nothing sleeps but host/waiting.py",
        lambda source: source.is_python and source.module != "host/waiting.py",
        _sleeps,
        bad=(
            sample("src/pyro_mcp/a.py", "import time\ntime.sleep(1)\n"),
            sample("tests/unit/test_a.py", "from time import sleep\nsleep(1)\n"),
            sample("src/pyro_mcp/a.py", "async def f():\n    await asyncio.sleep(1)\n"),
        ),
        good=(
            sample("src/pyro_mcp/host/waiting.py", "import time\ntime.sleep(1)\n"),
            sample("src/pyro_mcp/a.py", "import time\ntime.monotonic()\n"),
        ),
    ),
    Rule(
        "only host/process spawns and kills, and one module of the guest",
        _may_not_spawn,
        _spawns,
        bad=(
            sample("src/pyro_mcp/vmm/a.py", "import subprocess\n"),
            sample("src/pyro_mcp/vmm/a.py", "from subprocess import run\n"),
            sample("src/pyro_mcp/host/a.py", "import os\nos.kill(1, 9)\n"),
            sample("src/pyro_mcp/host/a.py", "from os import fork\n"),
            sample("src/pyro_mcp/guest/a.py", "import os\nos.execvpe('a', [], {})\n"),
            sample("src/pyro_mcp/a.py", "import signal\nsignal.pidfd_send_signal(3, 9)\n"),
        ),
        good=(
            sample("src/pyro_mcp/host/process/a.py", "import subprocess\n"),
            sample("src/pyro_mcp/guest/processes/spawner.py", "import os\nos.fork()\n"),
            sample("src/pyro_mcp/a.py", "import os\nos.getpid()\n"),
        ),
    ),
    Rule(
        "nothing runs between fork and exec",
        lambda source: source.is_product,
        _preexec,
        bad=(sample("src/pyro_mcp/host/process/a.py", "Popen([], preexec_fn=f)\n"),),
        good=(sample("src/pyro_mcp/host/process/a.py", "Popen([], umask=0)\n"),),
    ),
    Rule(
        "only the top of a surface catches everything",
        lambda source: source.is_product and source.module not in SURFACE_TOPS,
        _broad_excepts,
        bad=(
            sample("src/pyro_mcp/a.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
            sample("src/pyro_mcp/a.py", "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n"),
            sample("src/pyro_mcp/a.py", "try:\n    f()\nexcept:\n    pass\n"),
        ),
        good=(
            sample("src/pyro_mcp/a.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
            sample("src/pyro_mcp/a.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
            sample("src/pyro_mcp/cli/main.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
        ),
    ),
    Rule(
        "the host never mounts, repairs or parses a disk that a guest has written",
        lambda source: source.is_product and not source.is_guest,
        _touches_disks,
        bad=(
            sample("src/pyro_mcp/vmm/a.py", "run(['mount', disk])\n"),
            sample("src/pyro_mcp/vmm/a.py", "run(['/sbin/e2fsck', disk])\n"),
            sample("src/pyro_mcp/vmm/a.py", "run('debugfs -R ls')\n"),
            sample("src/pyro_mcp/vmm/a.py", "libc.mount(a, b)\n"),
        ),
        good=(
            sample("src/pyro_mcp/vmm/a.py", "run(['mke2fs', disk])\nx = 'a mount point'\n"),
            sample("src/pyro_mcp/guest/a.py", "libc.mount(a, b)\n"),
        ),
    ),
    Rule(
        "each package from outside has one home",
        lambda source: source.is_product,
        _foreign_imports,
        bad=(
            sample("src/pyro_mcp/sdk/a.py", "import pydantic\n"),
            sample("src/pyro_mcp/mcp_server/a.py", "import requests\n"),
            sample("src/pyro_mcp/cli/a.py", "def f():\n    from rich.console import Console\n"),
        ),
        good=(sample("src/pyro_mcp/mcp_server/a.py", "import json\nfrom pydantic import BaseModel\n"),),
    ),
    Rule(
        "guest and protocol need the standard library alone",
        lambda source: source.module.startswith(("guest/", "protocol/")),
        _guest_imports,
        bad=(
            sample("src/pyro_mcp/guest/a.py", "from pyro_mcp.errors import PyroError\n"),
            sample("src/pyro_mcp/protocol/a.py", "import typing_extensions\n"),
        ),
        good=(sample("src/pyro_mcp/guest/a.py", "import os\nfrom pyro_mcp.protocol import frames\n"),),
    ),
)
