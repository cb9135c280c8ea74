"""Checks of a block table as a whole: no block lies in what is not a block's, and no two blocks share bytes of the file."""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from imgkit.containers.evidence_file import fill
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgkit.containers.evidence_file import EvidenceFile

PIECE = 1 << 20  # bytes of a table that are looked at together
LARGEST_CHECKED = 8 << 20  # bytes of a table that is checked as a whole when the image is opened
MOST_BAD = 65536  # blocks that may be wrong before the table as a whole is
_ALIKE = re.compile(b"|".join(bytes([kind]) + b"+" for kind in range(8)))  # `(.)\1*` takes 300 times as long


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


@dataclass(frozen=True, slots=True)
class BlockTable:
    """Where a table lies and how it is written. It is looked at piece by piece, in bounded memory.

    Attributes:
        file: That holds it.
        start: Byte of the file.
        count: Entries.
        code: Type of an entry, as array has it.
        order: Of the bytes of an entry.
        kinds: Bytes of entries -> a byte for each, below 8, that says of what kind it is; alike ones are gone through together.
    """

    file: EvidenceFile
    start: int
    count: int
    code: Literal["I", "Q"]
    order: Literal["little", "big"]
    kinds: Callable[[bytes], bytes]

    def runs(self) -> Iterator[tuple[int, int, int | None]]:
        """Yield (index, how many, kind) of entries of one kind; None where the table could not be read."""
        for first, raw in self._pieces():
            yield from self._runs_of(first, raw)

    def entries(self, *kinds: int) -> Iterator[tuple[int, int]]:
        """Yield (index, entry) of every entry of these kinds, as far as the table can be read."""
        size = array(self.code).itemsize
        for first, raw in self._pieces():
            for index, count, kind in self._runs_of(first, raw):
                if kind is not None and kind in kinds:
                    inside = size * (index - first)
                    entries = array(self.code, raw[inside : inside + size * count])
                    if sys.byteorder != self.order:
                        entries.byteswap()
                    yield from enumerate(entries, index)

    def _runs_of(self, first: int, raw: bytes) -> Iterator[tuple[int, int, int | None]]:
        if not raw:
            yield first, self._here(first), None
        for found in _ALIKE.finditer(self.kinds(raw)):
            yield first + found.start(), found.end() - found.start(), found[0][0]

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield (index of the first entry, bytes); none where they could not be read."""
        size = array(self.code).itemsize
        for first in range(0, self.count, PIECE // size):
            raw = bytearray(size * self._here(first))
            try:
                fill(
                    self.file.fd,
                    self.start + size * first,
                    memoryview(raw),
                    path=self.file.path,
                    media_offset=0,
                )
            except MediaReadError:  # reading these blocks will say so, each for itself
                raw = bytearray()
            yield first, bytes(raw)

    def _here(self, first: int) -> int:
        """Entries of the piece that begins with entry `first`."""
        return min(PIECE // array(self.code).itemsize, self.count - first)
