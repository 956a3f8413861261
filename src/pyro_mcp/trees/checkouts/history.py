"""Create a git directory for a guest from a host repository: the history of HEAD, the index, harmless settings.

Hooks, credentials, other branches, stashes and reflogs stay on the host.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyro_mcp.trees.checkouts.git import GITLINK, IndexEntry, Repository, UnusableError
from pyro_mcp.trees.hooks.git_config import kept_settings

MAX_HISTORY_BYTES = 100 * 1024**2
KEPT_COMMITS = 50
_MEASURE_TIMEOUT_S = 30.0
_MAX_RULES_BYTES = 1024**2
_FILTER = re.compile(rb"\bfilter=([\w.-]+)")
_UNDER_WAY = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisection",
}


class GuestRepository:
    """Creates one git directory at `target`. `remarks` are sentences about what could not be included.

    Tracked files that are `excluded` are marked as not checked out, rather than deleted.
    """

    def __init__(self, repository: Repository, target: Path, excluded: Callable[[bytes], bool]) -> None:
        self._source = repository
        self._excluded = excluded
        self._target = target
        self._branch = repository.text("symbolic-ref", "-q", "HEAD")
        self._head = repository.text("rev-parse", "-q", "--verify", "HEAD^{commit}")
        self._is_whole = repository.directory == repository.top
        self._references: dict[str, list[str]] = {}
        self.remarks: list[str] = []

    def make(self) -> None:
        """Create the directory.

        Raises:
            UnusableError: if git can't read the repository.
            OSError: from writing.
        """
        target = self._target
        for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
            (target / name).mkdir(parents=True)
        settings = self._settings()
        (target / "config").write_text(kept_settings(settings), encoding="utf-8", errors="surrogateescape")
        (target / "HEAD").write_text("ref: refs/heads/main\n")
        (target / "objects/info/alternates").write_bytes(os.fsencode(self._source.objects) + b"\n")
        kept = self._cut()
        if not self._is_whole:
            self._rewrite(kept)
        self._pack()
        if any(key.endswith(".promisor") or key == "extensions.partialclone" for key, _ in settings):
            for pack in target.glob("objects/pack/*.pack"):
                pack.with_suffix(".promisor").touch()
            self.remarks.append("It is a partial clone: objects that were never fetched are missing in the guest too.")
        self._write_references()
        self._write_index()
        for path, name in ((self._source.exclude, "exclude"), (self._source.sparse, "sparse-checkout")):
            if path.is_file() and path.stat().st_size <= _MAX_RULES_BYTES:
                shutil.copyfile(path, target / "info" / name)
        (target / "objects/info/alternates").unlink()
        self._remark()

    def _git(self, *arguments: str, data: bytes = b"") -> bytes:
        return self._source.run(*arguments, data=data, git_dir=self._target)

    def _settings(self) -> list[tuple[str, str]]:
        listed = os.fsdecode(self._source.run("config", "-z", "--list", "--show-scope", "--no-includes")).split("\0")
        found: list[tuple[str, str]] = []
        for scope, setting in zip(listed[::2], listed[1::2], strict=False):
            key, has_value, value = setting.partition("\n")
            if scope in {"local", "worktree"}:
                found.append((key, value if has_value else "true"))
        return found

    def _cut(self) -> list[str]:
        """Limit the history: return the commits at which it is cut off, if it is.

        They are written to `shallow`, together with those at which a shallow clone's history ends.
        """
        ends = self._source.shallow.read_text().split() if self._source.shallow.is_file() else []
        self._write_shallow(ends)
        size = self._size() if self._head else 0
        if size <= MAX_HISTORY_BYTES:
            return []
        listed = self._source.run("rev-list", f"--max-count={KEPT_COMMITS}", "--parents", self._head)
        commits = {line.split()[0]: line.split()[1:] for line in listed.decode("ascii").splitlines()}
        self._write_shallow([*ends, *(each for each, parents in commits.items() if set(parents) - set(commits))])
        self.remarks.append(
            f"History: the last {len(commits)} commits. The whole history of HEAD is {size / 1024**2:.0f} MiB, more"
            f" than {MAX_HISTORY_BYTES // 1024**2} MiB."
        )
        return list(commits)

    def _write_shallow(self, ends: list[str]) -> None:
        if ends and self._is_whole:
            (self._target / "shallow").write_text("".join(f"{each}\n" for each in sorted(set(ends))))

    def _size(self) -> int:
        """Return the size of the objects reachable from HEAD; values below the limit may be estimates."""
        told = os.fsdecode(self._source.run("count-objects", "-v"))
        sizes = dict(line.split(": ", 1) for line in told.splitlines())
        total = 1024 * (int(sizes["size"]) + int(sizes["size-pack"]))
        if total <= MAX_HISTORY_BYTES and "alternate" not in sizes:
            return total
        arguments = ("rev-list", "--objects", "--missing=allow-any", "--disk-usage", self._head)
        try:
            return int(self._source.run(*arguments, git_dir=self._target, timeout_s=_MEASURE_TIMEOUT_S))
        except UnusableError:
            # Counting takes too long: there is too much.
            return max(total, MAX_HISTORY_BYTES + 1)

    def _pack(self) -> None:
        """Write everything reachable from HEAD, staged files and annotated tags into one pack."""
        reached: set[str] = set()
        if self._head:
            listed = self._git("rev-list", "--objects", "--no-object-names", "--missing=allow-any", self._head)
            reached.update(listed.decode("ascii").split())
        staged = {each.object_id for each in self._source.entries if each.mode != GITLINK and not each.is_skipped}
        self._references = self._merged(reached)
        tags = set(self._references) - reached
        wanted = [*reached, *(staged - reached), *tags]
        made = ""
        if wanted:
            names = "".join(f"{each}\n" for each in wanted).encode("ascii")
            pack = os.fspath(self._target / "objects/pack/pack")
            arguments = ("pack-objects", "-q", "--delta-base-offset", "--missing=allow-any", pack)
            made = self._git(*arguments, data=names).decode("ascii").strip()
        # The rewritten history of a directory is in a second pack, which is now redundant.
        for other in self._target.glob("objects/pack/*"):
            if other.stem != f"pack-{made}":
                other.unlink()

    def _merged(self, reached: set[str]) -> dict[str, list[str]]:
        """Return the references to included commits: object to names."""
        found: dict[str, list[str]] = {}
        if not self._is_whole or not self._head:
            return found
        told = "%(objectname) %(*objectname) %(symref) %(refname)"
        kinds = ("refs/heads", "refs/tags", "refs/remotes")
        listed = os.fsdecode(self._source.run("for-each-ref", f"--merged={self._head}", f"--format={told}", *kinds))
        for line in listed.splitlines():
            named, peeled, symbolic, reference = line.split(" ", 3)
            if not symbolic and (peeled or named) in reached:
                found.setdefault(named, []).append(reference)
        return found

    def _write_references(self) -> None:
        references = self._references
        if self._head and self._branch:
            references.setdefault(self._head, [])
            if self._branch not in references[self._head]:
                references[self._head].append(self._branch)
        pairs = sorted((name, each) for each, names in references.items() for name in names)
        lines = "".join(f"{each} {name}\n" for name, each in pairs)
        (self._target / "packed-refs").write_bytes(os.fsencode(lines))
        head = f"ref: {self._branch}" if self._branch else self._head or "ref: refs/heads/main"
        (self._target / "HEAD").write_bytes(os.fsencode(head) + b"\n")

    def _write_index(self) -> None:
        entries, directory = self._source.entries, self._source.directory
        intended = self._source.intended()
        lines = b"".join(_index_line(each) for each in entries if each.path not in intended)
        self._git("update-index", "-z", "--index-info", data=lines)
        if there := [each for each in intended if _is_file(os.fsencode(directory) + b"/" + each)]:
            # git adds them by their names, and reads nothing.
            add = ("add", "--intent-to-add", "--force", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul")
            # Those that git does not take are untracked in the guest.
            with suppress(UnusableError):
                self._source.run(*add, data=b"\0".join(there), git_dir=self._target, work_tree=directory)
        if skipped := b"".join(each.path + b"\0" for each in entries if each.is_skipped or self._excluded(each.path)):
            self._git("update-index", "-z", "--skip-worktree", "--stdin", data=skipped)

    def _rewrite(self, kept: list[str]) -> None:
        """Rewrite the history of one directory as a repository's: each commit that changed it, with its tree."""
        if not self._head:
            return
        inside = os.fsencode(self._source.directory.relative_to(self._source.top))
        bound = [f"--max-count={KEPT_COMMITS}"] if kept else []
        listed = self._source.run(
            "rev-list", "--topo-order", "--reverse", "--parents", *bound, self._head, "--", "."
        ).decode("ascii")
        commits = [line.split() for line in listed.splitlines()]
        if not commits:
            self._head = ""
            return
        names = b"".join(each[0].encode() + b"\n" for each in commits)
        trees = self._source.run(
            "cat-file", "--batch-check=%(objectname)", data=names.replace(b"\n", b":" + inside + b"\n")
        ).split(b"\n")
        raw = self._source.run("cat-file", "--batch", data=names)
        stream = bytearray(b"reset refs/heads/rewritten\n")
        marks = {each[0]: number for number, each in enumerate(commits, 1)}
        at = 0
        for (name, *parents), tree in zip(commits, trees, strict=False):
            end_of_line = raw.index(b"\n", at)
            size = int(raw[at:end_of_line].split()[2])
            commit = raw[end_of_line + 1 : end_of_line + 1 + size]
            at = end_of_line + size + 2
            stream += _commit(marks[name], commit, [marks[each] for each in parents if each in marks], tree)
        self._git("fast-import", "--quiet", "--date-format=raw-permissive", data=bytes(stream))
        self._head = os.fsdecode(self._git("rev-parse", "--verify", "refs/heads/rewritten")).strip()
        for reference in self._target.glob("refs/heads/*"):
            reference.unlink()
        self.remarks.append(
            f"It is a directory of the checkout {self._source.top}: the history in the guest is that of this directory,"
            " and its commits have other ids."
        )

    def _remark(self) -> None:
        """Add remarks on other differences from the host."""
        skipped = sum(each.is_skipped for each in self._source.entries)
        if skipped:
            self.remarks.append(f"It is a sparse checkout: tracked files that are not in the working tree: {skipped}.")
        for name, what in _UNDER_WAY.items():
            if (self._source.git_dir / name).exists():
                self.remarks.append(
                    f"A {what} is under way on the host: the guest has its files and index, not its state."
                )
        attributes = self._source.top / ".gitattributes"
        if attributes.is_file() and not attributes.is_symlink() and attributes.stat().st_size <= _MAX_RULES_BYTES:
            filters = sorted({os.fsdecode(name) for name in _FILTER.findall(attributes.read_bytes())})
            if filters:
                self.remarks.append(
                    f"Filters stay on the host: files that {', '.join(filters)} converts show as modified in the guest."
                )


def _is_file(path: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _index_line(entry: IndexEntry) -> bytes:
    return f"{entry.mode} {entry.object_id} {entry.stage}\t".encode("ascii") + entry.path + b"\0"


def _commit(mark: int, commit: bytes, parents: list[int], tree: bytes) -> bytes:
    """Return one commit for git fast-import: author, dates and message of `commit`, with other parents and tree."""
    head, _, message = commit.partition(b"\n\n")
    lines = [b"commit refs/heads/rewritten", b"mark :%d" % mark]
    lines += [line for line in head.split(b"\n") if line.startswith((b"author ", b"committer ", b"encoding "))]
    if len(lines) < 4:
        raise UnusableError("a commit has no author")
    lines += [b"data %d" % len(message), message]
    lines += [(b"from :%d" if number == 0 else b"merge :%d") % parent for number, parent in enumerate(parents)]
    lines += [b"deleteall"]
    if not tree.endswith(b" missing"):
        lines.append(b'M 040000 %s ""' % tree)
    return b"\n".join(lines) + b"\n\n"
