"""Operations on workspaces: one module for each noun, with its requests, results and rows."""

from __future__ import annotations
