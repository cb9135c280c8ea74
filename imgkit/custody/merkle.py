"""Merkle tree over the lines of a log (RFC 6962, section 2.1): roots of every size in one reading, paths of single lines.

A leaf is the bytes of a line with its LF: SHA-256(00 || line); a node is SHA-256(01 || left || right). No leaves: SHA-256
of nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_sha256 = hashlib.sha256
EMPTY = _sha256(b"").digest()


def leaf_hash(line: bytes) -> bytes:
    """Return the hash of a leaf: a line with its LF."""
    return _sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return _sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """The root of what was added so far; holds one hash for each bit of the number of leaves.

    Attributes:
        size: Leaves added.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of full subtrees, the largest first

    def add(self, line: bytes) -> None:
        """Add the next line."""
        self.add_leaf(_sha256(b"\x00" + line).digest())

    def add_leaf(self, node: bytes) -> None:
        """Add the next line by its leaf_hash."""
        peaks, bits = self._peaks, self.size
        while bits & 1:
            node = _sha256(b"\x01" + peaks.pop() + node).digest()
            bits >>= 1
        peaks.append(node)
        self.size += 1

    @classmethod
    def resume(cls, size: int, peaks: Sequence[bytes]) -> Self:
        """Return a tree that goes on where one of `size` leaves and these `peaks` was.

        Raises:
            ValueError: No tree of that size has so many.
        """
        tree = cls()
        if len(peaks) != size.bit_count() or any(len(peak) != len(EMPTY) for peak in peaks):
            raise ValueError(f"a tree of {size} leaves does not have {len(peaks)} peaks")
        tree.size, tree._peaks = size, list(peaks)
        return tree

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the full subtrees, the largest first: all that the tree knows."""
        return tuple(self._peaks)

    def root(self) -> bytes:
        """Return the root over every leaf so far; more may be added after."""
        if not self._peaks:
            return EMPTY
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf `index` (from 0): the sibling of each step from the leaf to the root.

    Args:
        leaves: Leaf hashes of the whole tree.
        index: Which of them.
    """
    path: list[bytes] = []
    _path(leaves, index, path)
    return path


def _path(leaves: Sequence[bytes], index: int, path: list[bytes]) -> None:
    count = len(leaves)
    if count <= 1:
        return
    half = 1 << (count - 1).bit_length() - 1
    if index < half:
        _path(leaves[:half], index, path)
        path.append(root_of(leaves[half:]))
    else:
        _path(leaves[half:], index - half, path)
        path.append(root_of(leaves[:half]))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = above + level[len(level) & ~1 :]
    return level[0]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to (RFC 9162, section 2.1.3.2), or None where it has the wrong length.

    Args:
        leaf: Hash of the leaf.
        index: Its place, from 0.
        size: Leaves of the tree.
        path: As inclusion_path gives it.
    """
    if not 0 <= index < size:
        return None
    node, at, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return node if last == 0 else None
