"""The product's values: frozen dataclasses, enumerations, and the tables of legal state transitions."""

from __future__ import annotations
