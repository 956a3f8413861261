"""The driver without a machine: the agent as a process of this host, in a private directory.

Owns host compat. Refuses to pretend that anything is isolated.
"""

from __future__ import annotations
