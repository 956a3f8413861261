"""Resolve the symbolic links of a tree in memory, without a file system."""

from __future__ import annotations

_MAX_HOPS = 40  # the kernel's limit (MAXSYMLINKS)
# The limit for all links of a tree together; ordinary links need a handful each.
_MAX_STEPS = 2_000_000


class TangledError(Exception):
    """Resolving the links takes too many steps."""


class LinkMap:
    """The symbolic links of a tree, by name."""

    def __init__(self) -> None:
        self.targets: dict[bytes, bytes] = {}
        self._steps = 0

    def add(self, path: bytes, target: bytes) -> None:
        """Add a link."""
        self.targets[path] = target

    def leaving(self) -> list[bytes]:
        """Return the links that are absolute, or lead above the tree's root, directly or through other links.

        Raises:
            TangledError: if too many links refer to each other.
        """
        return [path for path in self.targets if self.leaves(path)]

    def leaves(self, path: bytes) -> bool:
        """Return whether a link leads out of the tree.

        Raises:
            TangledError: as `leaving`.
        """
        place = path.split(b"/")[:-1]
        pending = [self.targets[path]]
        hops = 0
        while pending:
            text = pending.pop()
            if text.startswith(b"/"):
                return True
            part, _, rest = text.partition(b"/")
            if rest := rest.lstrip(b"/"):
                pending.append(rest)
            self._steps += 1 + len(place) // 8
            if self._steps > _MAX_STEPS:
                raise TangledError
            if part == b"..":
                if not place:
                    return True
                place.pop()
            elif part != b".":
                place.append(part)
                further = self.targets.get(b"/".join(place))
                if further is not None:
                    hops += 1
                    if hops > _MAX_HOPS:
                        # A cycle: it can't be followed anywhere.
                        return False
                    place.pop()
                    pending.append(further)
        return False
