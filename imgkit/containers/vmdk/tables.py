"""Grain tables of sparse extents: loaded at their first use, checked against their copy, kept as far as memory is bounded."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.evidence_file import data_ranges, fill
from imgkit.containers.vmdk.descriptor import SECTOR
from imgkit.containers.vmdk.stream import Span, is_table_marker, stored_grains
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from imgkit.containers.segment_files import SegmentFiles
    from imgkit.containers.vmdk.header import SparseHeader
    from imgkit.containers.vmdk.table_cache import TableCache

_PAGE = 4096  # entries of a grain directory read at a time
_GROUP = 256  # grain tables looked at in one read where a whole map is wanted
_A_REASON = 300  # bytes that one bad entry may take


class Table(NamedTuple):
    """A grain table as it is to be used.

    Attributes:
        entries: Sector of each grain, 0 for none; empty where the whole table is.
        bad: Entry -> why it cannot be told where its grain is.
        failed: Why the whole table cannot be used, or empty.
        errno: What the kernel said to that, or None.
    """

    entries: array[int]
    bad: dict[int, str]
    failed: str = ""
    errno: int | None = None


_EMPTY = Table(array("I"), {})


class GrainTables:
    """The grain directory and tables of one sparse extent.

    Args:
        files: Of the image.
        file: Index of the extent's.
        header: Of the extent.
        cache: Of the image.
    """

    def __init__(self, files: SegmentFiles, file: int, header: SparseHeader, cache: TableCache) -> None:
        self._files, self._file, self._header, self._cache = files, file, header, cache
        self._path = files.segments[file].path
        self._end = files.segments[file].size
        self._lowest = SECTOR + (header.descriptor[1] if header.descriptor else 0)

    def table(self, number: int) -> Table:
        """The grain table with that number; one that cannot be read says so and is not kept."""
        kept = self._cache.find((self._file, "table", number))
        if isinstance(kept, Table):
            return kept
        try:
            table = self._load(number)
        except MediaReadError as error:
            return Table(array("I"), {}, f"grain table {number} of {self._path}: {error}", error.errno)
        if not table.failed:
            size = 200 + 4 * len(table.entries) + _A_REASON * len(table.bad)
            self._cache.keep((self._file, "table", number), table, size)
        return table

    def outline(self, number: int) -> Table:
        """The same for a map of what is stored: a stream's table is taken at its word, without a look at each grain."""
        if not self._header.footer:
            return self.table(number)
        try:
            entries = self._copy("directory", self._header.directory, number)
        except MediaReadError as error:
            return Table(array("I"), {}, f"grain table {number} of {self._path}: {error}", error.errno)
        return Table(array("I"), {}, entries) if isinstance(entries, str) else self._alone(entries)

    def empty_until(self, number: int) -> int:
        """The first table from `number` on that the directories do not call empty, as far as one page of them tells."""
        if self._header.redundant is not None or self._header.footer:
            return number  # what one directory calls empty is to be compared
        try:
            page = self._page("directory", self._header.directory, number // _PAGE)
        except MediaReadError:
            return number
        if any(page):
            index = number % _PAGE
            while index < len(page) and page[index] == 0:
                index += 1
            return number - number % _PAGE + index
        return number - number % _PAGE + len(page)

    def empty_group(self, number: int) -> int:
        """The same by the tables themselves, those that lie one behind the other, in one read for each copy.

        Programs that make the tables of a large disk in advance leave them empty: nobody wants to look at each.
        """
        header = self._header
        count = min(_GROUP, header.sizes.tables - number)
        if number % _GROUP or header.footer:
            return number
        try:
            for which, directory in (
                ("directory", header.directory),
                ("redundant directory", header.redundant),
            ):
                if directory is not None and not self._group_is_empty(which, directory, number, count):
                    return number
        except MediaReadError:
            return number
        return number + count

    def _group_is_empty(self, which: str, directory: int, number: int, count: int) -> bool:
        if directory + 4 * self._header.sizes.tables > self._end:
            return False
        page = self._page(which, directory, number // _PAGE)
        sectors = page[number % _PAGE : number % _PAGE + count]
        if not any(sectors):
            return True
        step = -(-4 * self._header.sizes.entries // SECTOR)
        length = step * SECTOR * count
        first = sectors[0]
        in_a_row = 0 < first < 1 << 31 and sectors == array("I", range(first, first + step * count, step))
        if not in_a_row or first * SECTOR + length > self._end:
            return False
        return self._is_zeros(first * SECTOR, length)

    def _is_zeros(self, offset: int, length: int) -> bool:
        """Whether the file has only zeros there; its holes are, without a read."""
        with self._files.opened(self._file, 0, 0) as file:
            stored = data_ranges(file.fd, offset + length, path=file.path, media_offset=0, first=offset)
            return all(self._bytes(part.offset, part.length) == bytes(part.length) for part in stored)

    def _load(self, number: int) -> Table:
        first = self._copy("directory", self._header.directory, number)
        if self._header.redundant is None:
            if isinstance(first, str):
                return Table(array("I"), {}, first)
            return self._in_stream(number, first) if self._header.footer else self._alone(first)
        second = self._copy("redundant directory", self._header.redundant, number)
        if isinstance(first, str) and isinstance(second, str):
            return Table(array("I"), {}, f"{first}; {second}")
        if isinstance(first, str) or isinstance(second, str):
            wrong, right = (first, second) if isinstance(first, str) else (second, first)
            self._cache.note(f"{wrong}: the other copy of it is used")
            return _EMPTY if isinstance(right, str) else self._alone(right)
        return self._alone(first) if first == second else self._compared(number, first, second)

    def _copy(self, which: str, directory: int, number: int) -> array[int] | str:
        """A grain table through one of the directories, or why it cannot be."""
        what = f"grain table {number} of {self._path} in its {which}"
        length = 4 * self._header.sizes.entries
        if directory + 4 * self._header.sizes.tables > self._end:
            return f"{what}: the {which} ends beyond the file"
        try:
            sector = self._page(which, directory, number // _PAGE)[number % _PAGE]
            if sector == 0:
                return array("I")
            if sector * SECTOR + length > self._end:
                return f"{what} is said to be at byte {sector * SECTOR} of {self._end}"
            if self._header.footer and not is_table_marker(self._bytes(sector * SECTOR - SECTOR, 16)):
                return f"{what} is said to be at byte {sector * SECTOR}, where no marker announces one"
            return _trimmed(self._numbers(sector * SECTOR, self._header.sizes.entries))
        except MediaReadError as error:
            if self._header.redundant is None:
                raise
            return f"{what}: {error}"

    def _in_stream(self, number: int, entries: array[int]) -> Table:
        """A table of a stream, compared with the grains that lie where its grains should be."""
        sizes = self._header.sizes
        span = Span(number * sizes.entries, sizes.entries, sizes.grain_size)
        starts = {self._behind_table_before(number)} | (
            {min(filter(None, entries)) * SECTOR} if entries else set()
        )
        found: dict[int, int] = {}
        for start in starts:
            found.update(stored_grains(self._bytes, start, self._end, span))
        table = self._alone(entries)
        lost = {i: place for i, place in found.items() if not entries or entries[i] == 0}
        if not lost:
            return table
        whole = entries or array("I", bytes(4 * sizes.entries))
        why = "the grain table calls it empty, and one that says it is this lies at byte"
        return Table(whole, table.bad | {i: f"{why} {place}" for i, place in lost.items()})

    def _behind_table_before(self, number: int) -> int:
        """Where in a stream the grains of a table begin: behind the nearest table before it, or behind the header."""
        page = self._page("directory", self._header.directory, number // _PAGE)
        before = next((page[i] for i in range(number % _PAGE - 1, -1, -1) if page[i]), 0)
        if before == 0:
            return self._header.overhead
        return before * SECTOR + -(-4 * self._header.sizes.entries // SECTOR) * SECTOR

    def _alone(self, entries: array[int]) -> Table:
        if not entries:
            return _EMPTY
        # At a glance for all, and one by one only where that tells that something is wrong.
        if not self._wrong(max(entries)) and min(filter(None, entries)) * SECTOR >= self._lowest:
            return Table(entries, {})
        return Table(entries, {i: wrong for i, entry in enumerate(entries) if (wrong := self._wrong(entry))})

    def _compared(self, number: int, first: array[int], second: array[int]) -> Table:
        """Two copies that differ: an impossible entry gives way to a possible one; of two possible ones none is believed."""
        entries, bad, mended = array("I"), {}, 0
        length = max(len(first), len(second))
        padded = [copy + array("I", bytes(4 * (length - len(copy)))) for copy in (first, second)]
        for index, (one, other) in enumerate(zip(*padded, strict=True)):
            entries.append(one)
            wrong = self._wrong(one)
            if one == other:
                if wrong:
                    bad[index] = wrong
            elif wrong and not self._wrong(other):
                entries[index] = other
                mended += 1
            elif self._wrong(other) and not wrong:
                mended += 1
            elif (right := self._settled(number, index, (one, other))) is not None:
                entries[index] = right
                mended += 1
            else:
                bad[index] = f"the two grain tables disagree: sector {one} and sector {other}"
        if mended:
            self._cache.note(
                f"grain table {number} of {self._path} has {mended} wrong entries in one of its copies: the other is used"
            )
        return Table(entries, bad)

    def _settled(self, number: int, index: int, candidates: tuple[int, int]) -> int | None:
        """The only one of two entries at which a compressed grain says that it belongs here, or None."""
        if not self._header.compressed:
            return None
        grain = number * self._header.sizes.entries + index
        lba = grain * self._header.grain_size // SECTOR
        claiming = [entry for entry in candidates if entry > 1 and self._marker(entry) == lba]
        return claiming[0] if len(claiming) == 1 else None

    def _marker(self, entry: int) -> int | None:
        """The sector of the media that the grain at `entry` says it is of."""
        if entry * SECTOR + 8 > self._end:
            return None
        low, high = self._numbers(entry * SECTOR, 2)
        return high << 32 | low

    def _wrong(self, entry: int) -> str:
        """Why a grain cannot be there, or nothing. The length of a compressed grain is its marker's to say."""
        if entry == 0 or (entry == 1 and self._header.zero_grains):
            return ""
        if entry * SECTOR < self._lowest:
            return f"it is said to be at byte {entry * SECTOR}, where the header is"
        if entry * SECTOR >= self._end:
            return f"it is said to be at byte {entry * SECTOR} of a file of {self._end}"
        return ""

    def _page(self, which: str, directory: int, page: int) -> array[int]:
        key = (self._file, which, page)
        kept = self._cache.find(key)
        if isinstance(kept, array):
            return kept
        count = min(_PAGE, self._header.sizes.tables - page * _PAGE)
        numbers = self._numbers(directory + 4 * page * _PAGE, count)
        self._cache.keep(key, numbers, 200 + 4 * count)
        return numbers

    def _numbers(self, offset: int, count: int) -> array[int]:
        numbers = array("I", self._bytes(offset, 4 * count))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers

    def _bytes(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        with self._files.opened(self._file, 0, 0) as file:
            fill(file.fd, offset, memoryview(buffer), path=file.path, media_offset=0)
        return bytes(buffer)


def _trimmed(entries: array[int]) -> array[int]:
    """Nothing for a table without a grain."""
    return entries if entries != array("I", bytes(4 * len(entries))) else array("I")
