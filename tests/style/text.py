"""Rules about what stands in files, whatever they are written in."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.style.source import Finding, Rule, Source, called_name, sample

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILE_BYTES = 512 * 1024
# Written so that this file does not break its own rule.
REGISTRIES = re.compile(
    r"(deb|security|ftp|snapshot)[.]debian[.]org|pythonhosted[.]org|pypi[.]org|npmjs[.]org|crates[.]io|proxy[.]golang[.]org"
)
PLACES = re.compile(r"/wor[k]/|/roo[t]/(work|[.]cache|[.]pyenv)|/home/[a-z]+/|[.][.]/share[d]\b")

FINDING = (
    r"#!/usr/bin/env bash",
    r"# Behaviour: .+[.]",
    r"# Guess: .+[.]",
    r"# Version: .*\d.* \((Debian \d+|PyPI|npm)\).*",
    r"# Consequence: .+[.]",
    r"set -euo pipefail",
    r"place=\$\(mktemp -d\)",
    r"""trap 'rm -rf "\$place"' EXIT""",
)
SEEN = re.compile(r"(?m)^diff (-b )?- seen <<'SEEN'\n(.*\n)+SEEN\n\Z")


def _lines_with(pattern: re.Pattern[str], text: str) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := pattern.search(line):
            yield number, found.group()


def _registries(source: Source) -> Iterable[Finding]:
    for number, name in _lines_with(REGISTRIES, "\n".join(source.lines)):
        yield Finding(source.path, number, f"{name}: which mirror to use is the machine's business")


def _places(source: Source) -> Iterable[Finding]:
    for number, name in _lines_with(PLACES, "\n".join(source.lines)):
        yield Finding(source.path, number, f"{name} exists on one machine only")


def _binaries(source: Source) -> Iterable[Finding]:
    if b"\0" in source.data:
        yield Finding(source.path, 1, "is binary: build it, do not track it")
    elif len(source.data) > MAX_FILE_BYTES:
        yield Finding(source.path, 1, f"has {len(source.data)} bytes")


def _silent_skips(source: Source) -> Iterable[Finding]:
    for node in source.nodes():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for decorator in node.decorator_list:
                if called_name(decorator) in {"pytest.mark.skip", "pytest.mark.xfail"}:
                    yield Finding(source.path, decorator.lineno, "no reason given")
        if not isinstance(node, ast.Call):
            continue
        name = called_name(node.func)
        if name in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.importorskip"}:
            if not any(keyword.arg == "reason" for keyword in node.keywords):
                yield Finding(source.path, node.lineno, f"{name} gives no reason")
        elif name in {"pytest.skip", "pytest.xfail"} and not (node.args or node.keywords):
            yield Finding(source.path, node.lineno, f"{name} gives no reason")


def _findings(source: Source) -> Iterable[Finding]:
    for number, pattern in enumerate(FINDING, 1):
        if not re.fullmatch(pattern, "".join(source.lines[number - 1 : number])):
            yield Finding(source.path, number, f"does not have the form {pattern}: see findings/README.md")
            return
    text = "\n".join(source.lines[len(FINDING) :])
    for version in re.findall(r"(?<= )(?:\d+:)?\d+[.]\d[^ ,]*", source.lines[3]):
        if version not in text:
            yield Finding(source.path, 4, f"installs no version {version}")
    if not SEEN.search(source.data.decode()):
        yield Finding(source.path, len(source.lines), "does not end with a comparison of what was seen")


FINDING_SAMPLE = """#!/usr/bin/env bash
# Behaviour: It prints 2.
# Guess: It prints 1.
# Version: tool 1.2.3 (PyPI)
# Consequence: Subtract 1.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
pip install tool==1.2.3
tool > seen
diff - seen <<'SEEN'
2
SEEN
"""

RULES = (
    Rule(
        "no file names a package registry's host",
        lambda _: True,
        _registries,
        bad=(
            sample("docs/a.md", "see https://" + "deb.debian" + ".org/debian\n"),
            sample("constraints.txt", "# from " + "pypi" + ".org\n"),
        ),
        good=(sample("docs/a.md", "Debian's archive, and PyPI\n"),),
    ),
    Rule(
        "no file holds a path of one machine",
        lambda _: True,
        _places,
        bad=(
            sample("Makefile", "cd /wor" + "k/main\n"),
            sample("docs/a.md", "/home/" + "alice/src\n"),
        ),
        good=(sample("docs/a.md", "/workspace, ~/.cache and /root\n"),),
    ),
    Rule(
        "nothing binary or huge is tracked",
        lambda _: True,
        _binaries,
        bad=(
            sample("images/a.img", "a\0b"),
            sample("docs/a.md", "a" * (MAX_FILE_BYTES + 1)),
        ),
        good=(sample("docs/a.md", "ä"),),
    ),
    Rule(
        "no test is skipped without a reason",
        lambda source: source.is_test,
        _silent_skips,
        bad=(
            sample("tests/test_a.py", "@pytest.mark.skip\ndef test_a(): pass\n"),
            sample("tests/test_a.py", "@pytest.mark.skipif(True)\ndef test_a(): pass\n"),
            sample("tests/test_a.py", "pytest.skip()\n"),
        ),
        good=(
            sample("tests/test_a.py", "@pytest.mark.skipif(True, reason='needs KVM')\ndef test_a(): pass\n"),
            sample("tests/test_a.py", "pytest.skip('needs KVM')\n"),
        ),
    ),
    Rule(
        "a finding has its form",
        lambda source: source.path.startswith("findings/") and source.path != "findings/README.md",
        _findings,
        bad=(
            sample("findings/a.sh", FINDING_SAMPLE.replace("# Guess", "# Perhaps")),
            sample("findings/a.sh", FINDING_SAMPLE.replace("==1.2.3", "")),
            sample("findings/a.sh", FINDING_SAMPLE.replace("diff - seen <<'SEEN'\n2\nSEEN\n", "")),
            sample("findings/notes.txt", "It prints 2.\n"),
        ),
        good=(sample("findings/a.sh", FINDING_SAMPLE), sample("findings/README.md", "# Findings\n")),
    ),
)
