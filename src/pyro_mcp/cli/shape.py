"""What of a command the parser needs to know."""

from __future__ import annotations

from typing import Any, NamedTuple

# What argparse calls those options that are no field of a request, and the options that name a file with the value.
JSON, ONLY, STDIN, FILE_SUFFIX = "json", "print only", "pass stdin", " file"


class Shape(NamedTuple):
    """What of a command the parser needs to know."""

    words: tuple[str, ...]
    description: str
    request: type[Any]
    takes_json: bool = True
    #: The option that prints one field of the result alone.
    only: str = ""
    takes_stdin: bool = False

    @property
    def path(self) -> str:
        """Return the command as it is typed, without `pyro`."""
        return " ".join(self.words)
