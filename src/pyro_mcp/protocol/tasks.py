"""Tasks: what the agent itself does with a guest's files, in a process of its own.

Constants only, like `wire`.

The body of a TASK frame is the timeout in milliseconds (u32, 0: none), flags (u8) and a JSON object: `task`, `area`,
and what the task needs to know. Its stdin and stdout are the task's data, described below; its stderr is one JSON
object, `{"ok": {…}}` or `{"error": {"code", "message", "path"}}`. Names of files are bytes; in JSON they stand as
Python's `os.fsdecode` makes text of them. They are relative to the area, and the empty name is the area itself.
"""

from __future__ import annotations

import struct
from typing import Final

TASK: Final = struct.Struct("<IB")
#: The task freezes the workspace: the agent thaws it when the task has ended, however that came.
FREEZES: Final = 1
#: The task, once it has all of its input, is not cut off: neither by a cancelling nor by the end of its session.
FINISHES: Final = 2
MAX_ANSWER_BYTES: Final = 1024 * 1024

# Areas.
WORKSPACE: Final = "workspace"
ROOT: Final = "root"
#: All that the workload sees, in a machine.
GUEST: Final = "guest"

# Tasks.
LIST: Final = "list"
READ: Final = "read"
WRITE: Final = "write"
FETCH: Final = "fetch"
APPLY: Final = "apply"
PACK: Final = "pack"
UNPACK: Final = "unpack"
# An agent before this one knows "diff", whose records have another form.
DIFF: Final = "compare"
FREEZE: Final = "freeze"
USAGE: Final = "usage"
EXPORT: Final = "export"
MKDIR: Final = "mkdir"
MOVE: Final = "move"
REMOVE: Final = "remove"
PROCESSES: Final = "processes"

# Kinds of files.
FILE: Final = 1
DIRECTORY: Final = 2
LINK: Final = 3
OTHER: Final = 4

#: LIST writes for each file: kind, mode, size, time of change in ns, lengths of the name and of a link's target; both.
ENTRY: Final = struct.Struct("<BHqqHH")
#: FETCH reads for each name its length and it. It writes for what is there: which name (counted from 0), kind, mode,
#: size, length of the content (-1: none); the content.
NAME: Final = struct.Struct("<H")
FETCHED: Final = struct.Struct("<IBHqi")
#: APPLY reads for each change: what, whether nothing may be there yet, mode, length of the content, length of the name;
#: name and content.
CHANGE: Final = struct.Struct("<BBHIH")
CHANGE_WRITE: Final = 1
CHANGE_DELETE: Final = 2
#: DIFF writes for each difference: which sides there are (1 old, 2 new; 4: a rule ignores it), length of the name; the
#: name; for each side: kind, mode, size, length of a link's target; the target; then the form of the content and how
#: many parts follow; and for each part: its first line in the old and in the new file (from 1), the lengths of both
#: texts; both texts. Differences come in the order of importance, their names once each.
DIFFERENCE: Final = struct.Struct("<BH")
OLD: Final = 1
NEW: Final = 2
IGNORED: Final = 4
SIDE: Final = struct.Struct("<BHqH")
CONTENT: Final = struct.Struct("<BI")
PART: Final = struct.Struct("<QQII")
#: Forms of content: none, since there is no room for it, or since it is binary; one part with all of both files, which
#: are text, or are binary; some parts of a text; none, since both files hold the same; one part, whose old text is the
#: path where an added file was moved from, and is empty for the file there.
NO_ROOM: Final = 0
NOT_TEXT: Final = 1
WHOLE: Final = 2
BINARY: Final = 3
PARTS: Final = 4
SAME: Final = 5
MOVED: Final = 6
#: Git takes a file for binary that has a NUL here.
TEXT_CHECKED_BYTES: Final = 8000
#: Of texts of which only parts are sent, in one answer.
MAX_PARTS: Final = 10_000
#: FREEZE writes this once the workspace is frozen, and thaws it at the end of its stdin, or after so long.
FROZEN: Final = b"frozen"
MAX_FREEZE_S: Final = 10

#: Of names and targets in one answer; a longer listing is cut off there.
MAX_LISTING_BYTES: Final = 16 * 1024 * 1024
MAX_CHANGES: Final = 10_000

# Codes of errors. The host has a closed mapping for them and takes any other for a breach of the protocol.
MISSING: Final = "missing"
OUTSIDE: Final = "outside"
IS_DIRECTORY: Final = "is_directory"
NOT_DIRECTORY: Final = "not_directory"
NOT_FILE: Final = "not_file"
EXISTS: Final = "exists"
BUSY: Final = "busy"
NO_SPACE: Final = "no_space"
DENIED: Final = "denied"
TOO_LARGE: Final = "too_large"
BAD_NAME: Final = "bad_name"
BAD_ARCHIVE: Final = "bad_archive"
CUT_SHORT: Final = "cut_short"
TOO_LONG_FROZEN: Final = "too_long_frozen"
UNSUPPORTED: Final = "unsupported"
SYSTEM: Final = "system"
ERROR_CODES: Final = frozenset(
    {
        MISSING,
        OUTSIDE,
        IS_DIRECTORY,
        NOT_DIRECTORY,
        NOT_FILE,
        EXISTS,
        BUSY,
        NO_SPACE,
        DENIED,
        TOO_LARGE,
        BAD_NAME,
        BAD_ARCHIVE,
        CUT_SHORT,
        TOO_LONG_FROZEN,
        UNSUPPORTED,
        SYSTEM,
    }
)
