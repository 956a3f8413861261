"""The schemas of tools: flat, strict, made from the fields of requests and results.

No schema is written by hand. Unknown arguments, and those that a profile hides, are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.limits import NoneGiven
from pyro_mcp.operations.fields import Kind, parameters
from pyro_mcp.operations.operation import Operation
from pyro_mcp.operations.validation import shown

_TAKEN_BY_PYDANTIC = ("description", "ge", "le", "pattern", "max_length")
_LEFT_TO_REFUSALS = frozenset({"title", "pattern", "maxLength", "maxItems"})
GUEST_NOTE_FIELD = "guest_output"
LEFT_OUT_FIELD = "left_out"


class ToolInput:
    """The arguments of one tool: those that are not hidden. `given` has values for those that a call leaves out."""

    def __init__(
        self, operation: Operation[Any, Any], hidden: frozenset[str], given: Mapping[str, object] | None = None
    ) -> None:
        self._request = operation.request
        self._given = given or {}
        shown_fields = [each for each in parameters(operation.request, "mcp") if each.name not in hidden]
        self._names = tuple(parameter.name for parameter in shown_fields)
        # They may hold secrets.
        self._private = {parameter.name for parameter in shown_fields if parameter.kind is Kind.RECORDS}
        hints = get_type_hints(operation.request)
        declared = {field.name: field for field in fields(operation.request)}
        definitions: dict[str, Any] = {}
        for parameter in shown_fields:
            name, field = parameter.name, declared[parameter.name]
            # Of a list, a pattern and a length are for each item: the request's check looks at those.
            taken = ("description",) if parameter.kind is Kind.TEXTS else _TAKEN_BY_PYDANTIC
            told = {key: value for key, value in field.metadata.items() if key in taken}
            default = self._given.get(name, ... if field.default is MISSING else field.default)
            if isinstance(default, NoneGiven):
                default = int(default)
            definitions[name] = (hints[name], Field(default, **told))
        config = ConfigDict(extra="forbid", title=operation.mcp)
        self._model: type[BaseModel] = create_model(f"{operation.name}_input", __config__=config, **definitions)
        self.schema = _brief(self._model.model_json_schema())

    def parse(self, arguments: Mapping[str, object]) -> object:
        """Turn the arguments of a call into a request.

        Raises:
            PyroError: INVALID, naming each argument that is unknown, missing or wrong.
        """
        try:
            model = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            raise self._refusal(error) from None
        # What was left out gets the request's own default, which may be one that can be told from a value given.
        given = {name: getattr(model, name) for name in self._names if name in model.model_fields_set}
        return self._request(**{**self._given, **given})

    def _refusal(self, error: ValidationError) -> PyroError:
        problems: dict[str, str] = {}
        hints: list[str] = []
        for each in error.errors(include_url=False):
            name = str(each["loc"][0]) if each["loc"] else "arguments"
            match each["type"]:
                case "extra_forbidden":
                    problems[name] = f"unknown argument {name[:60]!r}"
                    hints.append(self._meant(name))
                case "missing":
                    problems[name] = f"the argument {name} is missing"
                case _:
                    wrong = "malformed" if name in self._private else shown(each["input"])
                    problems.setdefault(name, f"{name} is {wrong}")
                    hints.append(self._form(name, str(each["msg"])))
        hints.append(f"The arguments are: {', '.join(self._names) or 'none'}.")
        return PyroError(
            ErrorCode.INVALID,
            "; ".join(problems.values()),
            hint=" ".join(dict.fromkeys(hint for hint in hints if hint)),
            details={"arguments": list(problems)},
        )

    def _meant(self, name: str) -> str:
        import difflib

        close = difflib.get_close_matches(name, self._names, n=1, cutoff=0.5)
        return f"Did you mean {close[0]}?" if close else ""

    def _form(self, name: str, message: str) -> str:
        for parameter in parameters(self._request):
            if parameter.name == name:
                if parameter.kind is Kind.NUMBER:
                    return f"{name} is a number from {parameter.minimum} to {parameter.maximum}, or null for no limit."
                if parameter.kind.is_whole:
                    return f"{name} is a whole number from {parameter.minimum} to {parameter.maximum}."
                if parameter.kind is Kind.COMMAND:
                    return f"{name} is a string or a list of strings."
                if parameter.form:
                    return f"{name} is {parameter.form}."
        return f"{name}: {message}."


def output_schema(operation: Operation[Any, Any], *, guest_note: bool) -> dict[str, object]:
    """Return the schema of a tool's structured result: names and types, of the operation's result or an error.

    Clients check all structured content against it, so that errors must be part of it and nothing is required. The
    fields are described in the reference: a model pays for these lists with every request, and results explain
    themselves.
    """
    schema = TypeAdapter(operation.result).json_schema(mode="serialization")
    kept = {name: {"type": _types(each)} for name, each in schema.get("properties", {}).items()}
    note: dict[str, Any] = {GUEST_NOTE_FIELD: {"type": "string"}} if guest_note else {}
    own = {"ok": {"type": "boolean"}, "error": {"type": "object"}}
    return {"type": "object", "properties": {**kept, **note, **own}}


def _types(schema: dict[str, Any]) -> str | list[str]:
    """Return what type a schema asks for, or which."""
    if "anyOf" in schema:
        return [str(_types(part)) for part in schema["anyOf"]]
    # Only results, which are objects, are defined elsewhere.
    return str(schema.get("type", "object"))


def _in_words(schema: dict[str, Any]) -> dict[str, Any]:
    low, high, default = schema.pop("minimum", None), schema.pop("maximum", None), schema.get("default")
    words = [] if low is None or high is None else [f"{low} to {high}"]
    words += [] if default is None or isinstance(default, bool) else [f"default {default}"]
    if not words:
        return schema
    told = "; ".join(words)
    return {**schema, "description": f"{schema.get('description', '')} {told[0].upper()}{told[1:]}.".lstrip()}


def _brief(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an input schema with what a model needs: names, types, defaults, descriptions.

    Patterns and lengths are checked when a call comes, and the refusal says what the argument has to look like. Ranges
    and defaults stand in the descriptions, since Codex shows a model nothing else of them.
    """
    briefed = {key: value for key, value in schema.items() if key not in _LEFT_TO_REFUSALS}
    if "properties" in briefed:
        briefed["properties"] = {name: _in_words(_brief(each)) for name, each in briefed["properties"].items()}
    if "items" in briefed:
        briefed["items"] = _brief(briefed["items"])
    if "anyOf" in briefed:
        parts = [_brief(part) for part in briefed.pop("anyOf")]
        merged = {key: value for part in parts for key, value in part.items()}
        briefed = {**merged, **briefed, "type": [part["type"] for part in parts]}
    return briefed
