"""The schemas of tools: flat, strict, made from the fields of requests and results.

No schema is written by hand. Unknown arguments, and those that a profile hides, are refused by name.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.operations.fields import Kind, parameters
from pyro_mcp.operations.validation import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.operations.operation import Operation

_TAKEN_BY_PYDANTIC = ("description", "ge", "le", "pattern", "max_length")
GUEST_NOTE_FIELD = "guest_output"
LEFT_OUT_FIELD = "left_out"
ERROR_SCHEMA: dict[str, object] = {
    "type": "object",
    "description": "Set instead of everything else if the tool itself failed.",
    "properties": {
        "code": {"type": "string", "description": "The kind of failure."},
        "message": {"type": "string", "description": "The problem, and the object concerned."},
        "hint": {"type": "string", "description": "How to fix it."},
        "details": {"type": "object", "description": "Machine-readable details."},
    },
    "required": ["code", "message", "hint"],
}


class ToolInput:
    """The arguments of one tool."""

    def __init__(self, operation: Operation[Any, Any], hidden: frozenset[str]) -> None:
        self._request = operation.request
        shown_fields = [each for each in parameters(operation.request) if each.in_mcp and each.name not in hidden]
        self._names = tuple(parameter.name for parameter in shown_fields)
        # They may hold secrets.
        self._private = {parameter.name for parameter in shown_fields if parameter.kind is Kind.RECORDS}
        hints = get_type_hints(operation.request)
        declared = {field.name: field for field in fields(operation.request)}
        definitions: dict[str, Any] = {}
        for name in self._names:
            field = declared[name]
            told = {key: value for key, value in field.metadata.items() if key in _TAKEN_BY_PYDANTIC}
            default = ... if field.default is MISSING else field.default
            definitions[name] = (hints[name], Field(default, **told))
        config = ConfigDict(extra="forbid", title=operation.mcp)
        self._model: type[BaseModel] = create_model(f"{operation.name}_input", __config__=config, **definitions)
        self.schema = _tidied(self._model.model_json_schema())

    def parse(self, arguments: Mapping[str, object]) -> object:
        """Turn the arguments of a call into a request.

        Raises:
            PyroError: INVALID, naming each argument that is unknown, missing or wrong.
        """
        try:
            model = self._model.model_validate(dict(arguments))
        except ValidationError as error:
            raise self._refusal(error) from None
        return self._request(**{name: getattr(model, name) for name in self._names})

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
                if parameter.kind.is_whole:
                    return f"{name} is a whole number from {parameter.minimum} to {parameter.maximum}."
                if parameter.kind is Kind.COMMAND:
                    return f"{name} is a string or a list of strings."
                if parameter.form:
                    return f"{name} is {parameter.form}."
        return f"{name}: {message}."


def output_schema(operation: Operation[Any, Any], *, guest_note: bool) -> dict[str, object]:
    """Return the schema of a tool's structured result: the operation's result, or an error.

    Clients check whatever is structured against it, so that errors must be part of it.
    """
    schema = _tidied(TypeAdapter(operation.result).json_schema(mode="serialization"))
    properties = cast("dict[str, object]", schema.get("properties", {}))
    required = list(properties)
    if guest_note:
        properties = {**properties, GUEST_NOTE_FIELD: {"type": "string", "description": "Who wrote the output."}}
    left_out = {"type": "array", "items": {"type": "string"}, "description": "What is omitted, and how to get it."}
    properties = {**properties, LEFT_OUT_FIELD: left_out}
    properties = {**properties, "ok": {"type": "boolean", "description": "False for an error."}, "error": ERROR_SCHEMA}
    for name in ("description", "required", "additionalProperties"):
        schema.pop(name, None)
    return {
        **schema,
        "type": "object",
        "properties": properties,
        "anyOf": [{"required": required}, {"required": ["error"]}],
    }


def _tidied(schema: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", _tidy(schema))


def _tidy(schema: object) -> object:
    """Take out the titles that pydantic makes of names: they tell a model nothing and cost it tokens."""
    if isinstance(schema, list):
        return [_tidy(each) for each in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    tidied: dict[str, object] = {}
    for key, value in cast("dict[str, object]", schema).items():
        if key == "title" and isinstance(value, str):
            continue
        if key in {"properties", "$defs"}:
            tidied[key] = {name: _tidy(each) for name, each in cast("dict[str, object]", value).items()}
        else:
            tidied[key] = _tidy(value)
    return tidied
