"""Benchmark workspaces through the SDK: creation from a checkout, and every step of the edit-run loop."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Stopwatch
from pyro_mcp import Pyro

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pyro_mcp.host.paths import Paths

_MIB = 1024 * 1024
_TRUE = ["true"]
_LIST = [sys.executable, "-m", "pyro_mcp", "workspace", "list"]
_MANY = 100
# After each task the agent prepares the process for the next one; a model reads the result meanwhile.
_REST_S = 0.05
_CHANGE_FIFTY = "for n in $(seq 1 400 20000); do echo changed >> $(printf 'd%03d/f%05d' $((n / 100)) $n); done"


def rows(paths: Paths, environment: str, *, times: int) -> list[Row]:
    """Measure workspaces created from a small repository, a large tree, and many files."""
    with TemporaryDirectory(prefix="pyro-bench-") as name:
        bench = _Bench(Pyro(paths=paths), environment, Path(name), times)
        return [*bench.loop(), *bench.large(), *bench.many_files(), *bench.transfers(), *bench.listing()]


class _Bench:
    """The trees on the host, and the rows that are measured with them."""

    def __init__(self, pyro: Pyro, environment: str, place: Path, times: int) -> None:
        self.pyro, self.environment, self.place, self.times = pyro, environment, place, times

    def loop(self) -> list[Row]:
        """Create, reset, stop and start a workspace of a small repository; read and write a file in it."""
        repo = make_tree(self.place / "repo", files=2000, total_bytes=20 * _MIB)
        create = Stopwatch()
        used: list[float] = []
        for _ in range(self.times):
            before = _used_bytes(self.pyro)
            with create.time():
                workspace_id = self._create(repo)
                self.pyro.exec_workspace(workspace_id, command=_TRUE)
            used.append((_used_bytes(self.pyro) - before - 2 * _blocks_bytes(repo)) / _MIB)
            self.pyro.delete_workspace(workspace_id)
        with self._workspace(repo) as workspace_id:
            run = self.pyro.exec_workspace
            reset = self._timed(
                lambda: (self.pyro.reset_workspace(workspace_id), run(workspace_id, command=_TRUE)),
            )
            stop, start = Stopwatch(), Stopwatch()
            for _ in range(self.times):
                with stop.time():
                    self.pyro.stop_workspace(workspace_id)
                with start.time():
                    self.pyro.start_workspace(workspace_id)
            write = self._timed(
                lambda: self.pyro.write_workspace_file(workspace_id, "note.txt", text="a few words\n"), rest_s=_REST_S
            )
            read = self._timed(lambda: self.pyro.read_workspace_file(workspace_id, "note.txt"), rest_s=_REST_S)
        return [
            create.row("workspace: create from 2,000 files, 20 MB → first true done", target="≤ 600 ms"),
            reset.row("workspace: reset → first true done", target="≤ 400 ms"),
            stop.row("workspace: stop", target="≤ 1 s"),
            start.row("workspace: start", target="≤ 400 ms"),
            write.row("workspace: write a small file", target="≤ 15 ms"),
            read.row("workspace: read a small file", target="≤ 15 ms"),
            Row("workspace: disk used beyond its seed and baseline", tuple(used), "MiB", "≤ 6 MiB"),
        ]

    def large(self) -> list[Row]:
        """Create a workspace of a large tree."""
        tree = make_tree(self.place / "large", files=50_000, total_bytes=500 * _MIB)
        rates: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            workspace_id = self._create(tree)
            rates.append(500 * _MIB / 1e6 / (time.perf_counter() - began))
            self.pyro.delete_workspace(workspace_id)
        return [Row("workspace: create from 50,000 files, 500 MB", tuple(rates), "MB/s", "≥ 150 MB/s")]

    def many_files(self) -> list[Row]:
        """Find fifty changes among 20,000 files."""
        tree = make_tree(self.place / "many", files=20_000, total_bytes=40 * _MIB)
        with self._workspace(tree) as workspace_id:
            self.pyro.exec_workspace(workspace_id, command=_CHANGE_FIFTY, timeout_seconds=60)
            diff = self._timed(lambda: self.pyro.diff_workspace(workspace_id), times=5)
        return [diff.row("workspace: diff, 20,000 files of which 50 changed", target="≤ 1.5 s")]

    def transfers(self) -> list[Row]:
        """Push a tree of 100 MB, take a snapshot of it, and export it."""
        tree = make_tree(self.place / "hundred", files=200, total_bytes=100 * _MIB)
        pushes: list[float] = []
        exports: list[float] = []
        snapshot = Stopwatch()
        for number in range(3):
            with self._workspace(None) as workspace_id:
                began = time.perf_counter()
                self.pyro.push_workspace_sync(workspace_id, tree)
                pushes.append(100 * _MIB / 1e6 / (time.perf_counter() - began))
                with snapshot.time():
                    self.pyro.create_snapshot(workspace_id, "one")
                out = self.place / f"out{number}"
                began = time.perf_counter()
                self.pyro.export_workspace(workspace_id, "/workspace", output_path=out)
                exports.append(100 * _MIB / 1e6 / (time.perf_counter() - began))
        return [
            Row("workspace: sync push, 100 MB", tuple(pushes), "MB/s", "≥ 60 MB/s"),
            Row("workspace: export, 100 MB", tuple(exports), "MB/s", "≥ 60 MB/s"),
            snapshot.row("workspace: snapshot of 100 MB", target="≤ 200 ms"),
        ]

    def listing(self) -> list[Row]:
        """List a hundred workspaces in a separate process."""
        made: list[str] = []
        try:
            for _ in range(_MANY):
                made.append(self._create(None))
                self.pyro.stop_workspace(made[-1])
            listed = self._timed(lambda: subprocess.run(_LIST, check=True, stdout=subprocess.DEVNULL))
        finally:
            for workspace_id in made:
                self.pyro.delete_workspace(workspace_id)
        return [listed.row(f"pyro workspace list, {_MANY} workspaces", target="≤ 300 ms")]

    def _create(self, seed: Path | None) -> str:
        return self.pyro.create_workspace(self.environment, seed_path=seed).workspace_id

    @contextmanager
    def _workspace(self, seed: Path | None) -> Generator[str]:
        workspace_id = self._create(seed)
        try:
            yield workspace_id
        finally:
            self.pyro.delete_workspace(workspace_id)

    def _timed(self, step: Callable[[], object], *, times: int | None = None, rest_s: float = 0.0) -> Stopwatch:
        watch = Stopwatch()
        step()
        for _ in range(times or self.times):
            threading.Event().wait(rest_s)
            with watch.time():
                step()
        return watch


def make_tree(root: Path, *, files: int, total_bytes: int) -> Path:
    """Create a tree of equal text files, a hundred per directory."""
    size = total_bytes // files
    text = random.Random(1).randbytes(size).hex().encode()[:size]
    for number in range(files):
        directory = root / f"d{number // 100:03d}"
        if number % 100 == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number:05d}").write_bytes(text)
    return root


def _used_bytes(pyro: Pyro) -> int:
    """Return the disk usage of the state directory."""
    return _blocks_bytes(pyro.runner.paths.state)


def _blocks_bytes(root: Path) -> int:
    used = 0
    for directory, _, names in os.walk(root):
        for name in names:
            try:
                used += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return used
