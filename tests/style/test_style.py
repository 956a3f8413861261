"""Every rule holds everywhere, and every rule can fail."""

from __future__ import annotations

import pytest

from tests.style import reach, shape, text
from tests.style.source import Rule, repository

RULES: tuple[Rule, ...] = (*shape.RULES, *reach.RULES, *text.RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    findings = [str(finding) for source in repository() for finding in rule.check(source)]
    assert not findings, "\n".join([rule.name, *findings])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_rule_finds_what_breaks_it(rule: Rule) -> None:
    assert rule.bad
    assert [source.path for source in rule.bad if not rule.check(source)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_rule_lets_pass_what_keeps_it(rule: Rule) -> None:
    assert rule.good
    assert [str(finding) for source in rule.good for finding in rule.check(source)] == []


def test_the_rules_see_the_whole_repository() -> None:
    paths = {source.path for source in repository()}
    assert {"Makefile", "src/pyro_mcp/host/paths.py", "tests/style/test_style.py"} <= paths
