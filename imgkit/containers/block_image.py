"""BlockImage: media cut into blocks of one size, each absent or somewhere in the file, over a parent or over zeros.

VHD and VHDX are both of this kind. They say where a block is; how blocks are read, merged with a parent and mapped is here.
Every read is a pread of its own into the caller's buffer: safe from many threads, no cache, no byte of another block.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.evidence_file import fill, let_go
from imgkit.errors import CorruptMedia, MediaReadError
from imgkit.image import Extent, Image, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgkit.containers.evidence_file import EvidenceFile

_ZEROS = bytes(1 << 20)
_PRESENT_FIRST_BIT_HIGH = [f"{byte:08b}" for byte in range(256)]
_PRESENT_FIRST_BIT_LOW = [f"{byte:08b}"[::-1] for byte in range(256)]
_MOST_ANOMALIES = 100  # sentences kept; the list stays readable whatever the image holds

Bad = tuple[int, int, str]  # offset, length, reason, as MediaReadError.ranges


class State(Enum):
    """What a block's table entry says."""

    ZERO = "reads as zeros"
    HERE = "all of it is in this file"
    MIXED = "a bitmap says which sectors are in this file"
    PARENT = "nothing of it is in this file"
    BAD = "the entry cannot be meant"


class Place(NamedTuple):
    """Where a block is.

    Attributes:
        state: What its table entry says.
        offset: First byte of the block in the file (HERE, MIXED).
        bitmap: First byte in the file of its own part of a sector bitmap (MIXED).
        reason: What is wrong (BAD).
    """

    state: State
    offset: int = 0
    bitmap: int = 0
    reason: str = ""


class Run(NamedTuple):
    """A part of the media that hides the parent's, and whether it may hold data."""

    offset: int
    length: int
    data: bool


class BlockImage(Image):
    """Media in blocks. Takes over `file` and `parent`, and closes them.

    A subclass says where a block is (`_locate`) and which blocks there are (`_stored`).

    Attributes:
        block_size: Bytes of a block; the last of the media may be shorter.
    """

    high_bit_first: bool  # of the sector bitmap: which bit of a byte is its first sector
    bitmap_sector: int  # bytes of the media that one bit speaks of

    def __init__(self, file: EvidenceFile, *, size: int, block_size: int, limit: int) -> None:
        self._file = file
        self.path = file.path
        self.size = size
        self.block_size = block_size
        self._limit = limit  # of the file: what lies beyond is no block's
        self._parent: Image | None = None
        self._bad: dict[int, str] = {}  # blocks that a check of the whole table found to be wrong
        self._anomalies: dict[str, None] = {}
        self._anomalies_lock = threading.Lock()

    @abstractmethod
    def _locate(self, block: int) -> Place:
        """Where a block is, from its table entry alone; raises MediaReadError as `fill` does."""

    @abstractmethod
    def _stored(self) -> Iterator[tuple[int, int, bool]]:
        """Yield (first block, how many, whether they may hold data), ascending: every block but those not in this file.

        False is for blocks that are zeros whatever the parent holds. From the table alone, in bounded memory.
        """

    def close(self) -> None:
        """Close the file, and the parent."""
        self._file.close()
        if self._parent is not None:
            self._parent.close()

    @property
    def anomalies(self) -> tuple[str, ...]:
        """See Image.anomalies; the parent's too."""
        with self._anomalies_lock:
            own = tuple(self._anomalies)
        return own if self._parent is None else own + self._parent.anomalies

    def _note(self, sentence: str) -> None:
        with self._anomalies_lock:
            if len(self._anomalies) < _MOST_ANOMALIES:
                self._anomalies[sentence] = None

    # reading

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        bad: list[Bad] = []
        done = 0
        while done < len(wanted):
            position = offset + done
            part = wanted[done : done + self.block_size - position % self.block_size]
            self._read_part(position, part, bad)
            done += len(part)
        if bad:
            raise self._corrupt(bad)
        return len(wanted)

    def _corrupt(self, bad: Sequence[Bad]) -> CorruptMedia:
        offset, length, reason = bad[0]
        more = f" (and {len(bad) - 1} more ranges)" if len(bad) > 1 else ""
        message = f"cannot read media bytes {offset} to {offset + length - 1} of {self.path}: {reason}{more}"
        return CorruptMedia(message, offset=offset, length=length, ranges=tuple(bad))

    def _place(self, block: int) -> Place:
        reason = self._bad.get(block)
        if reason is not None:
            return Place(State.BAD, reason=reason)
        place = self._locate(block)
        if place.state is State.MIXED and place.bitmap + self._bitmap_bytes(block) > self._limit:
            return Place(
                State.BAD, reason=f"the sector bitmap of block {block} lies beyond the end of {self.path}"
            )
        return place

    def _bitmap_bytes(self, block: int) -> int:
        """Bytes of a block's own part of a sector bitmap, as far as the media goes."""
        length = min(self.block_size, self.size - block * self.block_size)
        return -(-length // (8 * self.bitmap_sector))

    def _read_part(self, position: int, part: memoryview, bad: list[Bad]) -> None:
        """Fill `part`, which lies in one block; append to `bad` what is not to be had."""
        block, inside = divmod(position, self.block_size)
        place = self._place(block)
        if place.state is State.BAD:
            bad.append((position, len(part), place.reason))
        elif place.state is State.ZERO:
            _zero(part)
        elif place.state is State.PARENT:
            self._read_parent(position, part, bad)
        elif place.state is State.HERE:
            self._read_file(place.offset + inside, position, part, bad)
        else:
            self._read_mixed(place, position, part, bad)

    def _read_file(self, where: int, position: int, part: memoryview, bad: list[Bad]) -> None:
        """Fill from `where` of the file; what lies beyond the file's end is bad, what lies before it is not."""
        there = max(0, min(len(part), self._limit - where))
        fill(self._file.fd, where, part[:there], path=self.path, media_offset=position)
        if there < len(part):
            block = position // self.block_size
            reason = f"block {block} lies at {where - position % self.block_size} of {self.path}, which ends at {self._limit}"
            bad.append((position + there, len(part) - there, reason))

    def _read_parent(self, position: int, part: memoryview, bad: list[Bad]) -> None:
        """Fill from the parent; it may be smaller than its child, which then begins with zeros behind it."""
        parent = self._parent
        there = 0 if parent is None else max(0, min(len(part), parent.size - position))
        if parent is not None and there:
            try:
                parent.read_into(position, part[:there])
            except MediaReadError as error:
                if not error.ranges:
                    raise
                bad += error.ranges
        _zero(part[there:])

    def _read_mixed(self, place: Place, position: int, part: memoryview, bad: list[Bad]) -> None:
        inside = position % self.block_size
        for offset, length, present in self._sector_runs(place, position, len(part)):
            piece = part[offset : offset + length]
            if present:
                self._read_file(place.offset + inside + offset, position + offset, piece, bad)
                continue
            if self._parent is None:
                self._look_behind_bitmap(place.offset + inside + offset, position + offset, piece)
            self._read_parent(position + offset, piece, bad)

    def _look_behind_bitmap(self, where: int, position: int, buffer: memoryview) -> None:
        """Sectors that the bitmap calls unwritten and that hold bytes: served as zeros, and told."""
        there = max(0, min(len(buffer), self._limit - where))
        fill(self._file.fd, where, buffer[:there], path=self.path, media_offset=position)
        if bytes(buffer[:there]).strip(b"\0"):
            block = position // self.block_size
            self._note(
                f"block {block} holds bytes in sectors that its bitmap calls unwritten; they are read as zeros "
                f"(the block lies at {where - position % self.block_size} of {self.path})"
            )

    def _sector_runs(self, place: Place, position: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield (offset from `position`, length, present) of a range inside a MIXED block, ascending."""
        inside = position % self.block_size
        first, last = inside // self.bitmap_sector, (inside + length - 1) // self.bitmap_sector
        raw = bytearray(last // 8 - first // 8 + 1)
        where = place.bitmap + first // 8
        fill(self._file.fd, where, memoryview(raw), path=self.path, media_offset=position)
        if raw.count(raw[0]) == len(raw) and raw[0] in {0, 0xFF}:
            yield 0, length, raw[0] == 0xFF
            return
        table = _PRESENT_FIRST_BIT_HIGH if self.high_bit_first else _PRESENT_FIRST_BIT_LOW
        bits = "".join(map(table.__getitem__, raw))[first % 8 : first % 8 + last - first + 1]
        start = 0
        while start < len(bits):
            end = bits.find("0" if bits[start] == "1" else "1", start)
            end = len(bits) if end < 0 else end
            low = max((first + start) * self.bitmap_sector, inside)
            high = min((first + end) * self.bitmap_sector, inside + length)
            yield low - inside, high - low, bits[start] == "1"
            start = end

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget; of this file and of the parent's."""
        let_go(self._file.fd, *self._stored_parts(offset, min(offset + length, self.size)))
        if self._parent is not None:
            self._parent.forget(offset, length)

    def _stored_parts(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) in the file of what is stored of the media [offset, end)."""
        for block in range(offset // self.block_size, -(-end // self.block_size)):
            first = max(offset, block * self.block_size)
            with suppress(MediaReadError):  # reading it says so
                place = self._place(block)
                if place.state in {State.HERE, State.MIXED}:
                    where = place.offset - block * self.block_size
                    yield where + first, where + min(end, (block + 1) * self.block_size)

    # the map

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; from the block table and the parent's own map.

        A block of which only some sectors are stored is data as a whole: to look at every bitmap would cost a read for
        each block of the disk. So is a bad block: reading it says why.
        """
        beneath = iter(()) if self._parent is None else self._parent.data_extents()
        return joined(_laid_over(self._runs(), beneath, self.size))

    def _runs(self) -> Iterator[Run]:
        for block, count, data in self._stored():
            start = block * self.block_size
            yield Run(start, min(count * self.block_size, self.size - start), data)


def _zero(buffer: memoryview) -> None:
    for start in range(0, len(buffer), len(_ZEROS)):
        piece = buffer[start : start + len(_ZEROS)]
        piece[:] = _ZEROS[: len(piece)]


def _laid_over(runs: Iterable[Run], beneath: Iterator[Extent], size: int) -> Iterator[Extent]:
    """Yield what of `runs` is data, and in their gaps what of `beneath` is, up to `size`; ascending."""
    below = next(beneath, None)
    position = 0
    for run in _with_end(runs, size):
        while below is not None and below.offset < run.offset:
            start, end = max(below.offset, position), min(below.end, run.offset)
            if start < end:
                yield Extent(start, end - start)
            if below.end > run.offset:
                break
            below = next(beneath, None)
        position = run.offset + run.length
        if run.data:
            yield Extent(run.offset, run.length)
        while below is not None and below.end <= position:
            below = next(beneath, None)


def _with_end(runs: Iterable[Run], size: int) -> Iterator[Run]:
    yield from runs
    yield Run(size, 0, data=False)
