"""The shape of a command, for the parser."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pyro_mcp.operations.fields import Parameter, parameters

# argparse's names for options that are not fields of a request, and for those that name a file with the value.
JSON, ONLY, QUIET, FOLLOW, FORMAT = "json", "print only", "quiet", "follow", "format"
STDIN, TTY, FILE_SUFFIX = "pass stdin", "terminal", " file"


class Shape(NamedTuple):
    """The shape of a command, as far as the parser needs it."""

    words: tuple[str, ...]
    description: str
    request: type[Any]
    takes_json: bool = True
    #: The option that prints one field of the result alone.
    only: str = ""
    #: The help of -q; "" if the command does not take it.
    quiet: str = ""
    takes_stdin: bool = False
    #: Options that show a result in another form, and their help.
    formats: Mapping[str, str] = MappingProxyType({})
    #: Whether -f follows the log.
    follows: bool = False
    #: Whether its first argument may be given several times.
    takes_many: bool = False
    #: What its help says after the options.
    epilog: str = ""

    @property
    def path(self) -> str:
        """Return the command as typed, without `pyro`."""
        return " ".join(self.words)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Return the request's fields on the command line."""
        return parameters(self.request, "cli")
