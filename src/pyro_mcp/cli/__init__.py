"""The command line: a surface over the operations table.

Owns arguments, printed text and exit statuses. Refuses to decide anything that another surface would decide too.
"""
