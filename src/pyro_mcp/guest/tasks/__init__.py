"""Tasks: the agent's operations on files, each in a separate process.

The workload may change the files at any time, including while a task runs.
"""
