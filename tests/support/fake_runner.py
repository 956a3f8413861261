"""A runner that boots nothing, to test surfaces without the handlers behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.operations.run import Cleanup, VmExecResult
from pyro_mcp.operations.runner import Runner
from pyro_mcp.operations.validation import check_request
from pyro_mcp.operations.vms import VmResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.operations.operation import Call, Operation

VM_ID = "vm_" + "a" * 20


def exec_result(**changed: Any) -> VmExecResult:
    """Return the result of a command that did nothing."""
    facts: dict[str, Any] = {
        "vm_id": VM_ID,
        "environment": "debian:12",
        "command": "true",
        "execution_mode": "guest_virtio_serial",
        "isolation": "tcg",
        "exit_code": 0,
        "timed_out": False,
        "oom_killed": False,
        "duration_ms": 12,
        "stdout": "",
        "stderr": "",
        "stdout_size_bytes": 0,
        "stderr_size_bytes": 0,
        "stdout_truncated": False,
        "stderr_truncated": False,
        "cleanup": Cleanup(VM_ID, deleted=True, reason="post_exec_cleanup"),
        "network_refused": (),
        "network_hint": "",
    }
    return VmExecResult(**{**facts, **changed})


def vm_result(**changed: Any) -> VmResult:
    """Return the result of creating a VM."""
    facts: dict[str, Any] = {
        "vm_id": VM_ID,
        "environment": "debian:12",
        "state": "created",
        "stop_reason": None,
        "execution_mode": "pending",
        "isolation": None,
        "vcpu_count": 1,
        "mem_mib": 1024,
        "network_policy": "off",
        "network_enabled": False,
        "allow_host_compat": False,
        "guest_ip": None,
        "ttl_seconds": 600,
        "created_at": "2026-09-21T10:00:00.000Z",
        "expires_at": "2026-09-21T10:10:00.000Z",
        "last_error": "",
        "allow_hosts": (),
        "deny_hosts": (),
    }
    return VmResult(**{**facts, **changed})


class FakeRunner(Runner):
    """Checks requests as the real one does, then asks `answer` instead of the row's handler."""

    def __init__(self, answer: Callable[[Operation[Any, Any], Any, Call], Any]) -> None:
        super().__init__()
        self._answer = answer
        self.asked: list[tuple[str, Any]] = []

    def run(self, operation: Operation[Any, Any], request: Any, call: Call | None = None) -> Any:
        check_request(request)
        self.asked.append((operation.name, request))
        return self._answer(operation, request, call or self.call())
