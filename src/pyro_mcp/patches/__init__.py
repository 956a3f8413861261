r"""Turn a unified diff, written by git or a model, into the complete list of changes to a tree.

Everything here is a pure function of the patch and of a `Tree` that provides the files it refers to: nothing is
written, git is not run, and nothing is guessed. A patch applies exactly, or an error says what was expected, what was
found and what to do.

    patch = parse(text)                # PyroError INVALID, with the patch's line
    tree = …                           # provides paths_of(patch)
    changes = plan(patch, tree).changes

Tolerated: wrong or missing counts; wrong or missing line numbers, if the old lines occur in only one place; an empty
line for an unchanged empty one; LF for a file's CRLF (the file keeps its line ends, and its missing last newline);
names without a/ and b/; fences and prose around the patch. Not tolerated: fuzz, other white space, a choice between two
places.

No library is used for parsing. These were tried on model-written patches:

- unidiff 1.0 silently skips hunks whose header has no counts (`@@ @@`), and lines beyond counts that are too small: the
  rest of the patch would be applied without them. The error for counts that are too large has no position. Quoted names
  stay quoted.
- whatthepatch 1.0 drops empty lines whose space was stripped, includes the next file's header in a hunk whose counts
  are too large, ignores `\ No newline at end of file`, and does not support modes, renames or empty files.
- patch-ng 1.19 rejects patches with wrong counts as a whole, without a position, misreads git's octal names, and
  applies patches to files itself.

An exact result would require reparsing the patch line by line with any of them; and `git apply` in the guest would
neither accept model-written patches nor report the file's actual content.
"""

from __future__ import annotations

from pyro_mcp.patches.parts import MAX_FILE_BYTES, MAX_FILES, MAX_PATCH_BYTES, MAX_TOTAL_BYTES, Action, Patch
from pyro_mcp.patches.planning import Change, Delete, FileSummary, Plan, Write, plan
from pyro_mcp.patches.reading import parse
from pyro_mcp.patches.targets import Tree, below, paths_of

__all__ = [
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "MAX_PATCH_BYTES",
    "MAX_TOTAL_BYTES",
    "Action",
    "Change",
    "Delete",
    "FileSummary",
    "Patch",
    "Plan",
    "Tree",
    "Write",
    "below",
    "parse",
    "paths_of",
    "plan",
]
