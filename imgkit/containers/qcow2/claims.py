"""Which clusters of the file are taken, and by what: two ranges of the media that lead to one cluster contradict each other.

A flipped bit in an L2 entry makes it lead to another cluster, most often one in use. This is what tells.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgkit.containers.qcow2.header import Header

_MOST_CLUSTERS = 1 << 25  # of a file whose data clusters are held against each other; one byte of memory each
_DATA, _COMPRESSED, _SEVERAL = 1, 2, 3


class Claims:
    """The clusters of one file. `taken` may be called from any thread; the others by one at a time."""

    def __init__(self, header: Header, file_size: int) -> None:
        self._bits = header.cluster_bits
        clusters = -(-file_size >> self._bits)
        self._uses = bytearray(clusters if clusters <= _MOST_CLUSTERS else 0)
        self.fixed = _fixed_clusters(header)
        # Ascending offsets in the file: where no data can lie.
        self._barred = sorted(self.fixed)

    def bar(self, tables: Iterable[int]) -> None:
        """There are L2 tables at these offsets of the file."""
        self._barred = sorted({*self._barred, *tables})

    def taken(self, host: int, length: int) -> int | None:
        """The first cluster, by its offset, that shares bytes with [host, host + length) and holds something else."""
        first, end = host >> self._bits, -(-(host + length) >> self._bits)
        several = self._uses.find(_SEVERAL, first, end)
        at = bisect_left(self._barred, first << self._bits)
        if at < len(self._barred) and self._barred[at] < host + length:
            table = self._barred[at]
            return table if several < 0 else min(table, several << self._bits)
        return None if several < 0 else several << self._bits

    def claim(self, host: int, length: int) -> None:
        """Data lies here, of one range of the media; so it can be of no other."""
        first, end = host >> self._bits, -(-(host + length) >> self._bits)
        end = min(end, len(self._uses))
        if first >= end:
            return
        if self._uses.count(0, first, end) == end - first:
            self._uses[first:end] = bytes([_DATA]) * (end - first)
            return
        for cluster in range(first, end):
            self._uses[cluster] = _SEVERAL if self._uses[cluster] else _DATA

    def claim_compressed(self, host: int, length: int) -> None:
        """Compressed clusters lie side by side in one of the file; plain data cannot lie there too."""
        first, end = host >> self._bits, -(-(host + length) >> self._bits)
        for cluster in range(first, min(end, len(self._uses))):
            self._uses[cluster] = _SEVERAL if self._uses[cluster] in {_DATA, _SEVERAL} else _COMPRESSED


def _fixed_clusters(header: Header) -> set[int]:
    """The clusters of the header, the L1, refcount and snapshot tables."""
    size = header.cluster_size
    parts = [
        (0, 1),
        (header.l1_table_offset, header.l1_size * 8),
        (header.refcount_table_offset, header.refcount_table_clusters * size),
        (header.snapshots_offset, min(header.nb_snapshots, 1)),
    ]
    return {at for start, length in parts for at in range(start, start + length, size)}
