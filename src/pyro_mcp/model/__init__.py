"""The product's values: frozen dataclasses, closed sets, and the table of legal transitions.

Owns what things are called and which states they may be in. Refuses to touch the machine.
"""
