"""Store installs on disk, by label and the digest of their manifest. An install is either complete or absent.

`ROOT/LABEL/current` contains a manifest's digest, and `ROOT/LABEL/DIGEST12/` the install. Only verified installs are
opened.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ErrorCode, PyroError, from_os_error
from pyro_mcp.host import durable
from pyro_mcp.host.faults import fault_point
from pyro_mcp.host.paths import ensure_private_dir
from pyro_mcp.image import integrity, manifest
from pyro_mcp.image.integrity import Artifact
from pyro_mcp.image.manifest import Manifest, is_digest

CURRENT = "current"
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Install:
    """A complete, verified install."""

    digest: str
    directory: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Shelf:
    """All installs of one kind: `root` has a directory for each label."""

    kind: str
    root: Path
    tmp: Path

    def lock_name(self, label: str) -> str:
        """Return the name of a label's lock, and of its build directory."""
        return f"{self.kind}-{label}"

    def current(self, label: str) -> str | None:
        """Return the digest of the label's current install, or None if there is none.

        Raises:
            PyroError: CORRUPT if the content is not a digest.
        """
        try:
            with open(self.root / label / CURRENT, "rb") as file:
                text = file.read(256).decode("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, f"read {self.root / label / CURRENT}") from error
        if not is_digest(text):
            raise PyroError(ErrorCode.CORRUPT, f"{CURRENT} does not hold a digest")
        return text

    def open(self, label: str, digest: str | None = None) -> Install | None:
        """Return the label's install `digest` (default: the current one) after verifying it, or None.

        Raises:
            PyroError: CORRUPT, with the reason, if it is incomplete or does not match its digests.
        """
        if digest is None:
            digest = self.current(label)
            if digest is None:
                return None
        directory = self.root / label / digest[: integrity.SHORT]
        if not is_digest(digest) or not directory.is_dir():
            if is_digest(digest) and self.current(label) == digest:
                raise PyroError(ErrorCode.CORRUPT, f"the directory {digest[: integrity.SHORT]} is missing")
            return None
        integrity.verify(directory, {manifest.FILE_NAME: Artifact(digest)})
        found = Manifest.from_bytes(_read(directory / manifest.FILE_NAME), kind=self.kind)
        integrity.verify(directory, found.artifacts)
        return Install(digest, directory, found)

    def find(self, label: str) -> Install | None:
        """Return the label's current install, or None if it is missing or broken.

        Raises:
            PyroError: PERMISSION and others.
        """
        try:
            return self.open(label)
        except PyroError as error:
            if error.code is not ErrorCode.CORRUPT:
                raise
            return None

    def publish(self, label: str, contents: Path, found: Manifest) -> Install:
        """Make the files in the directory `contents` the label's current install.

        The artifacts must have been measured by this process; `contents` is emptied. The caller holds the label's lock.

        Raises:
            PyroError: NO_SPACE, PERMISSION and others; the previous install is then still the current one.
        """
        data = found.to_bytes()
        digest = integrity.digest_of(data)
        home = ensure_private_dir(self.root / label)
        target = home / digest[: integrity.SHORT]
        # An existing copy with this digest is either identical or broken, so it can be replaced.
        with durable.staged_dir(self.tmp, target, replaces=True) as staged:
            for name in {path.split("/")[0] for path in found.artifacts}:
                os.rename(contents / name, staged / name)
            durable.atomic_write(staged / manifest.FILE_NAME, data, mode=0o400)
        fault_point("install.before_current")
        durable.atomic_write(home / CURRENT, f"{digest}\n".encode())
        integrity.seal(target, {manifest.FILE_NAME: Artifact(digest), **found.artifacts})
        # Decoded again, so that it equals what a later `open` returns: JSON has no tuples.
        return Install(digest, target, Manifest.from_bytes(data, kind=self.kind))

    def labels(self) -> list[str]:
        """Return the labels that have a directory."""
        return _directories(self.root)

    def unneeded(self, label: str, keep: Collection[str], *, keep_current: bool) -> list[Path]:
        """Return the label's installs that are neither in `keep` (digests, or their first 12 digits) nor `current`."""
        kept = {digest[: integrity.SHORT] for digest in keep}
        if keep_current:
            try:
                kept.add((self.current(label) or "")[: integrity.SHORT])
            except PyroError:
                # An unreadable pointer protects no install: the next pull rebuilds it.
                kept.discard("")
        return [self.root / label / name for name in self.digests(label) if name not in kept]

    def digests(self, label: str) -> list[str]:
        """Return the first digits of the digests of the label's directories."""
        return _directories(self.root / label)

    def remove(self, directory: Path) -> None:
        """Remove one install: rename it first, so that it is never visible half removed."""
        aside = ensure_private_dir(self.tmp) / os.urandom(8).hex()
        try:
            os.rename(directory, aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os_error(error, f"remove {directory}") from error
        fault_point("install.removed_from_sight")
        durable.remove_tree(aside)

    def remove_label(self, label: str) -> None:
        """Remove a label without installs, and its pointer."""
        self.remove(self.root / label)


def _directories(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise from_os_error(error, f"read the directory {path}") from error


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_MANIFEST_BYTES)
    except OSError as error:
        raise PyroError(ErrorCode.CORRUPT, f"{path.name} can't be read: {error.strerror}") from error
