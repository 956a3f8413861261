"""Run callers at once, kill some of them and of their VMMs, cut the power between rounds, and count what is lost.

`make stress ARGS="--minutes 10 --rounds 4"`: as root, because a file system is mounted. With `--kills 500`, the last
round continues until that many callers and VMMs were killed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.errors import PyroError
from pyro_mcp.host import process
from pyro_mcp.host.waiting import wait_until
from tests.support.leaks import Census, descendants
from tests.support.power.disk import LoggedDisk, Replay, copy_disk, logged_disk, missing
from tests.support.stress.actor import ENVIRONMENT, PYRO, Actor, Tally
from tests.support.workers import adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MIB = 1024 * 1024
_END_S = 60.0
_WARM_UP_S = 600.0


@dataclass(frozen=True, slots=True)
class Stress:
    """How many callers for how long, or until how many kills; the power is cut between the rounds."""

    minutes: float
    rounds: int
    processes: int
    seed: int
    size_mib: int
    kills: int = 0


def stress(plan: Stress, directory: Path) -> Tally:
    """Run the rounds below `directory`, and return what happened."""
    adopt_orphans()
    tally = Tally()
    choice = random.Random(plan.seed)
    place, runtime = directory / "place", directory / "run"
    env = {
        **os.environ,
        "PYRO_STATE_DIR": os.fspath(place / "state"),
        "PYRO_RUNTIME_DIR": os.fspath(runtime),
    }
    actors = [Actor(number, plan.seed, directory, env, tally) for number in range(plan.processes)]
    for actor in actors:
        actor.others = [each for each in actors if each is not actor]
    image: Path | None = None
    for number in range(plan.rounds):
        is_last = number == plan.rounds - 1
        round_directory = directory / f"round-{number}"
        round_directory.mkdir()
        base = round_directory / "base" if image else None
        if image and base:
            copy_disk(image, base)
            image.rename(round_directory / "image")
        shutil.rmtree(runtime, ignore_errors=True)
        runtime.mkdir(0o700)
        with logged_disk(round_directory, plan.size_mib * _MIB, place=place) as disk:
            if image is None:
                _warm_up(env)
            own = {each.pid for each in descendants()}
            _round(
                actors, plan.minutes * 60 / plan.rounds, own, is_cut=not is_last, go_on=lambda: tally.kills < plan.kills
            )
            end = disk.position()
            if is_last:
                _finish(actors, env, Path(place), runtime, own, tally)
        if not is_last:
            tally.cuts += 1
            image = _cut(disk, round_directory, base, end, choice)
            so_far = f"{tally.answered.total()} verbs answered, {tally.kills} kills"
            print(f"{time.strftime('%H:%M:%S')} power cut {tally.cuts}: {so_far}", flush=True)
            for actor in actors:
                actor.lose_power()
    return tally


def _warm_up(env: Mapping[str, str]) -> None:
    """Make the template that all start from: that takes as long as a round on a busy machine."""
    for words in (("create", ENVIRONMENT, "--name", "first"), ("delete", "first")):
        subprocess.run([*PYRO, *words], env=env, check=True, capture_output=True, timeout=_WARM_UP_S)


def _round(actors: list[Actor], seconds: float, own: set[int], *, is_cut: bool, go_on: Callable[[], bool]) -> None:
    stop, cut = threading.Event(), threading.Event()
    threads = [threading.Thread(target=actor.run, args=(stop, cut)) for actor in actors]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    while not is_cut and go_on() and any(thread.is_alive() for thread in threads):
        stop.wait(1)
    stop.set()
    if is_cut:
        cut.set()
        _kill_all(own)
    for thread in threads:
        thread.join()
    if is_cut:
        _kill_all(own)


def _kill_all(own: set[int]) -> None:
    """Kill every process but the logging disk's, until there is none."""

    def kill() -> bool:
        left = [each for each in descendants() if each.pid not in own and not each.is_dead]
        for each in left:
            with suppress(ProcessLookupError, PyroError):
                process.kill(each.pid, each.start_time)
        return not left

    wait_until(kill, timeout_s=_END_S, what="every process to end")


def _cut(disk: LoggedDisk, directory: Path, base: Path | None, end: int, choice: random.Random) -> Path:
    replay = Replay(disk, directory, base=base)
    try:
        number = sum(entry.end <= end for entry in replay.entries)
        return replay.cut(number, choice)
    finally:
        replay.close()
        for name in ("image", "log"):
            (directory / name).unlink()


def _finish(
    actors: list[Actor], env: Mapping[str, str], place: Path, runtime: Path, own: set[int], tally: Tally
) -> None:
    threads = [threading.Thread(target=actor.finish) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for words in (("list",), ("doctor",)):
        argv = [sys.executable, "-m", "pyro_mcp", *(("workspace",) if words == ("list",) else ()), *words]
        done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=120)
        print(f"$ pyro {' '.join(words)}\n{done.stdout}{done.stderr}")

    left: list[str] = []

    def is_clean() -> bool:
        census = Census.take(place / "state")
        processes = [
            f"process {each.pid} {each.name}" for each in descendants() if each.pid not in own and not each.is_dead
        ]
        left[:] = [*processes, *census.files.values(), *Census.take(runtime).files.values()]
        return not left

    try:
        wait_until(is_clean, timeout_s=_END_S, what="nothing to be left")
    except PyroError:
        for line in left:
            tally.fault(f"left: {line}")
        # The file system is unmounted now.
        _kill_all(own)


def main() -> int:
    """Run as asked for, and print the figures."""
    parser = argparse.ArgumentParser(description="Eight callers, kills and power cuts; count what is lost.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=4, help="the power is cut between them")
    parser.add_argument("--kills", type=int, default=0, help="go on until so many callers and VMMs were killed")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--size-mib", type=int, default=16384)
    plan = Stress(**vars(parser.parse_args()))
    if reason := missing():
        print(f"the power can't be cut here: {reason}")
        return 2
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pyro-stress-", dir="/var/tmp", ignore_cleanup_errors=True) as directory:
        tally = stress(plan, Path(directory))
    tally.show()
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
