"""Cross-check of a stream: its grains lie one behind the other, each with its place, so that a table cannot lose one unseen.

A stream has no second copy of its tables, and an entry that became 0 would read as zeros. Virtual Disk Format 5.0,
"Stream-Optimized Compressed Sparse Extents".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.vmdk.descriptor import SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MARKER = struct.Struct("<QII")  # lba or sectors, size (0: a marker of metadata), its type
_TABLE_MARKER = 1


class Span(NamedTuple):
    """The grains of one table.

    Attributes:
        first: Number of the first.
        entries: How many the table has.
        grain_size: Bytes.
    """

    first: int
    entries: int
    grain_size: int


def stored_grains(
    read: Callable[[int, int], bytes], start: int, end: int, span: Span
) -> Iterator[tuple[int, int]]:
    """Yield (entry, byte of the file) of each grain of `span` that lies behind `start`, as far as they follow each other.

    Anything else than a grain of the span ends it: what is found is certain, what is not found says nothing.

    Args:
        read: (offset, length) -> bytes of the file; its errors come out of here.
        start: Byte of the file.
        end: Bytes of the file.
        span: What is looked for.
    """
    position = start
    for _ in range(2 * span.entries):
        if position + _MARKER.size > end:
            return
        lba, size, _kind = _MARKER.unpack(read(position, _MARKER.size))
        number, rest = divmod(lba * SECTOR, span.grain_size)
        index = number - span.first
        if not 0 < size <= 2 * span.grain_size or rest or not 0 <= index < span.entries:
            return
        yield index, position
        position += -(-(12 + size) // SECTOR) * SECTOR


def is_table_marker(raw: bytes) -> bool:
    """Whether these bytes, of the sector before a grain table, announce one."""
    _sectors, size, kind = _MARKER.unpack_from(raw)
    return bool(size == 0 and kind == _TABLE_MARKER)
