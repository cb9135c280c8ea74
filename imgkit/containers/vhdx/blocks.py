"""The blocks of a VHDX: [MS-VHDX] 2.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.block_image import BlockImage, Place, State
from imgkit.containers.block_table import LARGEST_CHECKED, MOST_BAD, BlockTable, shared_entries
from imgkit.containers.differencing import segments_with
from imgkit.containers.evidence_file import fill
from imgkit.containers.vhdx.structure import MIB
from imgkit.errors import CorruptImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.vhdx.metadata import Metadata
    from imgkit.containers.vhdx.structure import Structure
    from imgkit.image import Image

# 2.5.1.1; 4 and 5 are reserved.
_NOT_PRESENT, _UNDEFINED, _ZERO, _UNMAPPED, _FULLY_PRESENT, _PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7
_ZEROS = {_UNDEFINED, _ZERO, _UNMAPPED}
_PLACED = (_UNDEFINED, _UNMAPPED, _FULLY_PRESENT, _PARTIALLY_PRESENT)  # may have a place in the file
_BITMAP_PRESENT = 6  # 2.5.1.2
_STATES = bytes(low & 7 for low in range(256))  # of the low byte of an entry
_BITMAP_SIZE = MIB  # of a sector bitmap block, a bit for each sector of a chunk


class VhdxImage(BlockImage):
    """Blocks behind a table of 64-bit entries, in which every chunk of blocks is followed by the entry of its bitmap.

    Attributes:
        table_notices: What a look at the whole table found, for the examiner.
    """

    format = "vhdx"
    high_bit_first = False

    def __init__(
        self, file: EvidenceFile, structure: Structure, metadata: Metadata, parent: Image | None
    ) -> None:
        super().__init__(
            file, size=metadata.disk_size, block_size=metadata.block_size, limit=file.stat.st_size
        )
        self.segments = segments_with(file, parent)
        self.bitmap_sector = metadata.logical_sector_size
        self._differencing = metadata.has_parent
        self._areas = structure.areas
        self._chunk_ratio = (metadata.logical_sector_size << 23) // self.block_size
        self._blocks = -(-self.size // self.block_size)
        self._entry_count = self._count_entries()
        self._table = BlockTable(file, structure.bat.start, self._entry_count, "Q", "little", _states)
        if self._table.start + 8 * self._entry_count > structure.bat.end:
            raise CorruptImage(
                f"{file.path} has a block table of {structure.bat.end - structure.bat.start} bytes, "
                f"too small for the {self._entry_count} entries of its disk"
            )
        self._bad_bitmaps: dict[int, str] = {}  # chunk -> why its bitmap is not read
        self.table_notices = self._check_table()
        self._parent = parent
        self.cut_short += parent.cut_short if parent else ()

    def _count_entries(self) -> int:
        """2.5: the last entry is of a payload block, or of its bitmap where there is a parent."""
        if self._differencing:
            return -(-self._blocks // self._chunk_ratio) * (self._chunk_ratio + 1)
        return self._blocks + (self._blocks - 1) // self._chunk_ratio

    def _entry(self, index: int, block: int) -> int:
        raw = bytearray(8)
        where = self._table.start + 8 * index
        fill(self._file.fd, where, memoryview(raw), path=self.path, media_offset=block * self.block_size)
        return int.from_bytes(raw, "little")

    def _locate(self, block: int) -> Place:
        entry = self._entry(block + block // self._chunk_ratio, block)
        state, offset = entry & 7, entry >> 20 << 20
        if state == _NOT_PRESENT:
            return Place(State.PARENT)
        if state in _ZEROS:
            return Place(State.ZERO)
        if state not in {_FULLY_PRESENT, _PARTIALLY_PRESENT}:
            return self._no_place(block, f"has the state {state}, which means nothing")
        if state == _PARTIALLY_PRESENT and not self._differencing:
            return self._no_place(block, "is partly in a parent, which this disk does not have")
        wrong = self._wrong_with(offset, self._length(block))
        if wrong is not None:
            return self._no_place(block, wrong)
        return Place(State.HERE, offset) if state == _FULLY_PRESENT else self._partial(block, offset)

    def _partial(self, block: int, offset: int) -> Place:
        chunk, inside = divmod(block, self._chunk_ratio)
        entry = self._entry((chunk + 1) * (self._chunk_ratio + 1) - 1, block)
        where = entry >> 20 << 20
        if entry & 7 != _BITMAP_PRESENT:
            return self._no_place(
                block, f"is partly in its parent, and the bitmap of chunk {chunk} is not there"
            )
        wrong = self._wrong_with(where, _BITMAP_SIZE)
        if wrong is None and chunk in self._bad_bitmaps:
            wrong = self._bad_bitmaps[chunk]
        if wrong is not None:
            return self._no_place(block, f"is partly in its parent, and the bitmap of chunk {chunk} {wrong}")
        return Place(State.MIXED, offset, where + inside * (self.block_size // self.bitmap_sector // 8))

    def _no_place(self, block: int, wrong: str) -> Place:
        return Place(State.BAD, reason=f"block {block} of {self.path} {wrong}")

    def _wrong_with(self, offset: int, length: int) -> str | None:
        hit = self._areas.hit_by(offset, offset + length)
        if hit is not None:
            return f"lies at {offset}, in {hit}"
        return f"lies at {offset}, and the file ends at {self._limit}" if offset >= self._limit else None

    def _stored(self) -> Iterator[tuple[int, int, bool]]:
        for index, count, state in self._table.runs():
            if state != _NOT_PRESENT:
                for block, alike in self._blocks_of(index, count):
                    yield block, alike, state not in _ZEROS

    def _blocks_of(self, index: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (first block, how many) of those that `count` entries of the table are of; none are of a bitmap."""
        end = index + count
        while index < end:
            chunk, inside = divmod(index, self._chunk_ratio + 1)
            following = index - inside + self._chunk_ratio + 1
            block = chunk * self._chunk_ratio + inside
            alike = min(end, following - 1) - index
            if (alike := min(alike, self._blocks - block)) > 0:
                yield block, alike
            index = following

    def _block_of(self, index: int) -> int | None:
        """The block that an entry of the table is of, or None for that of a bitmap (or of no block at all)."""
        chunk, inside = divmod(index, self._chunk_ratio + 1)
        block = chunk * self._chunk_ratio + inside
        return block if inside < self._chunk_ratio and block < self._blocks else None

    def _check_table(self) -> tuple[str, ...]:
        """Look at the whole table, where it is of a usual size: blocks on each other, beyond the end, and left behind."""
        if 8 * self._entry_count > LARGEST_CHECKED:
            return (f"the block table of {self.path} is too large to be checked for blocks that share bytes",)
        stored: list[int] = []
        bitmaps: dict[int, int] = {}
        beyond = left = 0
        for index, entry in self._table.entries(*_PLACED):
            state, place, block = entry & 7, entry >> 20, self._block_of(index)
            if block is None and state == _BITMAP_PRESENT:
                bitmaps[index] = _BITMAP_SIZE // MIB
            elif block is None or state not in {_FULLY_PRESENT, _PARTIALLY_PRESENT}:
                left += block is not None and state in {_UNDEFINED, _UNMAPPED} and place > 0
                continue
            length = _BITMAP_SIZE if block is None else self._length(block)
            if (
                place * MIB < self._areas.end
                and self._areas.hit_by(place * MIB, place * MIB + length) is not None
            ):
                continue  # wrong in itself: it says nothing about another block
            stored.append(place << 32 | index)
            beyond += place * MIB + length > self._limit
        self._keep_shared(stored, bitmaps)
        return self._notices(len(stored), beyond, left)

    def _keep_shared(self, stored: list[int], bitmaps: dict[int, int]) -> None:
        """Remember which blocks and bitmaps share bytes of the file with another: they are not read."""
        found = shared_entries(stored, self.block_size // MIB, bitmaps)
        if len(found) > MOST_BAD:
            raise CorruptImage(
                f"the block table of {self.path} is no table: {len(found)} entries share bytes of the file"
            )
        for index, other in found.items():
            block = self._block_of(index)
            wrong = f"shares bytes of the file with entry {other} of the block table: one of the two is wrong"
            if block is None:
                self._bad_bitmaps[index // (self._chunk_ratio + 1)] = wrong
            else:
                self._bad[block] = f"block {block} of {self.path} {wrong}"

    def _notices(self, stored: int, beyond: int, left: int) -> tuple[str, ...]:
        notices = []
        if self._bad or self._bad_bitmaps:
            count = len(self._bad) + len(self._bad_bitmaps)
            notices.append(
                f"{count} entries of the block table of {self.path} share bytes of the file: they are not read"
            )
        if beyond:
            self.cut_short = (self.path,)
            notices.append(
                f"{beyond} of {stored} blocks of {self.path} lie beyond its end at {self._limit}, as a whole or in part: "
                "the file was cut short, and what is missing cannot be read"
            )
        if left:
            # 2.5.1.1 lets such a block read as anything; zeros are what Hyper-V and qemu show.
            notices.append(
                f"{left} blocks of {self.path} were discarded (unmapped or undefined): they read as zeros, "
                "and the file may still hold older bytes of them"
            )
        return tuple(notices)

    def _length(self, block: int) -> int:
        """Bytes of the media in a block."""
        return min(self.block_size, self.size - block * self.block_size)


def _states(entries: bytes) -> bytes:
    return entries[::8].translate(_STATES)
