"""Review: what a workspace's commands and patches have left, shown to whoever is to judge it.

Owns the composing of a diff (entries, counts, one patch for `git apply`) from what a guest says of two trees, and the
summary page. Refuses to touch a guest, a disk or the journal: verbs bring the facts, and what is made here is text.
"""

from __future__ import annotations
