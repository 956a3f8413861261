"""Tasks: what the agent does with files, each in a process of its own.

The workload may change what is in the area at any time, also while a task runs.
"""
