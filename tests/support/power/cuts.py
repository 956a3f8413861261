"""Run a load on a logged disk, cut the power at random moments, and count what was acknowledged and is lost.

`make power-cuts ARGS="--cuts 100 --seconds 60 --guests"`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from tests.support.power.disk import Replay, logged_disk, missing
from tests.support.power.load import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 1024 * 1024
_PATIENCE_S = 600.0
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_IN_ANOTHER_BOOT = f'mount --bind "$1" {_BOOT_ID} && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class Plan:
    """A load and its cuts. `seconds` is how long each of the `processes` goes on; `guests`: real ones."""

    cuts: int
    seconds: float
    processes: int = 3
    guests: bool = False
    seed: int = 1
    size_mib: int = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one cut left: `number` is the log's entry, `faults` what was acknowledged and is not there.

    `examined` is how often the content of a workspace was compared.
    """

    number: int
    is_volatile: bool
    faults: tuple[str, ...]
    aside: tuple[str, ...]
    examined: int

    def __str__(self) -> str:
        """Return a line for a person."""
        cache = "volatile cache" if self.is_volatile else "no cache"
        return f"cut at entry {self.number} ({cache}): {'; '.join([*self.faults, *self.aside]) or 'nothing lost'}"


def cut_power(plan: Plan, directory: Path) -> Iterator[Outcome]:
    """Run the load below `directory`, then yield what each cut left."""
    (directory / "seed").mkdir()
    (directory / "seed" / "seed").write_text("seed\n")
    with logged_disk(directory, plan.size_mib * _MIB) as disk:
        env = _environment(directory, disk.place, plan)
        journals = [directory / f"journal-{number}" for number in range(plan.processes)]
        with ExitStack() as stack:
            workers = [
                stack.enter_context(
                    process.start(
                        [
                            *(sys.executable, "-m", "tests.support.power.load", journal, disk.log),
                            *(str(plan.seed * 1000 + number), str(plan.seconds), "yes" if plan.guests else "no"),
                        ],
                        env=env,
                        stdout=None,
                        stderr=None,
                    )
                )
                for number, journal in enumerate(journals)
            ]
            for worker in workers:
                stack.callback(worker.kill)
            for worker in workers:
                status = worker.wait(plan.seconds + _PATIENCE_S)
                assert status == 0, f"a process of the load ended with {status}"
    replay = Replay(disk, directory)
    try:
        choice = random.Random(plan.seed)
        # Before the first answer and after the last deletion there is nothing to lose.
        deeds = [deed for journal in journals for deed in read_journal(journal)]
        first, last = min(deed.end or 0 for deed in deeds), max(deed.begin for deed in deeds)
        moments = [n for n, entry in enumerate(replay.entries) if first <= entry.begin <= last]
        for number in sorted(choice.choices(moments, k=plan.cuts)):
            is_volatile = choice.random() < 0.5
            image = replay.cut(number, choice if is_volatile else None)
            yield _judged(directory, env, image, replay.entries[number].begin, number, is_volatile, journals, plan)
    finally:
        replay.close()


def _judged(
    directory: Path,
    env: dict[str, str],
    image: Path,
    position: int,
    number: int,
    is_volatile: bool,
    journals: list[Path],
    plan: Plan,
) -> Outcome:
    other_boot = directory / "boot_id"
    other_boot.write_text(f"{number:08x}-0000-4000-8000-{random.Random(number).getrandbits(48):012x}\n")
    done = process.run(
        [
            # A jail can't mount /proc where something lies over a part of it, so guests see the same boot.
            *("unshare", "--mount", "sh", "-c", 'exec "$@"' if plan.guests else _IN_ANOTHER_BOOT, "sh"),
            *(() if plan.guests else (other_boot,)),
            *(sys.executable, "-m", "tests.support.power.judge", image, directory / "place", str(position)),
            *(str(plan.seed + number), *journals),
        ],
        env=env,
        timeout_s=_PATIENCE_S,
    )
    found = json.loads(done.text.splitlines()[-1])
    return Outcome(number, is_volatile, tuple(found["faults"]), tuple(found["aside"]), found["examined"])


def _environment(directory: Path, place: Path, plan: Plan) -> dict[str, str]:
    runtime = directory / "run"
    runtime.mkdir(0o700)
    changes = {
        "PYRO_STATE_DIR": os.fspath(place / "state"),
        "PYRO_RUNTIME_DIR": os.fspath(runtime),
        "PYRO_TEST_SEED": os.fspath(directory / "seed"),
    }
    return {**os.environ, **changes, **({} if plan.guests else {"PYRO_VMM": "none"})}


def main() -> int:
    """Cut as often as asked for, and print what was lost."""
    parser = argparse.ArgumentParser(description="Cut the power under a load, and count what is lost.")
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--guests", action="store_true", help="real guests instead of commands on this host")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--size-mib", type=int, default=2048)
    asked = parser.parse_args()
    if reason := missing():
        print(f"the power can't be cut here: {reason}")
        return 2
    lost = 0
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="pyro-power-", dir="/var/tmp") as directory:
        plan = Plan(**vars(asked))
        cuts = 0
        for outcome in cut_power(plan, Path(directory)):
            cuts += 1
            lost += bool(outcome.faults)
            print(outcome, flush=True)
        deeds = [
            deed for number in range(plan.processes) for deed in read_journal(Path(directory) / f"journal-{number}")
        ]
    print(f"{cuts} cuts under {len(deeds)} acknowledged verbs: {lost} lost something")
    return 1 if lost else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PyroError as error:
        sys.exit(str(error))
