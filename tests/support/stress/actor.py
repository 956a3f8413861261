"""One caller: random verbs of the command line on a workspace of its own, and a model of what must be found in it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyro_mcp.host import process
from tests.support.leaks import descendants
from tests.support.power.judge import ABSENT, World
from tests.support.power.load import Deed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: No verb may take longer, though sixteen processors' work waits for two.
STUCK_S = 600.0
# That of the other tests, so that they share a template.
ENVIRONMENT = "debian:12"
#: The shares of verbs in which the caller is killed, and the VMM.
CALLER_KILLS, VMM_KILLS = 0.25, 0.1
_MAX_SNAPSHOTS = 2
_PAUSE_S = 0.5
# A guest without hardware acceleration takes minutes to export a disk beside others.
_LISTED_ONLY = 0.9
#: How many commands are shown with a fault.
_RECENT = 12
PYRO = (sys.executable, "-m", "pyro_mcp", "workspace")
_GROUPS = {"file", "patch", "sync", "snapshot", "disk", "shell", "service"}
_READ = f"cat f 2> /dev/null || printf '{ABSENT}'"
_SERVICE = "touch up; sleep 1000"


@dataclass
class Tally:
    """What all callers did: how often each verb was answered, what was killed, and what went wrong."""

    answered: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    killed_callers: int = 0
    killed_vmms: int = 0
    cuts: int = 0
    compared: int = 0
    slowest: dict[str, float] = field(default_factory=dict[str, float])
    faults: list[str] = field(default_factory=list[str])

    @property
    def kills(self) -> int:
        """Return how many callers and VMMs were killed."""
        return self.killed_callers + self.killed_vmms

    def fault(self, text: str) -> None:
        """Record what must not happen, and show it at once."""
        self.faults.append(text)
        print(f"FAULT {time.strftime('%H:%M:%S')} {text}", flush=True)

    def show(self) -> None:
        """Print the figures."""
        for name, counts in (("answered", self.answered), ("errors", self.errors)):
            print(f"{name}: {', '.join(f'{what} {count}' for what, count in sorted(counts.items()))}")
        slowest = sorted(self.slowest.items(), key=lambda item: -item[1])[:8]
        print(f"slowest: {', '.join(f'{what} {seconds:.1f} s' for what, seconds in slowest)}")
        print(
            f"{self.answered.total()} verbs answered, {self.compared} contents compared, {self.killed_callers} callers"
            f" and {self.killed_vmms} VMMs killed, {self.cuts} power cuts: {len(self.faults)} faults"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended; `status` is None if it was killed."""

    status: int | None
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return json.loads(self.stdout)

    @property
    def code(self) -> str:
        """Return the error's code, or the exit status where there is none."""
        try:
            return self.document["error"]["code"]
        except (ValueError, KeyError):
            return f"exit status {self.status}"


class Actor:
    """A caller, with the workspace `name`."""

    def __init__(self, number: int, seed: int, directory: Path, env: Mapping[str, str], tally: Tally) -> None:
        self.name = f"s{number}"
        self._random = random.Random(f"{seed}.{number}")
        self._place = directory / self.name
        self._place.mkdir()
        self._env = env
        self._tally = tally
        self._count = 0
        self._worlds: list[World] = [World()]
        #: A VMM died, so calls may fail until one that needs the guest has succeeded.
        self._is_disturbed = False
        self._id = ""
        self._kills = True
        self._killed_vmms = 0
        self._cut = threading.Event()
        self.others: list[Actor] = []
        self._recent: deque[str] = deque(maxlen=_RECENT)

    def run(self, stop: threading.Event, cut: threading.Event) -> None:
        """Carry out verbs until `stop`; once `cut` is set, what fails has failed for that."""
        self._cut = cut
        try:
            while not stop.is_set():
                self._settle()
                self._step()
        except _CutError:
            return
        except Exception as error:  # noqa: BLE001 - of a thread: shown with what else is wrong
            self._fault(f"the actor itself: {error!r}")

    def lose_power(self) -> None:
        """Take note that every guest is gone, and what was not on its disk."""
        self._worlds = [replace(world, last=world.contents) for world in self._worlds]
        self._is_disturbed = True

    def finish(self) -> None:
        """Compare everything, then delete the workspace. Nothing is killed any more."""
        self._kills = False
        self._settle()
        if not self._worlds[0].exists:
            return
        self._observe()
        for name in [*self._worlds[0].snapshots, "baseline"]:
            self._do(Deed("reset", self.name, 0, argument=name), "reset", self.name, "--snapshot", name)
            self._observe()
        self._do(Deed("delete", self.name, 0), "delete", self.name)
        self._settle()

    def _step(self) -> None:
        world = self._worlds[0]
        if not world.exists:
            seed = self._place / "seed"
            seed.mkdir(exist_ok=True)
            (seed / "seed").write_text("seed\n")
            words = ("create", ENVIRONMENT, "--name", self.name, "--seed-path", str(seed))
            self._do(Deed("create", self.name, 0, argument=self.name), *words)
            return
        verbs: list[tuple[Callable[[], object], int]] = [
            (self._observe, 4),
            (self._write, 3),
            (self._put, 3),
            (self._patch, 2),
            (self._push, 2),
            (self._snapshot, 2),
            (self._reset, 2),
            (self._look, 4),
            (self._export, 1),
            (self._serve, 1),
            (self._shell, 1),
            (self._disks, 1),
            (self._visit, 3),
            (lambda: self._do(Deed("stop", self.name, 0), "stop", self.name), 1),
            (lambda: self._do(Deed("delete", self.name, 0), "delete", self.name), 1),
        ]
        self._random.choices([verb for verb, _ in verbs], [weight for _, weight in verbs])[0]()

    # The verbs of the model.

    def _write(self) -> None:
        content = self._next()
        self._do(Deed("write", self.name, 0, content=content), "exec", self.name, "--", f"printf %s {content} > f")

    def _put(self) -> None:
        content = self._next()
        self._do(Deed("put", self.name, 0, content=content), "file", "write", self.name, "f", "--text", content)

    def _patch(self) -> None:
        found = self._observe()
        if found is None or found in {ABSENT, ""} or "\0" in found:
            return
        content = self._next()
        end = "\n\\ No newline at end of file\n"
        patch = f"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-{found}{end}+{content}{end}"
        self._do(Deed("put", self.name, 0, content=content), "patch", "apply", self.name, "--patch", patch)

    def _push(self) -> None:
        content = self._next()
        source = self._place / "push"
        source.mkdir(exist_ok=True)
        (source / "f").write_text(content)
        self._do(Deed("put", self.name, 0, content=content), "sync", "push", self.name, str(source))

    def _snapshot(self) -> None:
        names = list(self._worlds[0].snapshots)
        if len(names) >= _MAX_SNAPSHOTS:
            name = self._random.choice(names)
            self._do(Deed("delete snapshot", self.name, 0, argument=name), "snapshot", "delete", self.name, name)
            return
        name = self._next()
        self._do(Deed("snapshot", self.name, 0, argument=name), "snapshot", "create", self.name, name)

    def _reset(self) -> None:
        name = self._random.choice([*self._worlds[0].snapshots, "baseline"])
        self._do(Deed("reset", self.name, 0, argument=name), "reset", self.name, "--snapshot", name)

    # The verbs that change nothing of it.

    def _look(self) -> None:
        words = self._random.choice(
            [
                *(("status", self.name), ("list",), ("logs", self.name), ("summary", self.name), ("start", self.name)),
                *(("diff", self.name), ("file", "list", self.name), ("file", "read", self.name, "seed")),
                *(("snapshot", "list", self.name), ("update", self.name, "--label", f"n={self._next()}")),
            ]
        )
        self._do(Deed("", self.name, 0), *words)

    def _export(self) -> None:
        output = self._place / "out"
        self._do(Deed("", self.name, 0), "export", self.name, ".", "--output", str(output))
        shutil.rmtree(output, ignore_errors=True)

    def _serve(self) -> None:
        words = ("service", "start", self.name, "web", "--ready-file", "up", "--", _SERVICE)
        if self._do(Deed("", self.name, 0), *words):
            self._do(Deed("", self.name, 0), "service", "logs", self.name, "web")
            self._do(Deed("", self.name, 0), "service", "stop", self.name, "web")

    def _shell(self) -> None:
        if answer := self._do(Deed("", self.name, 0), "shell", "open", self.name):
            shell = answer.document["shell_id"]
            self._do(Deed("", self.name, 0), "shell", "write", self.name, shell, "--input", "echo hello")
            self._do(Deed("", self.name, 0), "shell", "read", self.name, shell)
            self._do(Deed("", self.name, 0), "shell", "close", self.name, shell)

    def _disks(self) -> None:
        self._do(Deed("stop", self.name, 0), "stop", self.name)
        self._do(Deed("", self.name, 0), "disk", "list", self.name, "/workspace")
        if self._random.random() < _LISTED_ONLY:
            return
        output = self._place / "disk"
        self._do(Deed("", self.name, 0), "disk", "export", self.name, "--output", str(output))
        output.unlink(missing_ok=True)

    def _visit(self) -> None:
        """Use another caller's workspace, in whatever state that leaves it."""
        other = self._random.choice(self.others).name
        words = self._random.choice(
            [("exec", other, "--", "true"), ("status", other), ("diff", other), ("list",), ("snapshot", "list", other)]
        )
        self._call(*words)

    def _observe(self) -> str | None:
        """Compare the file with the model; return its content, or None if it could not be read."""
        killed_vmms = self._killed_vmms
        answer = self._do(Deed("", self.name, 0), "exec", self.name, "--", _READ)
        if answer is None:
            return None
        found = str(answer.document["stdout"])
        self._tally.compared += 1
        fitting = [replace(world, last=frozenset({found})) for world in self._worlds if found in world.last]
        if self._killed_vmms > killed_vmms:
            # Perhaps after it had answered.
            fitting = [_without_guest(world) for world in fitting]
        if not fitting:
            wanted = sorted({each for world in self._worlds for each in world.last})
            self._fault(f"{found!r} is in the file, not one of {wanted}")
            fitting = [replace(world, last=frozenset({found}), contents=frozenset({found})) for world in self._worlds]
        self._worlds = fitting
        return found

    def _settle(self) -> None:
        """Ask whether the workspace exists and which snapshots it has, where a verb was not answered."""
        if len(self._worlds) == 1:
            return
        while True:
            answer = self._call("list")
            if answer is None:
                return
            found = {each["name"]: each for each in answer.document["workspaces"]}.get(self.name)
            # Another caller is removing what a killed one left.
            if found is None or found["state"] not in {"creating", "deleting"}:
                break
            self._cut.wait(_PAUSE_S)
        exists, self._id = found is not None, found["workspace_id"] if found else ""
        self._keep([world for world in self._worlds if world.exists == exists], f"is {'' if exists else 'not '}listed")
        exists = self._worlds[0].exists
        if exists and (answer := self._call("snapshot", "list", self.name)):
            names = {each["snapshot_name"] for each in answer.document["snapshots"]} - {"baseline"}
            self._keep([world for world in self._worlds if set(world.snapshots) == names], f"has snapshots {names}")
        if self._worlds[0].exists and len(self._worlds) > 1:
            self._observe()
        # What is left differs in what may be on the disk only.
        first = self._worlds[0]
        contents = frozenset[str]().union(*(world.contents for world in self._worlds))
        last = frozenset[str]().union(*(world.last for world in self._worlds))
        snapshots = {
            name: frozenset[str]().union(*(w.snapshots[name] for w in self._worlds)) for name in first.snapshots
        }
        self._worlds = [replace(first, contents=contents, last=last, snapshots=snapshots)]

    def _keep(self, fitting: list[World], what: str) -> None:
        if fitting:
            self._worlds = fitting
        else:
            self._fault(f"{what}, which fits none of {self._worlds}")
            self._call("delete", self.name)
            self._worlds = [World()]

    def _do(self, deed: Deed, *words: str) -> Answer | None:
        """Carry out a verb and keep the model; return the answer, or None if there was none or it is an error."""
        killed_vmms = self._killed_vmms
        answer = self._call(*words, is_own=True)
        was_killed = self._killed_vmms > killed_vmms
        if was_killed:
            # Before the verb, or after it.
            self._worlds = [_without_guest(world) for world in self._worlds]
        after = [world.after(deed) for world in self._worlds] if deed.verb else self._worlds
        if was_killed:
            after = [_without_guest(world) for world in after]
        if answer is not None:
            self._worlds = after
            if deed.verb == "create":
                self._id = answer.document["workspace_id"]
        elif deed.verb:
            self._worlds = [*self._worlds, *(each for each in after if each not in self._worlds)]
        if answer is None and self._cut.is_set():
            raise _CutError
        return answer

    def _call(self, *words: str, is_own: bool = False) -> Answer | None:
        """Run a command; with `is_own` it is about this workspace, and it or its VMM may be killed in the middle."""
        at = words.index("--") if "--" in words else len(words)
        verb = " ".join(words[: 2 if words[0] in _GROUPS else 1])
        kills = is_own and self._kills
        kill_after_s = self._random.random() ** 2 * 4 if kills and self._random.random() < CALLER_KILLS else None
        kills_vmm = kills and kill_after_s is None and self._random.random() < VMM_KILLS
        begun = time.monotonic()
        answer = self._run([*PYRO, *words[:at], "--json", *words[at:]], kill_after_s, kills_vmm=kills_vmm)
        end = "killed" if answer.status is None else str(answer.status)
        self._recent.append(
            f"{time.strftime('%H:%M:%S')} {' '.join(words)}: {end}{', VMM killed' if kills_vmm else ''}"
        )
        self._tally.slowest[verb] = max(time.monotonic() - begun, self._tally.slowest.get(verb, 0))
        if answer.status == 0:
            self._tally.answered[verb] += 1
            if is_own and verb == "exec" and not kills_vmm:
                self._is_disturbed = False
            return answer
        if answer.status is None or self._cut.is_set():
            return None
        self._tally.errors[f"{verb}: {answer.code}"] += 1
        if answer.code == "timeout" or (answer.code == "conflict" and words[0] in {"disk", "service"}):
            # Of many guests on few processors, one may miss its time; another caller may have started a stopped one; a
            # killed one may not have stopped its service.
            return None
        is_typed = not answer.code.startswith(("exit", "internal")) and "Traceback" not in answer.stderr
        if not is_typed or (is_own and not self._is_disturbed):
            self._fault(f"{' '.join(words)}: {answer.status} {answer.stdout} {answer.stderr}")
        return None

    def _run(self, argv: list[str], kill_after_s: float | None, *, kills_vmm: bool) -> Answer:
        with subprocess.Popen(
            argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as child:
            try:
                if kills_vmm:
                    self._cut.wait(self._random.random() * 2)
                    self._kill_vmm()
                stdout, stderr = child.communicate(timeout=STUCK_S if kill_after_s is None else kill_after_s)
            except subprocess.TimeoutExpired:
                if kill_after_s is None:
                    self._fault(f"stuck for {STUCK_S:.0f} s: {' '.join(argv[3:])}")
                self._tally.killed_callers += 1
                child.kill()
                return Answer(None, *child.communicate())
        return Answer(None if child.returncode < 0 else child.returncode, stdout, stderr)

    def _kill_vmm(self) -> None:
        for each in descendants():
            if not each.name.startswith("qemu-system") or not self._id:
                continue
            with suppress(OSError):
                for fd in os.listdir(f"/proc/{each.pid}/fd"):
                    if self._id in os.readlink(f"/proc/{each.pid}/fd/{fd}"):
                        process.kill(each.pid, each.start_time)
                        self._tally.killed_vmms += 1
                        self._killed_vmms += 1
                        self._is_disturbed = True
                        return

    def _fault(self, text: str) -> None:
        self._tally.fault("\n  ".join([f"{self.name}: {text}", *self._recent]))

    def _next(self) -> str:
        self._count += 1
        return f"{self.name}x{self._count}"


def _without_guest(world: World) -> World:
    """Return what may be found after the VMM was killed at some moment."""
    return replace(world, last=world.last | world.contents)


class _CutError(Exception):
    """Raised when the power is cut."""
