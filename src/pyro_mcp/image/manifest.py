"""The manifest of an install: its contents, and its inputs.

Fields of the wrong type and newer formats are rejected; unknown fields are ignored, so that fields can be added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.image.integrity import Artifact

FILE_NAME = "manifest.json"
FORMAT = 1
_DIGITS = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Manifest:
    """An install's description of itself. `facts` is everything but the kind, the name and the artifacts."""

    kind: str
    name: str
    artifacts: Mapping[str, Artifact]
    facts: Mapping[str, object] = field(default_factory=dict[str, object])

    def to_bytes(self) -> bytes:
        """Return the manifest as stored on disk. The same content gives the same bytes."""
        document: dict[str, object] = {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.name,
            "artifacts": {
                name: {"sha256": artifact.sha256, "size": artifact.size} for name, artifact in self.artifacts.items()
            },
            **self.facts,
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, kind: str) -> Manifest:
        """Read a manifest.

        Raises:
            PyroError: CORRUPT if it is not one of this kind.
        """
        try:
            document = as_object(json.loads(data), "the manifest")
        except (ValueError, RecursionError) as error:
            raise PyroError(ErrorCode.CORRUPT, f"{FILE_NAME} is not JSON: {error}") from error
        if document.pop("format", None) != FORMAT:
            raise PyroError(ErrorCode.CORRUPT, f"{FILE_NAME} has a format that this version does not know")
        if (found := document.pop("kind", None)) != kind:
            raise PyroError(ErrorCode.CORRUPT, f"{FILE_NAME} is of kind {found!r} instead of {kind!r}")
        name = as_text(document.pop("name", None), "name")
        listed = as_object(document.pop("artifacts", None), "artifacts")
        artifacts = {path: _artifact(path, value) for path, value in listed.items()}
        return cls(kind, name, artifacts, document)

    def text(self, key: str) -> str:
        """Return the fact `key`, which must be a string."""
        return as_text(self.facts.get(key), key)

    def texts(self, key: str) -> dict[str, str]:
        """Return the fact `key`, which must map strings to strings."""
        table = as_object(self.facts.get(key), key)
        return {name: as_text(value, f"{key}.{name}") for name, value in table.items()}

    def number(self, key: str) -> int:
        """Return the fact `key`, which must be a whole number."""
        value = self.facts.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(key)
        return value


def as_object(value: object, what: str) -> dict[str, object]:
    """Return `value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise _wrong(what)
    return dict(cast("dict[str, object]", value))


def as_text(value: object, what: str) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise _wrong(what)
    return value


def _artifact(path: str, value: object) -> Artifact:
    table = as_object(value, path)
    sha256, size = as_text(table.get("sha256"), path), table.get("size")
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts):
        raise PyroError(ErrorCode.CORRUPT, f"{FILE_NAME} names an artifact {path!r} that leads elsewhere")
    if not is_digest(sha256) or not isinstance(size, int):
        raise _wrong(path)
    return Artifact(sha256, size)


def is_digest(text: str) -> bool:
    """Return whether `text` is a SHA-256 in hex."""
    return len(text) == 64 and _DIGITS.issuperset(text)


def _wrong(what: str) -> PyroError:
    return PyroError(ErrorCode.CORRUPT, f"{what} is missing or of the wrong type")
