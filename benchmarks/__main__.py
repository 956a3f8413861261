"""`make bench`: measure this machine and print a table, or compare two revisions."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from benchmarks import against, cold, commands, inhabited, machine, machines, networks, others, workspaces
from benchmarks.measure import Row, table
from benchmarks.samples import interrupt_on_signals
from pyro_mcp.cli.execution import progress_on
from pyro_mcp.host.paths import Paths
from pyro_mcp.image.environments import ensure_environment

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = "debian:12"


def main() -> None:
    """Measure the selected groups, reporting progress."""
    arguments = _parse()
    interrupt_on_signals()
    if arguments.against:
        _compare(arguments)
        return
    paths = Paths.from_environment()
    with progress_on(sys.stderr) as progress:
        environment = ensure_environment(paths, ENVIRONMENT, progress)
    few = max(3, arguments.times // 3)
    groups: dict[str, Callable[[], list[Row]]] = {
        "first": lambda: machines.first_results(paths, ENVIRONMENT, times=arguments.times),
        "warm": lambda: machines.warm_results(paths, ENVIRONMENT, times=arguments.times),
        "commands": lambda: commands.rows(times=arguments.times),
        "idle": lambda: machines.idle_cost(paths, ENVIRONMENT),
        "crowd": lambda: machines.crowd(paths, ENVIRONMENT, times=few),
        "cold": lambda: cold.rows(paths, ENVIRONMENT, times=few),
        "workspaces": lambda: workspaces.rows(paths, ENVIRONMENT, times=few),
        "networks": lambda: networks.rows(paths, ENVIRONMENT, times=arguments.times),
        "inhabited": lambda: inhabited.rows(paths, ENVIRONMENT, times=few),
        "others": lambda: others.rows(paths, environment, times=few),
    }
    rows: list[Row] = []
    for name, measure in groups.items():
        if not arguments.only or name in arguments.only:
            print(f"[bench] {name}", file=sys.stderr)
            rows += measure()
    facts = machine.describe()
    if arguments.json:
        print(json.dumps({"machine": facts, "rows": [row.to_json() for row in rows]}, indent=1))
        return
    print("; ".join(f"{name}: {fact}" for name, fact in facts.items()), end="\n\n")
    print(table(rows))


def _compare(arguments: argparse.Namespace) -> None:
    known = against.available()
    rows: list[str] = arguments.only or list(known)
    if unknown := [row for row in rows if row not in known]:
        raise SystemExit(f"--only: no row {unknown[0]!r} to compare; available: {', '.join(known)}")
    with against.both_sides(arguments.against, ENVIRONMENT) as (there, here):
        pairs = against.compare(there, here, rows, times=arguments.times)
    facts = machine.describe()
    if arguments.json:
        found = [each.to_json() for each in pairs]
        print(json.dumps({"machine": facts, "against": arguments.against, "rows": found}, indent=1))
        return
    print("; ".join(f"{name}: {fact}" for name, fact in facts.items()), end="\n\n")
    print(f"there: {arguments.against}; here: this checkout; ratio: here ÷ there, below 1 is faster\n")
    print(against.table(pairs))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="measure only this group, or row of a comparison; may be repeated",
    )
    parser.add_argument("--against", metavar="REV", help="compare this checkout with another revision, pair by pair")
    parser.add_argument("--times", type=int, default=15, help="samples of each figure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print all samples as one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
