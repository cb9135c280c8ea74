"""Checks of a block table as a whole: no block lies in what is not a block's, and no two blocks share bytes of the file."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from imgkit.containers.evidence_file import fill
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgkit.containers.evidence_file import EvidenceFile

PIECE = 1 << 20  # bytes of a table that are looked at together
LARGEST_CHECKED = 8 << 20  # bytes of a table that is checked as a whole when the image is opened
MOST_BAD = 65536  # blocks that may be wrong before the table as a whole is


class Area(NamedTuple):
    """A part of the file that is no block's: [start, end) and what it is."""

    start: int
    end: int
    name: str


class Areas:
    """The parts of a file that no block may lie in.

    Attributes:
        end: Of the last of them.
    """

    def __init__(self, areas: Iterable[Area]) -> None:
        self._areas = sorted(area for area in areas if area.start < area.end)
        self._starts = [area.start for area in self._areas]
        self.end = max((area.end for area in self._areas), default=0)

    def hit_by(self, start: int, end: int) -> str | None:
        """The name of an area that [start, end) shares a byte with, or None; areas do not overlap each other."""
        for index in (bisect_right(self._starts, start) - 1, bisect_right(self._starts, start)):
            if 0 <= index < len(self._areas):
                area = self._areas[index]
                if max(start, area.start) < min(end, area.end):
                    return area.name
        return None

    def overlapping(self) -> tuple[Area, Area] | None:
        """Two areas that share a byte, or None."""
        return next(((a, b) for a, b in pairwise(self._areas) if b.start < a.end), None)


def shared_entries(stored: Sequence[int], length: int, lengths: dict[int, int]) -> dict[int, int]:
    """Entries whose bytes another entry has too -> that other one.

    Args:
        stored: Start in the file << 32 | entry, for every entry that has bytes.
        length: Bytes in the file of each.
        lengths: Entry -> bytes, where an entry has fewer.
    """
    ordered = sorted(stored)
    if all(
        after - before >= length << 32 for before, after in pairwise(code >> 32 << 32 for code in ordered)
    ):
        return {}
    found: dict[int, int] = {}
    reach, reacher = 0, -1
    for code in ordered:
        start, entry = code >> 32, code & 0xFFFFFFFF
        if start < reach:
            found[entry] = reacher
            found.setdefault(reacher, entry)
        end = start + lengths.get(entry, length)
        if end > reach:
            reach, reacher = end, entry
    return found


class Layout(NamedTuple):
    """How a table is written: type of an entry (as array has it), order of its bytes, and the entry that says `nothing`."""

    code: Literal["I", "Q"]
    order: Literal["little", "big"]
    unused: int


def table_entries(
    file: EvidenceFile, start: int, count: int, layout: Layout
) -> Iterator[tuple[int, int | None]]:
    """Yield (index, entry) of every entry that is used; None where the table could not be read. In bounded memory."""
    size = array(layout.code).itemsize
    nothing = layout.unused.to_bytes(size, "big") * (PIECE // size)
    for first in range(0, count, PIECE // size):
        here = min(PIECE // size, count - first)
        raw = bytearray(size * here)
        try:
            fill(file.fd, start + size * first, memoryview(raw), path=file.path, media_offset=0)
        except MediaReadError:  # reading these blocks will say so, each for itself
            yield from ((index, None) for index in range(first, first + here))
            continue
        if nothing.startswith(raw):
            continue
        entries = array(layout.code, bytes(raw))
        if sys.byteorder != layout.order:
            entries.byteswap()
        yield from ((first + i, entry) for i, entry in enumerate(entries) if entry != layout.unused)
