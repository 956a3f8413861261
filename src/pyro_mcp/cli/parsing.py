"""Parse the words after a command into its request, with an argparse parser derived from the operation's row.

Only the called command's parser is built. The request declares and checks the bounds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from pyro_mcp.cli.shape import FILE_SUFFIX, FOLLOW, FORMAT, JSON, ONLY, QUIET, STDIN, TTY, Shape
from pyro_mcp.cli.streams import STDOUT, put
from pyro_mcp.cli.usage import UsageError, suggestion, with_help
from pyro_mcp.operations.fields import Kind, Parameter, Place
from pyro_mcp.operations.validation import check_request

_WIDTH, _NARROWEST = 100, 40
# Kinds whose option may be given several times.
COLLECTED = frozenset({Kind.TEXTS, Kind.PAIRS, Kind.RECORDS, Kind.PORTS})
_FROM_FILE = {
    Kind.RECORDS: "A file with the value instead.",
    Kind.PAIRS: "A file of this host with one NAME=VALUE per line (repeatable).",
}


class Parsed(NamedTuple):
    """A parsed command line. `others` are the requests for further ids."""

    request: Any
    json: bool
    only: bool = False
    quiet: bool = False
    stdin: bool = False
    tty: bool = False
    follow: bool = False
    format: str = ""
    others: tuple[Any, ...] = ()


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises errors instead of printing them.

    `after` is shown after the options, with its own lines: argparse would fill an epilog.
    """

    after = ""

    def error(self, message: str) -> NoReturn:
        """Raise it."""
        raise UsageError(_sentence(message), hint=with_help(self.prog.removeprefix("pyro").strip()))

    def print_help(self, file: object = None) -> None:
        """Print it, past the buffer of `sys.stdout`."""
        del file
        put(f"{self.format_help()}\n{self.after}" if self.after else self.format_help())


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Given the width, argparse does not load shutil to determine it, which it does for every option added.
    width = os.get_terminal_size(STDOUT).columns if os.isatty(STDOUT) else _WIDTH
    return argparse.HelpFormatter(prog, width=max(width - 2, _NARROWEST))


def parse(shape: Shape, arguments: Sequence[str]) -> Parsed:
    """Turn the words after a command into its request.

    Raises:
        UsageError: an unknown option, a missing argument, a value out of bounds.
    """
    known = shape.parameters
    parser = make_parser(shape)
    before, command = _split(arguments, known, parser)
    # With several positional arguments, options may be between them.
    take = parser.parse_known_intermixed_args if shape.takes_many else parser.parse_known_args
    found, unknown = take(before)
    if unknown:
        raise _unknown(shape, parser, unknown)
    given = vars(found)
    values: dict[str, Any] = {}
    for parameter in known:
        if parameter.place is Place.COMMAND:
            values[parameter.name] = _command(shape, command)
        elif parameter.from_file or parameter.kind in COLLECTED:
            from pyro_mcp.cli.collecting import collected

            values[parameter.name] = collected(parameter, given, shape.path)
        else:
            values[parameter.name] = given[parameter.name]
    first = known[0].name if shape.takes_many else ""
    named = list(dict.fromkeys(values[first])) if first else [None]
    requests = [shape.request(**(values | {first: each} if first else values)) for each in named]
    for request in requests:
        _check(shape, request)
    flags = (bool(given.get(name)) for name in (JSON, ONLY, QUIET, STDIN, TTY, FOLLOW))
    return Parsed(requests[0], *flags, format=given.get(FORMAT) or "", others=tuple(requests[1:]))


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether --json was given, in a command line that may be otherwise invalid."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def make_parser(shape: Shape) -> argparse.ArgumentParser:
    """Return the parser of one command."""
    parser = _Parser(
        prog=f"pyro {shape.path}",
        usage=usage_line(shape),
        description=shape.description,
        allow_abbrev=False,
        add_help=False,
        formatter_class=_formatter,
    )
    parser.after = shape.epilog
    fill_parser(parser, shape)
    return parser


def fill_parser(parser: argparse.ArgumentParser, shape: Shape) -> None:
    """Add a command's arguments to a parser."""
    for number, parameter in enumerate(shape.parameters):
        if parameter.place is not Place.COMMAND:
            _add(parser, parameter, is_many=shape.takes_many and not number)
    if shape.only:
        said = f"print the {shape.only.removeprefix('--').removesuffix('-only')} only"
        parser.add_argument(shape.only, dest=ONLY, action="store_true", help=said)
    if shape.quiet:
        parser.add_argument("-q", "--quiet", dest=QUIET, action="store_true", help=shape.quiet)
    if shape.formats:
        group = parser.add_mutually_exclusive_group()
        for name, said in shape.formats.items():
            group.add_argument(f"--{name}", dest=FORMAT, action="store_const", const=name, help=said)
    if shape.follows:
        parser.add_argument(
            "-f", "--follow", dest=FOLLOW, action="store_true", help="follow the log until it ends or Ctrl-C"
        )
    if shape.takes_stdin:
        parser.add_argument("-i", dest=STDIN, action="store_true", help="pass stdin to the command")
        said = "run it at your terminal, without a time limit: -it; Ctrl-] detaches"
        parser.add_argument("-t", "--tty", dest=TTY, action="store_true", help=said)
    if shape.takes_json:
        parser.add_argument("--json", dest=JSON, action="store_true", help="print one JSON document, for errors too")
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")


def usage_line(shape: Shape) -> str:
    """Return a command's usage, on one line."""
    parts = ["pyro", *shape.words]
    options = any(p.place is Place.OPTION for p in shape.parameters)
    positionals = [p for p in shape.parameters if p.place is Place.POSITIONAL]
    parts += [p.names if p.required else f"[{p.names}]" for p in positionals]
    parts[-1] += "…" * (shape.takes_many or any(p.kind is Kind.TEXTS for p in positionals))
    if options or shape.takes_json:
        parts.append("[options]")
    if any(p.place is Place.COMMAND for p in shape.parameters):
        parts.append("-- COMMAND…")
    return " ".join(parts)


def help_text(parameter: Parameter) -> str:
    """Return the help of one parameter: its description, unit and default."""
    text = parameter.description
    if parameter.kind.has_range:
        unit = f" {parameter.unit}" if parameter.unit else ""
        default = "" if parameter.default is None else f"; default: {parameter.default}"
        text += f" ({parameter.minimum} to {parameter.maximum}{unit}{default})"
    elif parameter.default not in {None, False, ""}:
        text += f" (default: {parameter.default})"
    return text


def _add(parser: argparse.ArgumentParser, parameter: Parameter, *, is_many: bool = False) -> None:
    said = help_text(parameter).replace("%", "%%")
    if parameter.place is Place.POSITIONAL:
        optional: dict[str, Any] = {} if parameter.required else {"nargs": "?", "default": parameter.default}
        if is_many or parameter.kind is Kind.TEXTS:
            optional = {"nargs": "+"}
            said += " (repeatable)"
        parser.add_argument(parameter.name, metavar=parameter.names, help=said, **optional)
    elif parameter.kind is Kind.CLAIM:
        action = argparse.BooleanOptionalAction if parameter.default is True else "store_true"
        options = filter(None, (parameter.short, parameter.option))
        parser.add_argument(*options, dest=parameter.name, action=action, default=parameter.default, help=said)
    else:
        collects = parameter.kind in COLLECTED
        home: Any = parser
        if parameter.also or (parameter.from_file and not collects):
            home = parser.add_mutually_exclusive_group(required=parameter.required)
        home.add_argument(
            *filter(None, (parameter.short, parameter.option)),
            dest=parameter.name,
            type=_READ.get(parameter.kind, str),
            action="append" if collects else "store",
            default=parameter.default,
            required=parameter.required and not parameter.from_file,
            metavar=parameter.names or ("N" if parameter.kind.has_range else "TEXT"),
            help=said + (" (repeatable)" if collects else ""),
        )
        if parameter.also:
            names, read, example = _ALSO[parameter.unit]
            if parameter.kind is Kind.NUMBER:
                example = example.replace(" or ", ", ") + " or none"
            said = f"Same as {parameter.option}{example}."
            home.add_argument(
                parameter.also, dest=parameter.name, type=read, default=parameter.default, metavar=names, help=said
            )
        if parameter.from_file:
            home.add_argument(
                parameter.from_file,
                dest=parameter.name + FILE_SUFFIX,
                action="append" if collects else "store",
                metavar="NAME=FILE" if parameter.kind is Kind.RECORDS else "FILE",
                help=_FROM_FILE.get(parameter.kind, "A file of this host (- is stdin) with the value instead."),
            )


def _seconds(text: str) -> float | None:
    from pyro_mcp.cli.units import seconds

    return seconds(text)


def _mebibytes(text: str) -> int:
    from pyro_mcp.cli.units import mebibytes

    return mebibytes(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None


_READ: dict[Kind, Callable[[str], object]] = {Kind.WHOLE: _whole, Kind.OPTIONAL_WHOLE: _whole, Kind.NUMBER: _seconds}
# For each unit: the placeholder of the value, its parser, examples.
_ALSO: dict[str, tuple[str, Callable[[str], object], str]] = {
    "": ("N", _whole, ""),
    "seconds": ("DURATION", _seconds, ", such as 90s, 5m or 1h30m"),
    "MiB": ("SIZE", _mebibytes, ", such as 512m or 2g"),
}


def _split(
    arguments: Sequence[str], known: tuple[Parameter, ...], parser: argparse.ArgumentParser
) -> tuple[list[str], list[str] | None]:
    """Split the words before a guest's command: at the first --, or after the last positional argument."""
    words = list(arguments)
    if all(parameter.place is not Place.COMMAND for parameter in known):
        return words, None
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    options = parser._option_string_actions
    left = sum(parameter.place is Place.POSITIONAL for parameter in known)
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            if not left:
                return words[:at], words[at:]
            left -= 1
        elif word in options and options[word].nargs != 0:
            # The option's value.
            at += 1
        elif word.partition("=")[0] not in options and word[:2] not in options:
            break
        at += 1
    return words, None


def _command(shape: Shape, command: list[str] | None) -> str | tuple[str, ...]:
    if not command:
        raise UsageError("missing command", hint=with_help(shape.path, "Put it at the end, after --."))
    # One argument is a shell command line; several are passed as they are.
    return command[0] if len(command) == 1 else tuple(command)


def _check(shape: Shape, request: object) -> None:
    from pyro_mcp.errors import PyroError

    def label(parameter: Parameter) -> str:
        return parameter.option if parameter.place is Place.OPTION else (parameter.names or parameter.name)

    try:
        check_request(request, label=label)
    except PyroError as error:
        raise UsageError(error.message, hint=with_help(shape.path, error.hint)) from None


def _unknown(shape: Shape, parser: argparse.ArgumentParser, unknown: list[str]) -> UsageError:
    word = unknown[0]
    if word.startswith("-"):
        options = [string for action in parser._actions for string in action.option_strings]
        hint = suggestion(word.partition("=")[0], options)
        return UsageError(f"unknown option {word[:60]}", hint=with_help(shape.path, hint))
    return UsageError(f"unexpected argument {word[:60]!r}", hint=with_help(shape.path))


def _sentence(message: str) -> str:
    """Return argparse's message in our style."""
    if message.startswith("the following arguments are required: "):
        return f"missing {message.partition(': ')[2]}"
    return message.removeprefix("argument ")
