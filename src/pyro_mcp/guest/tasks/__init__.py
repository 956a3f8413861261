"""Tasks: what the agent does with files, each in a process of its own.

Owns one module for each kind of task. Refuses to trust what stands in the area: the workload changes it as it likes,
while a task runs too.
"""
