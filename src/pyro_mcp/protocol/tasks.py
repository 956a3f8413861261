"""Protocol of tasks: the agent's own operations on a guest's files, each in a separate process.

Constants only, like `wire`.

The body of a TASK frame is the timeout in milliseconds (u32, 0: none), flags (u8) and a JSON object: `task`, `area`,
and the task's parameters. Its stdin and stdout carry the task's data, described below; its stderr is one JSON object,
`{"ok": {…}}` or `{"error": {"code", "message", "path"}}`. File names are bytes, encoded in JSON as Python's
`os.fsdecode` does. They are relative to the area, and the empty name is the area itself.
"""

from __future__ import annotations

import struct
from typing import Final

TASK: Final = struct.Struct("<IB")
#: The task freezes the workspace: the agent thaws it when the task has ended, for whatever reason.
FREEZES: Final = 1
#: Once the task has all of its input, neither CANCEL nor the end of its session interrupts it.
FINISHES: Final = 2
MAX_ANSWER_BYTES: Final = 1024 * 1024

# Areas.
WORKSPACE: Final = "workspace"
ROOT: Final = "root"
#: Everything that the workload sees; only in a VM.
GUEST: Final = "guest"

# Tasks.
LIST: Final = "list"
READ: Final = "read"
WRITE: Final = "write"
FETCH: Final = "fetch"
APPLY: Final = "apply"
PACK: Final = "pack"
UNPACK: Final = "unpack"
# "diff" is an older agent's task, whose records have a different format.
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

#: LIST writes for each file: kind, mode, size, mtime in ns, lengths of the name and of a link's target; then both.
ENTRY: Final = struct.Struct("<BHqqHH")
#: FETCH reads each name, preceded by its length. For each that exists it writes: index of the name (from 0), kind,
#: mode, size, length of the content (-1: none); the content.
NAME: Final = struct.Struct("<H")
FETCHED: Final = struct.Struct("<IBHqi")
#: APPLY reads for each change: type, whether the file must be new, mode, lengths of content and name; name and content.
CHANGE: Final = struct.Struct("<BBHIH")
CHANGE_WRITE: Final = 1
CHANGE_DELETE: Final = 2
#: DIFF writes for each difference: flags (1: old side exists, 2: new side exists, 4: ignored by a rule), length of the
#: name; the name; for each side: kind, mode, size, length of a link's target; the target; then the form of the content
#: and the number of parts; for each part: its first line in the old and in the new file (from 1), the lengths of both
#: texts; both texts. Differences are sorted by importance, and each name occurs once.
DIFFERENCE: Final = struct.Struct("<BH")
OLD: Final = 1
NEW: Final = 2
IGNORED: Final = 4
SIDE: Final = struct.Struct("<BHqH")
CONTENT: Final = struct.Struct("<BI")
PART: Final = struct.Struct("<QQII")
#: Forms of content: omitted because it is too large (NO_ROOM), or because it is binary (NOT_TEXT); one part with both
#: whole files, which are text (WHOLE) or binary (BINARY); parts of a text (PARTS); none, because both files are equal
#: (SAME); one part (MOVED), whose old text is the path that an added file was moved from, and is empty for that path.
NO_ROOM: Final = 0
NOT_TEXT: Final = 1
WHOLE: Final = 2
BINARY: Final = 3
PARTS: Final = 4
SAME: Final = 5
MOVED: Final = 6
#: Like git, a file with a NUL in this many first bytes is considered binary.
TEXT_CHECKED_BYTES: Final = 8000
#: The limit for the parts of all texts (form PARTS) in one answer.
MAX_PARTS: Final = 10_000
#: FREEZE writes FROZEN once the workspace is frozen, and thaws it at the end of its stdin, or after MAX_FREEZE_S.
FROZEN: Final = b"frozen"
MAX_FREEZE_S: Final = 10

#: The limit for names and link targets in one answer; a longer listing is truncated.
MAX_LISTING_BYTES: Final = 16 * 1024 * 1024
MAX_CHANGES: Final = 10_000

# Error codes. The host maps exactly these; any other code is a protocol violation.
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
