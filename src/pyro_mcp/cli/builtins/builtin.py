"""The type of a command that only the command line has, and the one that chat hosts start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module

from pyro_mcp.cli.parsing import parse
from pyro_mcp.cli.shape import Shape
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, asked

_PROFILES = """\
profiles:
  workspace-core  workspaces: create from a project, run, edit, patch, diff,
                  export, reset, delete; and vm_run (default)
  workspace-full  all workspace tools with all arguments, shells, services,
                  snapshots, disks, secrets, networks; and one-shot VMs
  vm-run          only vm_run: one command in a fresh VM
  vm-full         one-shot VMs step by step

modes:
  repro-fix       reproduce a failure and fix it
  inspect         examine untrusted code
  cold-start      check that a fresh checkout sets up and starts
  review-eval     review with checkpoints and shells

examples:
  pyro mcp serve
  pyro mcp serve --mode repro-fix --project-path ~/src/app
  pyro mcp serve --repo-url https://github.com/OWNER/NAME --repo-ref main
  pyro mcp serve --profile workspace-full --no-project-source
"""


class ServeRequest(Request):
    """Ask for an MCP server over stdio."""

    profile: str | None = asked(
        "Tools to offer: workspace-core (default), workspace-full, vm-run or vm-full.",
        default=None,
        names="PROFILE",
        completes="profile",
    )
    mode: str | None = asked(
        "Offer the tools for one way of working instead: repro-fix, inspect, cold-start or review-eval.",
        default=None,
        names="MODE",
        completes="mode",
    )
    allow_path: tuple[str, ...] | None = asked(
        "A directory that tools may read seeds from and write exports to, besides the git checkout around the"
        " working directory. Once for each.",
        default=None,
        names="DIR",
        completes="host path",
        max_length=4096,
    )
    environment: str | None = field(
        default=None,
        metadata=parameters.environment(
            "Environment of guests whose call names none (default: debian:12).", place=Place.OPTION
        ),
    )
    network_policy: str | None = asked(
        "Network of all guests, which no call can change: off (none), packages (what package clients are set to use,"
        " and git hosts), allow (only the allowed hosts) or egress (the internet, never this host or its network)."
        " Without it, guests have none, or in workspace-full, vm-run and vm-full what a call asks for.",
        default=None,
        names="POLICY",
        pattern="^(off|packages|allow|egress)$",
        form="off, packages, allow or egress",
        completes="network of all",
    )
    allow_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.ALLOW_HOSTS)
    deny_hosts: tuple[str, ...] | None = field(default=None, metadata=parameters.DENY_HOSTS)
    ca_file: tuple[str, ...] | None = asked(
        "A PEM file with certificate authorities that all guests trust, such as the root of a company's proxy. Once for"
        " each.",
        default=None,
        names="FILE",
        completes="host path",
        max_length=4096,
    )
    project_path: str | None = field(
        default=None,
        metadata=parameters.host_path(
            "What workspaces start from: a git checkout (its tracked files) or another directory of this host (default:"
            " the checkout around the working directory).",
            place=Place.OPTION,
            names="DIR",
        ),
    )
    repo_url: str | None = asked(
        "Start workspaces from a clean clone of this repository instead.", default=None, names="URL", max_length=4096
    )
    repo_ref: str | None = asked("The branch, tag or commit of --repo-url.", default=None, names="REF", max_length=255)
    no_project_source: bool = asked("Start workspaces empty unless a call gives seed_path.", default=False)


@dataclass(frozen=True, slots=True, eq=False)
class Builtin:
    """One command of the command line's own."""

    shape: Shape
    #: `module:function`, loaded when it is called. It takes the fields of the request, and `parsed` if the command
    #: takes --json, and returns the exit status.
    handler: str

    def execute(self, arguments: Sequence[str]) -> int:
        """Parse the arguments and run the command; return its exit status."""
        parsed = parse(self.shape, arguments)
        module, _, function = self.handler.partition(":")
        given = {each.name: getattr(parsed.request, each.name) for each in fields(parsed.request)}
        return getattr(import_module(module), function)(
            **given, **({"parsed": parsed} if self.shape.takes_json else {})
        )


SERVE = Builtin(
    Shape(
        ("mcp", "serve"),
        "Serve MCP over stdin and stdout, for a chat host. Messages for people go to stderr.",
        ServeRequest,
        takes_json=False,
        epilog=_PROFILES,
    ),
    "pyro_mcp.cli.builtins.serving:serve",
)
