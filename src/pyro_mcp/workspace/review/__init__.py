"""Changes that commands and patches made to a workspace, for a reviewer: diffs and the summary page.

Only `diff` and `summary` talk to a guest; the other modules turn given facts into text.
"""

from __future__ import annotations
