"""Resolve symbolic links inside a tree that is only described, through other links, without a file system."""

from __future__ import annotations

_MAX_HOPS = 40  # what the kernel follows (MAXSYMLINKS)
# Of all links of a tree together; ordinary ones take a handful each.
_MAX_STEPS = 2_000_000


class TangledError(Exception):
    """Finding out where the links lead takes more than it is worth."""


class LinkMap:
    """The symbolic links of a tree, by name."""

    def __init__(self) -> None:
        self.targets: dict[bytes, bytes] = {}
        self._steps = 0

    def add(self, path: bytes, target: bytes) -> None:
        """Add a link."""
        self.targets[path] = target

    def leaving(self) -> list[bytes]:
        """Return the links that are absolute, or lead above the tree's root by themselves or through other links.

        Raises:
            TangledError: if there are too many, leading through each other.
        """
        return [path for path in self.targets if self.leaves(path)]

    def leaves(self, path: bytes) -> bool:
        """Say whether a link leads out of the tree.

        Raises:
            TangledError: as `leaving` does.
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
                        # A circle: following it leads nowhere.
                        return False
                    place.pop()
                    pending.append(further)
        return False
