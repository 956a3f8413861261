#!/usr/bin/env python3
"""Write constraints.txt: every package in .venv, with its version and the digests of its wheels.

Asks pip what it would install for each supported Python on Linux x86_64, and keeps names, versions and sha256
digests only: no addresses, so that the file works with any index that serves the same files. A version already in
constraints.txt stays, unless --upgrade is given.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# glibc versions in use: 2.28 in RHEL 8, 2.36 in Debian 12, 2.41 in Debian 13.
LIBCS = (28, 36, 41)
HEADER = """\
# Versions and wheel digests of everything that `make setup` installs into .venv (Linux x86_64, Python 3.11 to 3.14).
# Written by `make constraints`; UPGRADE=1 takes the newest versions.
"""


def wanted() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    requirements: list[str] = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
        "editables",  # hatchling needs it for an editable install
    ]
    return requirements


def pinned() -> list[str]:
    if not TARGET.exists():
        return []
    return [line.split()[0] for line in TARGET.read_text().splitlines() if re.match(r"^[a-z0-9]", line)]


def resolve(python: str, libc: int, pins: list[str]) -> list[tuple[str, str, str]]:
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(libc, 4, -1)]
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch) / "pins.txt"
        constraints.write_text("\n".join(pins))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-input"]
        command += ["--only-binary=:all:", f"--python-version={python}", *platforms]
        command += [f"--target={scratch}/none", f"--constraint={constraints}", f"--report={scratch}/report.json"]
        subprocess.run([*command, *wanted()], check=True)
        report = json.loads((Path(scratch) / "report.json").read_text())
    found: list[tuple[str, str, str]] = []
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        found.append((name, item["metadata"]["version"], item["download_info"]["archive_info"]["hashes"]["sha256"]))
    return found


def main() -> int:
    pins = [] if "--upgrade" in sys.argv[1:] else pinned()
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for python in PYTHONS:
        for libc in LIBCS:
            print(f"[constraints] python {python}, glibc 2.{libc}", file=sys.stderr, flush=True)
            for name, version, digest in resolve(python, libc, pins):
                digests[name, version].add(digest)
            # Use the same versions for the following Pythons.
            pins = [f"{name}=={version}" for name, version in digests]
    lines = [HEADER]
    for (name, version), hashes in sorted(digests.items()):
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{value}" for value in sorted(hashes))]))
    TARGET.write_text("\n".join(lines) + "\n")
    print(f"[constraints] {len(digests)} packages written to {TARGET.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
