"""The table of public operations: one row each, from which every surface is derived.

Owns requests, results, handlers, profiles and modes. Refuses to print, and to know which surface asked.
"""
