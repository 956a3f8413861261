"""Commands in a workspace: running one, its output, and the log of those that ran."""
