"""Plan all changes of a patch to a tree before anything is written.

If a part can't be applied, the whole patch is refused. The caller receives paths and contents, and writes all or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from pyro_mcp.errors import ErrorCode, PyroError
from pyro_mcp.model.kinds import FileKind
from pyro_mcp.patches.applying import apply_hunks
from pyro_mcp.patches.failures import MAX_LISTED_FAILURES, combined, conflict, named, refused
from pyro_mcp.patches.names import possible_path
from pyro_mcp.patches.parts import MAX_FILE_BYTES, MAX_TOTAL_BYTES, Action, FilePatch, Hunk, Patch
from pyro_mcp.patches.targets import Tree, parents, resolve
from pyro_mcp.patches.text import Budget

_KINDS = {FileKind.DIRECTORY: "a directory", FileKind.LINK: "a symbolic link", FileKind.OTHER: "no regular file"}
_LOOK = "List the files, and use the exact name."
_NEW_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file with this content and these permission bits, creating missing parent directories."""

    path: str
    data: bytes
    mode: int
    # The file does not exist yet, so the write must not replace anything.
    created: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file. The caller decides whether to remove directories that become empty, as git does."""

    path: str


Change: TypeAlias = Write | Delete


@dataclass(frozen=True, slots=True)
class FileSummary:
    """A summary of what a patch does with one file."""

    path: str
    action: Action
    # The former path of a renamed file, or the source of a copied one.
    source: str | None
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes of a patch: deletions first, and each path once."""

    changes: tuple[Change, ...]
    files: tuple[FileSummary, ...]
    # Notes on where the patch was not applied literally: wrong line numbers and counts, other line ends.
    notes: tuple[str, ...]


def plan(patch: Patch, tree: Tree) -> Plan:
    """Plan the changes of the patch to the tree. Nothing is written.

    Raises:
        PyroError: CONFLICT if a part does not fit the tree, INVALID if a part is not supported. The message has the
            file, the hunk, the expected and the actual lines; `details["reason"]` is a machine-readable word. Several
            failures are combined into one.
    """
    draft = _Draft(patch, tree)
    failures: list[PyroError] = []
    for file in patch.files:
        try:
            failures += draft.apply(file)
        except PyroError as failure:
            failures.append(failure)
        if len(failures) >= MAX_LISTED_FAILURES:
            break
    if not failures:
        failures += draft.misfits()
    if failures:
        raise combined(failures)
    changes = draft.changes()
    if not changes:
        raise PyroError(
            ErrorCode.CONFLICT,
            "the patch changes nothing: all its changes are already applied",
            hint="Read the files to see their present content.",
            details={"reason": "already_applied"},
        )
    return Plan(changes, tuple(draft.summaries), tuple(draft.notes))


@dataclass(frozen=True, slots=True)
class _Content:
    data: bytes
    mode: int


class _Draft:
    """The state of the tree while the files of a patch are applied in order."""

    def __init__(self, patch: Patch, tree: Tree) -> None:
        self.summaries: list[FileSummary] = []
        self.notes: list[str] = []
        self._patch = patch
        self._tree = tree
        self._budget = Budget()
        self._bytes = 0
        self._before: dict[str, _Content] = {}
        self._written: dict[str, _Content] = {}
        self._removed: set[str] = set()
        # As in git, the order of renames does not matter: two files may be swapped.
        self._moved_away = {possible_path(file.old or "") for file in patch.files if file.action is Action.RENAME}
        self._moved_here: set[str] = set()
        # Where in the patch each file was last written.
        self._lines: dict[str, int] = {}
        self._failed: set[str] = set()

    def apply(self, file: FilePatch) -> tuple[PyroError, ...]:
        """Apply the part for one file. Return the failures of hunks that don't fit.

        Raises:
            PyroError: if the part can't be applied to the file.
        """
        source, target = resolve(self._patch, file, self._stands)
        if not self._failed.isdisjoint({source, target}):
            # An earlier part for this file failed, so its state is unknown.
            return ()
        try:
            failures = self._apply(source, target, file)
        except PyroError:
            self._failed.add(target)
            raise
        if failures:
            self._failed.add(target)
        return failures

    def _apply(self, source: str, target: str, file: FilePatch) -> tuple[PyroError, ...]:
        for path in (source, target):
            self._refuse_links(path, file)
        match file.action:
            case Action.CREATE:
                return self._create(target, file)
            case Action.MODIFY:
                return self._modify(target, file)
            case Action.DELETE:
                return self._delete(target, file)
            case Action.RENAME | Action.COPY:
                return self._move(source, target, file)
            case _:
                assert_never(file.action)

    def misfits(self) -> list[PyroError]:
        """Return an error for each file that would also have to be a directory."""
        return [
            conflict(
                path,
                f"{named(parent)} is a file, so nothing can be below it",
                hint=_LOOK,
                reason="not_a_directory",
                patch_line=self._lines[path],
            )
            for path in self._written
            for parent in parents(path)
            if self._kind(parent) is FileKind.FILE
        ]

    def changes(self) -> tuple[Change, ...]:
        """Return the final differences from the tree."""
        gone = sorted(path for path in self._removed if path not in self._written and self._tree.kind(path) is not None)
        writes = [
            Write(path, content.data, content.mode, created=self._tree.kind(path) is None)
            for path, content in sorted(self._written.items())
            if self._before.get(path) != content
        ]
        return (*map(Delete, gone), *writes)

    def _create(self, path: str, file: FilePatch) -> tuple[PyroError, ...]:
        data = self._new_content(path, file)
        mode = _NEW_MODE if not file.executable else _NEW_MODE | 0o111
        kind = self._kind(path)
        if path in self._written:
            raise self._conflict(
                file, path, "the patch creates the file, but has written it before", "created_twice", _LOOK
            )
        if kind is FileKind.FILE and path not in self._moved_away:
            if self._content(path, file).data == data:
                hint = "Leave the file out of the patch."
                raise self._conflict(file, path, "is already there, with exactly this content", "already_applied", hint)
            hint = "Write hunks against the file's present content, or delete it first."
            raise self._conflict(file, path, "the patch creates the file, but it already exists", "exists", hint)
        self._refuse_kind(path, kind, file)
        self._put(path, _Content(data, mode), file)
        self._sum_up(path, file, Action.CREATE)
        return ()

    def _new_content(self, path: str, file: FilePatch) -> bytes:
        if len(file.hunks) > 1:
            raise refused(
                path,
                f"the patch creates the file in {len(file.hunks)} hunks",
                hint="Put all lines of a new file into one hunk.",
                reason="malformed",
                patch_line=file.patch_line,
            )
        hunks = [hunk for hunk in file.hunks if hunk.old]
        if hunks:
            raise refused(
                path,
                "the patch creates the file, but its hunk has lines that do not begin with +",
                hint="Begin each line of a new file with +, the empty ones too.",
                reason="malformed",
                patch_line=hunks[0].patch_line,
            )
        return b"".join(line for hunk in file.hunks for line in hunk.new)

    def _modify(self, path: str, file: FilePatch) -> tuple[PyroError, ...]:
        if self._kind(path) is None and len(file.hunks) == 1 and _adds_to_nothing(file.hunks[0]):
            return self._create(path, file)
        content = self._content(path, file)
        if content.data and len(file.hunks) == 1 and _adds_to_nothing(file.hunks[0]):
            text = "its only hunk has -0,0 in its header, as for a new or an empty file, but the file has lines already"
            hint = "Add one unchanged line of the file before or after the added ones."
            reason = "already_applied" if content.data.startswith(b"".join(file.hunks[0].new)) else "exists"
            raise self._conflict(file, path, text, reason, hint)
        content, failures = self._changed(path, content, file)
        self._put(path, content, file)
        self._sum_up(path, file)
        return failures

    def _delete(self, path: str, file: FilePatch) -> tuple[PyroError, ...]:
        failures: tuple[PyroError, ...] = ()
        if file.unconditional:
            self._refuse_missing(path, self._kind(path), file)
        else:
            content, failures = self._changed(path, self._content(path, file), file)
            if content.data and not failures:
                lines = content.data.count(b"\n") + (not content.data.endswith(b"\n"))
                hint = "Remove all its lines in the hunk; or delete it by `*** Delete File: PATH`, or by a command."
                text = f"the patch deletes the file, but would leave {lines} of its lines"
                raise self._conflict(file, path, text, "not_empty", hint)
        self._written.pop(path, None)
        self._removed.add(path)
        self._sum_up(path, file)
        return failures

    def _move(self, source: str, target: str, file: FilePatch) -> tuple[PyroError, ...]:
        # As in git, copies and moves use the original content in the tree, so a move must not lose earlier changes.
        if file.action is Action.RENAME and source in self._written and source not in self._moved_here:
            text = f"the patch changes {named(source)} before it renames it"
            raise self._conflict(file, target, text, "order", "Put those hunks below 'rename to'.")
        standing = self._kind(target)
        if self._tree.kind(source) is None and standing is not None:
            raise self._conflict(file, target, "already exists, and its source does not", "already_applied", _LOOK)
        if standing is not None and (target not in self._moved_away or target in self._written):
            text = f"{named(source)} can't be moved there: the file already exists"
            raise self._conflict(file, target, text, "exists", _LOOK)
        content, failures = self._changed(target, self._read(source, file), file)
        self._put(target, content, file)
        self._moved_here.add(target)
        if file.action is Action.RENAME:
            self._removed.add(source)
        self._sum_up(target, file, source=source)
        return failures

    def _changed(self, path: str, content: _Content, file: FilePatch) -> tuple[_Content, tuple[PyroError, ...]]:
        """Return the content with the file's hunks and mode applied, and the failures of hunks that don't fit."""
        mode = content.mode
        if file.executable is not None:
            # As in git, everyone who may read the file may then execute it.
            mode = mode | (mode & 0o444) >> 2 if file.executable else mode & ~0o111
        if not file.hunks:
            return replace(content, mode=mode), ()
        try:
            content.data.decode()
        except UnicodeDecodeError:
            hint = "Change it by a command in the workspace."
            raise self._conflict(file, path, "is not UTF-8 text, so it can't be patched", "not_text", hint) from None
        applied = apply_hunks(path, content.data, file.hunks, self._budget)
        self.notes += applied.notes
        return _Content(applied.data, mode), applied.failures

    def _put(self, path: str, content: _Content, file: FilePatch) -> None:
        if len(content.data) > MAX_FILE_BYTES:
            text = f"would be larger than {MAX_FILE_BYTES} bytes after the patch"
            raise self._conflict(file, path, text, "too_large", "Write it by a command in the workspace.")
        self._count(len(content.data), path, file)
        self._written[path] = content
        self._lines[path] = file.patch_line

    def _content(self, path: str, file: FilePatch) -> _Content:
        """Return the file's content after the previous parts."""
        self._refuse_missing(path, self._kind(path), file)
        return self._written.get(path) or self._read(path, file)

    def _read(self, path: str, file: FilePatch) -> _Content:
        """Return the file's content in the tree."""
        known = self._before.get(path)
        if known is not None:
            return known
        self._refuse_missing(path, self._tree.kind(path), file)
        data = self._tree.read(path)
        if data is None:
            raise self._conflict(file, path, "could not be read", "unreadable", _LOOK)
        if len(data) > MAX_FILE_BYTES:
            text = f"is larger than {MAX_FILE_BYTES} bytes, so it can't be patched"
            raise self._conflict(file, path, text, "too_large", "Change it by a command in the workspace.")
        self._count(len(data), path, file)
        self._before[path] = _Content(data, self._tree.mode(path) & 0o7777)
        return self._before[path]

    def _count(self, size_bytes: int, path: str, file: FilePatch) -> None:
        self._bytes += size_bytes
        if self._bytes > MAX_TOTAL_BYTES:
            text = f"with it, the files of the patch are larger than {MAX_TOTAL_BYTES} bytes"
            raise self._conflict(file, path, text, "too_large", "Send the patch in smaller parts.")

    def _stands(self, path: str) -> bool:
        if path in self._written:
            return True
        return self._kind(path) is not None and all(self._tree.kind(up) is FileKind.DIRECTORY for up in parents(path))

    def _kind(self, path: str) -> FileKind | None:
        if path in self._written:
            return FileKind.FILE
        return None if path in self._removed else self._tree.kind(path)

    def _refuse_links(self, path: str, file: FilePatch) -> None:
        for parent in parents(path):
            kind = self._tree.kind(parent)
            if kind is FileKind.LINK or kind is FileKind.OTHER:
                text = f"{named(parent)} on its way is {_KINDS[kind]}, and is not followed"
                raise self._conflict(file, path, text, "link", "Name the file by the path where it really is.")
            if kind is None:
                return

    def _refuse_missing(self, path: str, kind: FileKind | None, file: FilePatch) -> None:
        if kind is None and file.action is Action.DELETE:
            hint = "Leave the file out of the patch."
            raise self._conflict(file, path, "the patch deletes the file, but it is not there", "already_applied", hint)
        if kind is None:
            hint = _LOOK
            if file.action is Action.MODIFY:
                hint += " To create it, give --- /dev/null as its old side."
            raise self._conflict(file, path, "the file is not there", "missing", hint)
        self._refuse_kind(path, kind, file)

    def _refuse_kind(self, path: str, kind: FileKind | None, file: FilePatch) -> None:
        if kind is not None and kind is not FileKind.FILE:
            hint = "Patches change regular files only; use a command in the workspace."
            raise self._conflict(file, path, f"is {_KINDS[kind]}", "not_a_file", hint)

    def _conflict(self, file: FilePatch, path: str, text: str, reason: str, hint: str) -> PyroError:
        return conflict(path, text, hint=hint, reason=reason, patch_line=file.patch_line)

    def _sum_up(self, path: str, file: FilePatch, action: Action | None = None, *, source: str | None = None) -> None:
        added = sum(hunk.added for hunk in file.hunks)
        removed = sum(hunk.removed for hunk in file.hunks)
        self.summaries.append(FileSummary(path, action or file.action, source, added, removed))


def _adds_to_nothing(hunk: Hunk) -> bool:
    """Return whether the hunk creates a new file, in a diff that names it on both sides."""
    return not hunk.old and hunk.range.old_start == 0 and hunk.range.old_count == 0
