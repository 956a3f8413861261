"""The completion scripts of shells: each asks `pyro` itself what may follow, by the name that it was called by."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.cli.streams import put, say
from pyro_mcp.cli.usage import UsageError
from pyro_mcp.errors import os_errors
from pyro_mcp.host.durable import atomic_write

_BASH = r"""_pyro() {
  local found
  mapfile -t found < <("${COMP_WORDS[0]}" __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  COMPREPLY=()
  local each
  for each in "${found[@]}"; do
    if [[ $each == :files ]]; then
      # Otherwise a name of a workspace would be quoted like one of a file.
      (( ${#COMPREPLY[@]} )) || compopt -o filenames 2>/dev/null
      mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    elif [[ -n $each ]]; then
      [[ $each == *: ]] && compopt -o nospace 2>/dev/null
      COMPREPLY+=("$each")
    fi
  done
}
complete -F _pyro pyro
"""
_ZSH = r"""#compdef pyro
_pyro() {
  local -a found
  found=("${(@f)$("${words[1]}" __complete zsh "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  if (( ${found[(Ie):files]} )); then
    found=("${(@)found:#:files}")
    _files
  fi
  [[ -n ${found[1]} ]] && _describe -V pyro found
}
if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then _pyro "$@"; else compdef _pyro pyro; fi
"""
_FISH = r"""function __pyro_offers
  set -l words (commandline -opc)
  for each in (command $words[1] __complete fish (commandline -cp) 2>/dev/null)
    if test "$each" = ':files'
      __fish_complete_path (commandline -ct)
    else
      echo $each
    end
  end
end
complete -c pyro -f -a '(__pyro_offers)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(shell: str | None, install: bool) -> int:
    """Print the completion script for a shell, or install it; return the exit status.

    Raises:
        UsageError: no shell was named, and $SHELL is none of those known.
    """
    name = shell or os.path.basename(os.environ.get("SHELL", ""))
    if name not in _SCRIPTS:
        raise UsageError("missing SHELL", hint=f"Name one of {', '.join(_SCRIPTS)}: pyro completion bash")
    if not install:
        put(_SCRIPTS[name])
        return 0
    path = _place(name)
    with os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, _SCRIPTS[name].encode(), 0o644)
    put(f"wrote {path}")
    match name:
        case "zsh":
            say(f"For zsh, this stands in ~/.zshrc before compinit: fpath=({path.parent} $fpath)")
        case "bash":
            say("It is loaded by bash-completion, in new shells. Without that: source the file in ~/.bashrc.")
        case _:
            say("It is loaded in new shells.")
    return 0


def _place(shell: str) -> Path:
    """Return the file that a shell looks for."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    match shell:
        case "bash":
            return data / "bash-completion/completions/pyro"
        case "zsh":
            return data / "zsh/site-functions/_pyro"
        case _:
            return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/pyro.fish"
