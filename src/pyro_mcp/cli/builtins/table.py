"""The commands that only the command line has: their requests, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from pyro_mcp.cli.builtins.builtin import SERVE, Builtin
from pyro_mcp.cli.builtins.host_table import HOST_BUILTINS
from pyro_mcp.cli.quiet import quiet_help
from pyro_mcp.cli.shape import Shape
from pyro_mcp.model.ids import SHELL_ID_PATTERN
from pyro_mcp.operations import parameters
from pyro_mcp.operations.fields import Place, Request, about, asked
from pyro_mcp.operations.operation import EmptyRequest
from pyro_mcp.operations.parameters import DEFAULT_ENVIRONMENT, WorkspaceRequest
from pyro_mcp.operations.table import begins
from pyro_mcp.operations.workspaces.review import INCLUDE_HOST_HOOKS

_COPY_PATH = dict(about(".", place=Place.POSITIONAL, names="PATH", max_length=4096, completes="copy path"))


class CompletionRequest(Request):
    """Ask for a shell's completion script."""

    shell: str | None = asked(
        "The shell: bash, zsh or fish (default: that of $SHELL).",
        default=None,
        place=Place.POSITIONAL,
        names="SHELL",
        pattern="^(bash|zsh|fish)$",
        form="bash, zsh or fish",
        completes="shell",
    )
    install: bool = asked("Write it to where the shell looks for it, for this user.", default=False)


class AttachRequest(Request):
    """Ask for one's own terminal at a shell."""

    workspace_id: str = field(metadata=parameters.HANDLE)
    shell_id: str | None = asked(
        "Id of the shell; without it a new one is opened.",
        default=None,
        place=Place.POSITIONAL,
        pattern=SHELL_ID_PATTERN,
        max_length=64,
        form="the id of a shell, such as sh_…",
        names="SHELL",
        completes="guest shell",
    )
    detach_key: str = asked(
        "The key that detaches.",
        default="ctrl-]",
        names="KEY",
        pattern=r"^ctrl-[a-z\\\]^_]$",
        form="ctrl- and a letter or one of \\ ] ^ _",
    )


class StatsRequest(Request):
    """Ask what VMs use."""

    once: bool = asked("Show it once, also on a terminal.", default=False, called="--no-stream")


class CopyRequest(Request):
    """Ask for a copy between this host and a workspace."""

    source: str = field(metadata=_COPY_PATH | {"names": "SOURCE", "description": "A path, or ID:PATH in a workspace."})
    destination: str = field(
        metadata=_COPY_PATH | {"names": "DESTINATION", "description": "Where to: a path, or ID:PATH in a workspace."}
    )
    include_host_hooks: bool = field(default=False, metadata=INCLUDE_HOST_HOOKS)


class OllamaRequest(Request):
    """Ask for a demonstration with a local model."""

    base_url: str | None = asked(
        "Address of Ollama (default: that of OLLAMA_HOST, else http://127.0.0.1:11434/v1).",
        default=None,
        names="URL",
        max_length=2048,
    )
    model: str = asked("The model; it must support tools.", default="llama3.2:3b", names="MODEL", max_length=255)
    environment: str = field(
        default=DEFAULT_ENVIRONMENT,
        metadata=parameters.environment("Environment of VMs for which the model names none.", place=Place.OPTION),
    )
    prompt: str = asked(
        "The task for the model.",
        default="Run `uname -sr; git --version` in a virtual machine, and tell me what it printed.",
        max_length=100_000,
    )
    verbose: bool = asked("Log whole messages and results.", default=False, short="-v")


COMPLETION = Builtin(
    Shape(
        ("completion",),
        "Print a completion script, or install it: pyro completion bash --install. It completes commands, options,"
        " environments, and the names of workspaces, snapshots, shells and services.",
        CompletionRequest,
        takes_json=False,
    ),
    "pyro_mcp.cli.builtins.completion:completion",
)
ATTACH = Builtin(
    Shape(
        ("workspace", "shell", "attach"),
        (
            "Attach your terminal to a shell in a workspace, or to a new one if none is given. The shell keeps"
            " running when you detach (Ctrl-]) or close the terminal; exit ends it."
        ),
        AttachRequest,
        takes_json=False,
    ),
    "pyro_mcp.cli.attaching:attach",
)
PS = Builtin(
    Shape(
        ("ps",),
        "List the workspaces that are running; pyro workspace list shows the others, too.",
        EmptyRequest,
        quiet=quiet_help("workspace_list"),
    ),
    "pyro_mcp.cli.builtins.running:list_running",
)
TOP = Builtin(
    Shape(
        ("workspace", "top"),
        "Show the processes in a workspace, the busiest first. Numbers are the guest's own.",
        WorkspaceRequest,
        quiet="print the process numbers only",
    ),
    "pyro_mcp.cli.builtins.processes:top",
)
STATS = Builtin(
    Shape(
        ("stats",),
        (
            "Show what each VM uses of this host: processor (100% is one CPU), resident memory, and disk with its"
            " snapshots. On a terminal it goes on until Ctrl-C."
        ),
        StatsRequest,
        quiet=quiet_help("workspace_list"),
    ),
    "pyro_mcp.cli.builtins.processes:stats",
)
COPY = Builtin(
    Shape(
        ("cp",),
        (
            "Copy a file or a directory into a workspace (ID:PATH) or out of one. Any path of the guest will do:"
            " relative ones are below /workspace, ~ is the home directory. A directory as destination takes the copy"
            " under its own name. Nothing on this host is overwritten. - is stdin or stdout: a file's content, or a tar"
            " archive of a directory."
        ),
        CopyRequest,
    ),
    "pyro_mcp.cli.builtins.copying:copy",
)
DEMO_OLLAMA = Builtin(
    Shape(
        ("demo", "ollama"),
        (
            "Let a local model do a task with the tools for one-shot VMs, over Ollama's OpenAI-compatible API. Each"
            " call is logged on stderr, with a summary at the end; the model's answer goes to stdout. Exit status 0: a"
            " command that the model chose succeeded in a VM."
        ),
        OllamaRequest,
    ),
    "pyro_mcp.cli.builtins.ollama.demo:demo_ollama",
)
BUILTINS = (SERVE, *HOST_BUILTINS, COMPLETION, ATTACH, PS, TOP, STATS, COPY, DEMO_OLLAMA)


def execute_builtin(words: Sequence[str]) -> int:
    """Run the command that these words begin with; return its exit status."""
    builtin = next(each for each in BUILTINS if begins(words, each.shape.path))
    return builtin.execute(words[len(builtin.shape.words) :])
