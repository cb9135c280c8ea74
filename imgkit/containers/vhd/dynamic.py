"""A dynamic or differencing VHD: specification 1.0, "Block Allocation Table and Data Blocks"."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from imgkit.containers.block_image import BlockImage, Place, State
from imgkit.containers.block_table import (
    LARGEST_CHECKED,
    MOST_BAD,
    Area,
    Areas,
    BlockTable,
    shared_entries,
)
from imgkit.containers.differencing import segments_with
from imgkit.containers.evidence_file import fill
from imgkit.errors import CorruptImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.vhd.footer import Footer
    from imgkit.containers.vhd.header import Header
    from imgkit.image import Image

_SECTOR = 512
_UNUSED = 0xFFFFFFFF


class DynamicVhd(BlockImage):
    """Blocks, each behind a bitmap of the sectors that were written; over a parent where it is differencing.

    Attributes:
        table_notices: What a look at the whole table found, for the examiner.
    """

    format = "vhd"
    high_bit_first = True
    bitmap_sector = _SECTOR

    def __init__(self, file: EvidenceFile, footer: Footer, header: Header, parent: Image | None) -> None:
        super().__init__(file, size=footer.current_size, block_size=header.block_size, limit=footer.end)
        self.segments = segments_with(file, parent)
        self._blocks = -(-self.size // self.block_size)
        self._table = BlockTable(file, header.table_offset, self._blocks, "I", "big", _used)
        # A bit for each sector of the block, rounded up to whole sectors.
        self._bitmap_size = -(-self.block_size // _SECTOR // 8 // _SECTOR) * _SECTOR
        self._areas = Areas(_apart(header.areas))
        self.table_notices = self._check_table()
        self._parent = parent
        self.cut_short += parent.cut_short if parent else ()

    def _locate(self, block: int) -> Place:
        entry = bytearray(4)
        where = self._table.start + 4 * block
        fill(self._file.fd, where, memoryview(entry), path=self.path, media_offset=block * self.block_size)
        return self._place_of(block, int.from_bytes(entry, "big"))

    def _place_of(self, block: int, entry: int) -> Place:
        if entry == _UNUSED:
            return Place(State.PARENT)
        bitmap = entry * _SECTOR
        start = bitmap + self._bitmap_size
        end = start + min(self.block_size, self.size - block * self.block_size)
        hit = self._areas.hit_by(bitmap, end)
        if hit is not None:
            return Place(
                State.BAD,
                reason=f"the table of {self.path} says that block {block} lies at {bitmap}, in {hit}",
            )
        if start >= self._limit:
            reason = f"block {block} lies at {bitmap} of {self.path}, which ends at {self._limit}"
            return Place(State.BAD, reason=reason)
        return Place(State.MIXED, start, bitmap)

    def _stored(self) -> Iterator[tuple[int, int, bool]]:
        return ((block, count, True) for block, count, used in self._table.runs() if used != 0)

    def _check_table(self) -> tuple[str, ...]:
        """Look at the whole table, where it is of a usual size: blocks on each other, and beyond the end."""
        if 4 * self._blocks > LARGEST_CHECKED:
            return (f"the block table of {self.path} is too large to be checked for blocks that share bytes",)
        stored: list[int] = []
        beyond = 0
        for block, entry in self._table.entries(1):
            if entry * _SECTOR < self._areas.end and self._place_of(block, entry).state is State.BAD:
                continue  # wrong in itself: it says nothing about another block
            stored.append(entry << 32 | block)
            end = entry * _SECTOR + self._bitmap_size + self._length(block)
            beyond += end > self._limit
        self._bad = self._shared(stored)
        notices = []
        if self._bad:
            notices.append(
                f"{len(self._bad)} blocks of {self.path} share bytes of the file: they are not read"
            )
        if beyond:
            self.cut_short = (self.path,)
            notices.append(
                f"{beyond} of {len(stored)} blocks of {self.path} lie beyond its end at {self._limit}, as a whole or in "
                "part: the file was cut short, and what is missing cannot be read"
            )
        return tuple(notices)

    def _shared(self, stored: list[int]) -> dict[int, str]:
        last = self._blocks - 1
        sectors = (self._bitmap_size + self.block_size) // _SECTOR
        lengths = {last: -(-(self._bitmap_size + self._length(last)) // _SECTOR)}
        found = shared_entries(stored, sectors, lengths)
        if len(found) > MOST_BAD:
            raise CorruptImage(
                f"the block table of {self.path} is no table: {len(found)} blocks share bytes of the file"
            )
        return {
            block: f"block {block} shares bytes of {self.path} with block {other}: one of the two entries is wrong"
            for block, other in found.items()
        }

    def _length(self, block: int) -> int:
        """Bytes of the media in a block."""
        return min(self.block_size, self.size - block * self.block_size)


def _used(entries: bytes) -> bytes:
    """For each entry 1 where it says that its block is in this file, else 0."""
    if entries and entries.count(entries[0]) == len(
        entries
    ):  # an empty disk, or a hole where the table should be
        return bytes([entries[0] != 0xFF]) * (len(entries) // 4)
    return bytes(map(_UNUSED.__ne__, array("I", entries)))  # in either order of bytes: they are all the same


def _apart(areas: tuple[Area, ...]) -> list[Area]:
    """The same areas, cut so that none overlaps the one before it (old writers put locators anywhere)."""
    apart: list[Area] = []
    reach = 0
    for area in sorted(areas):
        start = max(area.start, reach)
        if start < area.end:
            apart.append(Area(start, area.end, area.name))
            reach = area.end
    return apart
