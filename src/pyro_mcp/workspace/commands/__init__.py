"""Commands in a workspace: execution, output, and the log of past commands."""
