r"""Patches: a unified diff, as git or a model writes it, turned into the complete list of changes to a tree.

Everything here is a pure function of the patch and of a `Tree` that answers for the files it names: nothing is written,
git is not run, and nothing is guessed. A patch applies exactly, or an error says what was expected, what was found and
what to do.

    patch = parse(text)                # PyroError INVALID, with the patch's line
    tree = …                           # answers for paths_of(patch)
    changes = plan(patch, tree).changes

Tolerated: wrong or missing counts; wrong or missing line numbers, where the old lines occur in one place only; an empty
line for an unchanged empty one; LF for a file's CRLF (the file keeps its line ends, and its missing last newline);
names without a/ and b/; fences and prose around the patch. Not tolerated: fuzz, other white space, a choice between two
places.

Why no library reads the patches. Tried on model-written ones, with these results:

- unidiff 1.0 passes over hunks whose header has no counts (`@@ @@`) and what exceeds counts that are too small, both
  in silence: the rest of the patch would be applied without them. Counts that are too large are an error that does
  not say where to look. Quoted names stay quoted.
- whatthepatch 1.0 drops empty lines whose space was stripped, takes the next file's header into a hunk whose counts
  are too large, forgets `\ No newline at end of file`, and has no modes, renames or empty files.
- patch-ng 1.19 refuses wrong counts whole, without saying where, misreads git's octal names, and is itself the
  applier: it writes files.

All three would have to be read around, line by line, to be exact; and `git apply` in the guest would neither take
model-written patches nor say what stands there.
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
