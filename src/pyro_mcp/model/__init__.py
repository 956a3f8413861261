"""The product's values: frozen dataclasses, closed sets, and the tables of legal transitions."""

from __future__ import annotations
