"""Write a result as lines for a model: the outcome first and last, then what is short, then what is long.

Chat hosts cut what is longer by themselves, at the end or in the middle, and OpenCode by whole lines at 50 KB: a result
on one line would vanish there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pyro_mcp.mcp_server.shaping import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Bound = Callable[[str], str]

MAX_TEXT_BYTES = 48_000
# How much of each text is shown, from the most to what fits in any case.
_LIMITS = (100_000, 12_000, 4_000, 1_000, 200)
_MISSING_CHARS = 4_000
# How the call ended, if a result has it.
_OUTCOME = (
    "exit_code", "timed_out", "oom_killed", "state", "stop_reason", "changed", "created", "deleted", "closed", "count",
    "entry_count", "bytes_written", "size_bytes",
)  # fmt: skip
_TIMED_OUT = (
    "It ran out of time and its processes were killed: raise timeout_seconds, or let it run in the background with its"
    " output in a file, and look at that later."
)


def as_text(document: Mapping[str, object]) -> str:
    """Return a shaped result or error as text, of at most `MAX_TEXT_BYTES` bytes."""
    text = ""
    for limit in _LIMITS:
        text = "\n".join(_lines(document, lambda value, limit=limit: bounded(value, limit, "ask for less")))
        if len(text.encode("utf-8", "replace")) <= MAX_TEXT_BYTES:
            return text
    return bounded(text, MAX_TEXT_BYTES // 4, "ask for less")


def _lines(document: Mapping[str, object], bound: Bound) -> Iterator[str]:
    error = document.get("error")
    if document.get("ok") is False and isinstance(error, dict):
        told = cast("dict[str, object]", error)
        yield f"error ({told.get('code')}): {bound(str(told.get('message', '')))}"
        if told.get("hint"):
            yield f"hint: {bound(str(told['hint']))}"
        details = told.get("details")
        yield from _members(cast("dict[str, object]", details) if isinstance(details, dict) else {}, bound, "")
        return
    if document.get("missing_count"):
        # Nobody may take a patch for whole that is not.
        missing = cast("list[dict[str, object]]", document["missing"])
        named = "; ".join(f"{each['status']} {_scalar(each['path'])} ({each['reason']})" for each in missing)
        yield bounded(f"not in the patch: {named}", _MISSING_CHARS, "path=… shows one of them")
    outcome = ", ".join(f"{name}={_scalar(document[name])}" for name in _OUTCOME if _is_told(document, name))
    if outcome:
        yield outcome
    if document.get("timed_out") is True:
        yield _TIMED_OUT
    rest = {name: value for name, value in document.items() if name not in _OUTCOME}
    lines = list(_members(rest, bound, ""))
    yield from lines
    if outcome and sum(map(len, lines)) > _LIMITS[-1]:
        yield outcome


def _is_told(document: Mapping[str, object], name: str) -> bool:
    value = document.get(name)
    return value is not None and not isinstance(value, (dict, list)) and (value is not False or name == "changed")


def _members(document: Mapping[str, object], bound: Bound, indent: str) -> Iterator[str]:
    """Give the lines of an object's members: those of one line first; what is empty is left out."""
    later: list[tuple[str, str]] = []
    for name, value in document.items():
        if value is None or value is False or value in ("", [], {}):
            continue
        if isinstance(value, list):
            items = cast("list[object]", value)
            yield f"{indent}{name} ({len(items)}):"
            for item in items:
                yield from _item(item, bound, f"{indent}  ")
        elif isinstance(value, dict):
            yield f"{indent}{name}: {_inline(cast('dict[str, object]', value))}"
        elif isinstance(value, str) and "\n" in value:
            later.append((name, bound(value)))
        else:
            yield f"{indent}{name}: {bound(_scalar(value))}"
    for name, text in later:
        yield f"{indent}--- {name}, {len(text)} characters:"
        yield text.removesuffix("\n")
        yield f"{indent}--- end of {name}"


def _item(item: object, bound: Bound, indent: str) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"{indent}- {bound(_scalar(item))}"
        return
    members = cast("dict[str, object]", item)
    long = {name: value for name, value in members.items() if isinstance(value, str) and "\n" in value}
    yield f"{indent}- {_inline({name: value for name, value in members.items() if name not in long}, bound)}"
    yield from _members(long, bound, f"{indent}  ")


def _inline(document: Mapping[str, object], bound: Bound = str) -> str:
    kept = {name: value for name, value in document.items() if value is not None and value not in ("", [], {})}
    return ", ".join(f"{name}={_scalar(value, bound)}" for name, value in kept.items())


def _scalar(value: object, bound: Bound = str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{{_inline(cast('dict[str, object]', value), bound)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_scalar(each, bound) for each in cast('list[object]', value))}]"
    return bound(" ".join(str(value).splitlines()))
