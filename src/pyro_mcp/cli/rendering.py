"""What a result looks like to a person.

Owns one renderer for each result, tables, and sizes in words. Refuses to put control characters of somebody else's into
our own output: every value goes through `printable_line`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyro_mcp.cli.streams import STDOUT, put, styled
from pyro_mcp.operations.printable import printable_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyro_mcp.operations.diagnosis import DoctorResult
    from pyro_mcp.operations.environments import EnvListResult, EnvPruneResult
    from pyro_mcp.operations.operation import Operation, Result
    from pyro_mcp.operations.vm_values import VmDeleteResult, VmListResult, VmReapExpiredResult

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_GOOD, _BAD, _ODD = "32", "31", "33"
_COLOURS = {"installed": _GOOD, "started": _GOOD, "broken": _BAD, "failed": _BAD, "outdated": _ODD}


def show(operation: Operation[Any, Any], result: Result) -> None:
    """Write a result for a person to stdout."""
    if operation.cli is not None and operation.cli[0] == "workspace":
        from pyro_mcp.cli.workspace_output import show_workspace_result

        show_workspace_result(operation.name, result)
    else:
        put(render(operation, result))


def render(operation: Operation[Any, Any], result: Result) -> str:
    """Return the text for a result."""
    renderer = _RENDERERS.get(operation.name)
    return renderer(result) if renderer else facts(result.to_dict())


def facts(document: dict[str, object], indent: str = "") -> str:
    """Return an object's fields, one to a line; what is empty is left out, and so are long lists."""
    lines: list[str] = []
    for key, value in document.items():
        if value is None or value in ("", [], {}):
            continue
        name = key.replace("_", " ")
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", facts(cast("dict[str, object]", value), indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}: {', '.join(_text(each) for each in cast('list[object]', value))}")
        else:
            lines.append(f"{indent}{name}: {size(value) if key.endswith('_bytes') else _text(value)}")
    return "\n".join(line for line in lines if line)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their heads, columns aligned."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(heads), *cells]) for column in range(len(heads))]
    lines = [list(heads), *cells]
    plain = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(
        [styled(plain[0], "1", STDOUT), *(_coloured(line, row) for line, row in zip(plain[1:], cells, strict=True))]
    )


def size(value: object) -> str:
    """Return a number of bytes in words."""
    number = float(cast("int", value))
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def _coloured(line: str, row: Sequence[str]) -> str:
    for cell in row:
        if cell in _COLOURS:
            return line.replace(cell, styled(cell, _COLOURS[cell], STDOUT), 1)
    return line


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable_line(str(value))


def _env_list(result: EnvListResult) -> str:
    rows: list[Sequence[object]] = []
    for each in result.environments:
        state = "outdated" if each.outdated else each.state
        taken = size(each.size_bytes) if each.size_bytes is not None else None
        rows.append((each.name, state, taken, each.reason or each.description))
    return table(("ENVIRONMENT", "STATE", "SIZE", "CONTENT"), rows)


def _env_prune(result: EnvPruneResult) -> str:
    lines = [f"removed {printable_line(each)}" for each in result.removed]
    lines += [f"left alone, since it is being pulled: {printable_line(each)}" for each in result.skipped]
    return "\n".join([*lines, f"freed {size(result.freed_bytes)}"])


def _vm_list(result: VmListResult) -> str:
    if not result.vms:
        return "no VMs"
    rows = [
        (vm.vm_id, vm.state, vm.environment, vm.isolation, f"{vm.vcpu_count} CPU, {vm.mem_mib} MiB", vm.expires_at)
        for vm in result.vms
    ]
    return table(("VM", "STATE", "ENVIRONMENT", "ISOLATION", "SHAPE", "EXPIRES"), rows)


def _vm_delete(result: VmDeleteResult) -> str:
    return f"deleted {result.vm_id}"


def _vm_reap_expired(result: VmReapExpiredResult) -> str:
    return "\n".join(f"cleared away {vm_id}" for vm_id in result.vm_ids) or "nothing has expired"


def _demo(result: Result) -> str:
    import json

    # The demo's product is one JSON object, with --json or without.
    return json.dumps(result.to_dict(), indent=2)


def _doctor(result: DoctorResult) -> str:
    from pyro_mcp.cli.doctor_report import doctor_report

    return doctor_report(result)


_RENDERERS: dict[str, Callable[[Any], str]] = {
    "env_list": _env_list,
    "env_prune": _env_prune,
    "vm_list": _vm_list,
    "vm_delete": _vm_delete,
    "vm_reap_expired": _vm_reap_expired,
    "demo": _demo,
    "doctor": _doctor,
}
