"""Start a VMM under its keeper, in the same way for every driver.

If a step fails, everything is undone.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from pyro_mcp.errors import ErrorCode, PyroError, os_errors
from pyro_mcp.host import process
from pyro_mcp.host.console import console_end
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.process import Child
from pyro_mcp.host.waiting import Deadline
from pyro_mcp.model.kinds import Accelerator, VmmKind
from pyro_mcp.model.machine import MachineRecord
from pyro_mcp.vmm.driver import MachineSpec
from pyro_mcp.vmm.keeper import CONSOLE, Limits, start_keeper, start_remover
from pyro_mcp.vmm.machine import KeptMachine

_MAX_INFO_BYTES = 4096
_CONSOLE_BYTES = 64 * 1024
_SHOWN_CHARS = 2000

M = TypeVar("M", bound=KeptMachine)


@dataclass(frozen=True, slots=True)
class Command:
    """The command to run under the keeper, the descriptors it inherits, and (root only) its uid and groups."""

    argv: Sequence[str]
    pass_fds: Sequence[int]
    user: int | None = None
    groups: Sequence[int] = ()
    limits: Limits | None = None
    flush: Sequence[str] = ()


def _no_explanation(output: str) -> PyroError | None:
    del output
    return None


@contextmanager
def started(
    spec: MachineSpec,
    machine_type: Callable[[MachineRecord], M],
    prepare: Callable[[int, ExitStack], Command],
    *,
    kind: VmmKind,
    accelerator: Accelerator,
    facts: Mapping[str, object],
    explain: Callable[[str], PyroError | None] = _no_explanation,
    deadline: Deadline,
) -> Generator[M]:
    """Start a VMM and yield its machine, which is killed if the block raises.

    `prepare` opens the descriptors for the VMM on the given stack and returns the command, which must write a JSON
    object with `child-pid`, the VMM's pid, to the given descriptor. `explain` may translate the end of the VMM's output
    into a specific error.

    Raises:
        PyroError: UNAVAILABLE with the end of the VMM's output, or the error of `explain`; TIMEOUT; the errors of
            `prepare`.
    """
    with ExitStack() as stack:
        console = _open_console(spec)
        stack.callback(os.close, console)
        info, info_writer = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, info)
        with ExitStack() as inherited:
            inherited.callback(os.close, info_writer)
            command = prepare(info_writer, inherited)
            keeper = start_keeper(
                command.argv,
                console=spec.state_dir / CONSOLE,
                ttl_s=spec.ttl_s,
                remove=spec.remove_at_end,
                pass_fds=[*command.pass_fds, info_writer],
                user=command.user,
                groups=command.groups,
                limits=command.limits,
                flush=command.flush,
                owned=spec.owned,
            )
        # Our copies are closed now, so if the VMM dies, its sockets and pipes report that.
        stack.enter_context(keeper)
        fault_point("vmm.after_keeper")
        remover = start_remover(spec.remove_at_ttl, after_s=spec.ttl_s) if spec.remove_at_ttl else None
        if remover is not None:
            stack.enter_context(remover)
        record = _record(spec, kind, accelerator, facts, keeper, remover)
        machine = machine_type(record)
        try:
            pid = _read_pid(info, deadline)
            record = replace(record, vmm_pid=pid, vmm_start_time=process.start_time(pid) or 0)
            machine = machine_type(record)
            fault_point("vmm.after_start")
            yield machine
        except BaseException as error:
            machine.kill()
            if isinstance(error, PyroError) and error.code in {ErrorCode.GUEST_LOST, ErrorCode.TIMEOUT}:
                raise _with_output(error, console_end(console, _CONSOLE_BYTES)[-_SHOWN_CHARS:], explain) from error
            raise


def _open_console(spec: MachineSpec) -> int:
    """Create the console log; the descriptor keeps it readable even if the file is removed early."""
    path = spec.state_dir / CONSOLE
    with os_errors(f"create the console log {path}"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _record(
    spec: MachineSpec,
    kind: VmmKind,
    accelerator: Accelerator,
    facts: Mapping[str, object],
    keeper: Child,
    remover: Child | None,
) -> MachineRecord:
    own: dict[str, object] = {
        "console": os.fspath(spec.state_dir / CONSOLE),
        "remove_at_end": [os.fspath(path) for path in spec.remove_at_end],
        **facts,
    }
    if remover is not None:
        own |= {"remover_pid": remover.pid, "remover_start_time": remover.start_time}
    return MachineRecord(
        kind=kind,
        accelerator=accelerator,
        boot_id=process.boot_id(),
        runtime_dir=os.fspath(spec.runtime_dir),
        keeper_pid=keeper.pid,
        keeper_start_time=keeper.start_time,
        facts=own,
    )


def _read_pid(info: int, deadline: Deadline) -> int:
    """Read the VMM's pid. The pipe ends without one if the VMM or its jail could not be started."""
    poller = select.poll()
    poller.register(info, select.POLLIN)
    text = b""
    while len(text) < _MAX_INFO_BYTES:
        if not poller.poll(deadline.remaining_s() * 1000):
            raise deadline.error()
        data = os.read(info, _MAX_INFO_BYTES)
        if not data:
            break
        text += data
        if text.rstrip().endswith(b"}"):
            pid = cast("dict[str, object]", json.loads(text)).get("child-pid")
            if isinstance(pid, int):
                return pid
            break
    raise PyroError(ErrorCode.GUEST_LOST, "the VMM did not start")


def _with_output(error: PyroError, output: str, explain: Callable[[str], PyroError | None]) -> PyroError:
    known = explain(output)
    if known is not None:
        return known
    code = ErrorCode.UNAVAILABLE if error.code is ErrorCode.GUEST_LOST else error.code
    what = "the VMM exited during its start" if error.code is ErrorCode.GUEST_LOST else error.message
    shown = f"; its output ends with:\n{output}" if output else ""
    return PyroError(code, what + shown, hint=error.hint, details={**error.details, "console": output})
