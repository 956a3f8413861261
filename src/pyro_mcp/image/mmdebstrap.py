"""Create Debian root trees with mmdebstrap.

The mirror is mmdebstrap's default, unless `PYRO_DEBIAN_MIRROR` is set.
"""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.host.programs import search_path

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.host.progress import Progress
    from pyro_mcp.image.namespace import Namespace

MIRROR_VARIABLE = "PYRO_DEBIAN_MIRROR"
_TIMEOUT_S = 3600.0
_TAIL_LINES = 40
# The progress when mmdebstrap reports the start of a step, as measured for debian:12.
_STEPS = (
    ("running apt-get update", "update", 0.02),
    ("downloading packages", "download", 0.10),
    ("extracting archives", "extract", 0.20),
    ("installing essential packages", "install", 0.45),
    ("installing remaining packages", "install", 0.65),
    ("cleaning package lists", "clean", 0.97),
)
_MARK = "pyro-package: "
# Packages that are only unpacked are in no database, but their file names are NAME_VERSION_ARCHITECTURE.deb.
_LIST_UNPACKED = f'cd "$1/var/cache/apt/archives" && for deb in *.deb; do echo "{_MARK}${{deb%_*}}"; done'
_LIST_INSTALLED = f"""dpkg-query --root="$1" -W -f '{_MARK}${{Package}}_${{Version}}\\n'"""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The specification of a tree. `hook` and `options` are run by shell and apt: they come from package data only."""

    suite: str
    variant: str
    packages: tuple[str, ...]
    apt_options: tuple[str, ...] = ()
    dpkg_options: tuple[str, ...] = ()
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The packages installed by a run, with their versions, and the version of mmdebstrap itself."""

    packages: dict[str, str]
    tool: str


def bootstrap(namespace: Namespace, spec: Bootstrap, target: Path, progress: Progress) -> Result:
    """Create the tree `target`, which must not exist yet.

    Raises:
        PyroError: UNAVAILABLE if the mirror fails, NO_SPACE, MISSING_PROGRAM, BUILD_FAILED with the last lines.
    """
    tool = namespace.run(["mmdebstrap", "--version"], timeout_s=30).text.removeprefix("mmdebstrap ")
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    packages: dict[str, str] = {}

    def on_line(line: str) -> None:
        if line.startswith(_MARK):
            name, _, version = line.removeprefix(_MARK).partition("_")
            packages[name] = version.replace("%3a", ":")
            return
        tail.append(line)
        _report(line, progress)

    # mmdebstrap and apt remove their own files unless they are killed; the directory is removed in any case.
    scratch = target.parent / "tmp"
    os.mkdir(scratch, 0o700)
    try:
        env = {**os.environ, "PATH": os.pathsep.join(search_path()), "TMPDIR": os.fspath(scratch)}
        status = namespace.stream(_command(spec, target), on_line=on_line, timeout_s=_TIMEOUT_S, env=env)
    finally:
        namespace.remove_tree(scratch)
    if status != 0:
        raise _failure(status, list(tail))
    return Result(dict(sorted(packages.items())), tool)


def _command(spec: Bootstrap, target: Path) -> list[str | Path]:
    command: list[str | Path] = [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--architectures=amd64",
        f"--variant={spec.variant}",
        f"--include={','.join(spec.packages)}",
        # A dropped connection must not fail the whole build.
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::http::Timeout "30"',
    ]
    command += [f"--aptopt={option}" for option in spec.apt_options]
    command += [f"--dpkgopt={option}" for option in spec.dpkg_options]
    if spec.variant == "extract":
        command.append(f"--extract-hook={_LIST_UNPACKED}")
    else:
        command.append(f"--customize-hook={_LIST_INSTALLED}")
        # In a guest without KVM, fetching, unpacking and parsing the lists takes longer than most installations. They
        # are kept in the image, so that `apt-get update` only fetches changes. The hook handles the cache.
        command.append("--skip=cleanup/apt")
    if spec.hook:
        command.append(f"--customize-hook={spec.hook}")
    command += [spec.suite, target]
    if mirror := os.environ.get(MIRROR_VARIABLE):
        command.append(mirror)
    return command


def _report(line: str, progress: Progress) -> None:
    for text, phase, fraction in _STEPS:
        if line.startswith(f"I: {text}"):
            progress.phase(phase, line.removeprefix("I: ").rstrip("."))
            progress.advance(fraction)
            return
    if line.startswith("I: "):
        progress.advance(message=line.removeprefix("I: "))


_NO_MIRROR = (
    r"Could not resolve|Temporary failure resolving|[Uu]nable to connect|[Cc]ould not connect|Failed to fetch|"
    r"Connection (failed|timed out|refused|reset)|does not have a Release file|\b(404|50\d) "
)
# The first pattern found in the last lines determines the error.
_FAILURES = (
    (
        r"No space left on device|enough free (disk )?space",
        ErrorCode.NO_SPACE,
        "the disk is full",
        "Free some disk space (`pyro env prune` helps), or point PYRO_ENVIRONMENT_CACHE_DIR elsewhere.",
    ),
    (
        r"NO_PUBKEY|is not signed|no signed-by|unable to find.*keyring",
        ErrorCode.UNSUPPORTED,
        "Debian's archive keys are missing or too old",
        "Install or upgrade the package debian-archive-keyring.",
    ),
    (
        r"Hash Sum mismatch|File has unexpected size",
        ErrorCode.UNAVAILABLE,
        "the mirror served a damaged or changing file",
        "Try again in a few minutes.",
    ),
    (
        _NO_MIRROR,
        ErrorCode.UNAVAILABLE,
        "the Debian mirror can't be reached or fails",
        f"Check the network and http_proxy, or name another mirror in {MIRROR_VARIABLE}, and run the command again.",
    ),
    (
        r"Unable to locate package|has no installation candidate|unmet dependencies",
        ErrorCode.UNAVAILABLE,
        "the mirror lacks a package of the recipe",
        f"Check {MIRROR_VARIABLE} if it is set; else the mirror is being updated: try again in a few minutes.",
    ),
)


def _failure(status: int, tail: list[str]) -> PyroError:
    text = "\n".join(tail)
    details: dict[str, object] = {"returncode": status, "tail": text}
    evidence = [line for line in tail if line.startswith(("E:", "W:", "Err:"))] or tail
    for pattern, code, what, hint in _FAILURES:
        for line in (*evidence, *tail):
            if re.search(pattern, line):
                return PyroError(code, f"mmdebstrap: {what}: {line.strip()}", hint=hint, details=details)
    how = f"exit status {status}" if status >= 0 else f"signal {-status}"
    return PyroError(
        ErrorCode.BUILD_FAILED,
        f"mmdebstrap ended with {how}: " + ("\n".join(evidence[-5:]) or "it said nothing"),
        hint="Run the command again; if it fails in the same way, the last lines say where.",
        details=details,
    )
