"""Tables, where each chunk lies: https://github.com/libyal/libewf/blob/main/documentation/ (EWF specification, "Table section").

A table is checked as a whole at its first use and then read again by pages, each held against what it was when it was
checked. Of the table and its copy (table2) the one that is sound is used; where both are and they differ, nothing says which
is right, and the chunks that they place differently are refused.
"""

from __future__ import annotations

import sys
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from itertools import pairwise
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

from imgkit.containers.evidence_file import fill
from imgkit.containers.ewf.layout import ENTRY_SIZE
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from imgkit.containers.ewf.layout import Table, TableCopy
    from imgkit.containers.segment_files import SegmentFiles

PAGE = 16384  # entries that are read and kept at once
_PAGES_KEPT = 64  # 4 MiB
_COMPRESSED = 0x80000000
_OFFSET = 0x7FFFFFFF
_MOST_DIFFERENCES = 1000  # ranges of chunks; more are taken together


class Entry(NamedTuple):
    """A chunk in its segment file.

    Attributes:
        offset: First byte.
        end: Where the next one begins; for the last of a table where the data ends.
        compressed: None where nothing says it (beyond the overflow of EnCase 6.7.1).
    """

    offset: int
    end: int
    compressed: bool | None


class _Checked(NamedTuple):
    """One copy after its check.

    Attributes:
        copy: The section.
        problem: Why it cannot be used; empty where it is sound.
        sums: CRC-32 of each page.
        overflow: First entry that uses all 32 bits for its offset (EnCase 6.7.1 beyond 2 GiB), or the count.
        unread: Why the kernel could not read it, which may pass; None where it was read.
    """

    copy: TableCopy
    problem: str
    sums: tuple[int, ...]
    overflow: int
    unread: MediaReadError | None = None


class _State(NamedTuple):
    """What is used of a table: a copy, or nothing and why; and the entries that are in dispute."""

    used: _Checked | None
    problem: str
    disputed: tuple[tuple[int, int], ...] = ()  # [first, last) entries, ascending


class TableError(Exception):
    """No copy of a table can be used, or the chunks [first, last) are placed differently by the two."""

    def __init__(self, reason: str, first: int, last: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.first = first
        self.last = last


class Tables:
    """The tables of a set, each checked at its first use; safe from several threads at once.

    Attributes:
        anomalies: What was found wrong that took no chunk away.
    """

    def __init__(self, files: SegmentFiles, tables: list[Table], chunk_size: int) -> None:
        self._files = files
        self._tables = tables
        self._chunk_size = chunk_size
        self._firsts = [table.first_chunk for table in tables]
        self._states: dict[int, _State] = {}
        self._pages: OrderedDict[tuple[int, int, int], array[int]] = OrderedDict()
        self._lock = threading.Lock()
        self.anomalies: dict[str, None] = {}  # in the order in which they were found

    def stretch(self, first: int, last: int) -> tuple[int, int]:
        """Of the chunks [first, last): (index of the table of the first, first chunk that is not in its page)."""
        index = bisect_right(self._firsts, first) - 1
        table = self._tables[index]
        inside = first - table.first_chunk
        return index, min(last, table.first_chunk + min(table.chunks, (inside // PAGE + 1) * PAGE))

    def segment(self, index: int) -> int:
        """The segment of a table."""
        return self._tables[index].segment

    def entries(self, index: int, first: int, last: int) -> list[Entry]:
        """The chunks [first, last), all in one stretch of the table.

        Raises:
            TableError: They cannot be found.
            MediaReadError: The table cannot be read.
        """
        table = self._tables[index]
        state = self._state(index)
        start, stop = first - table.first_chunk, last - table.first_chunk
        if state.used is None:
            raise TableError(state.problem, first, last)
        for low, high in state.disputed:
            if low < stop and high > start:
                raise TableError(
                    state.problem, table.first_chunk + max(low, start), table.first_chunk + min(high, stop)
                )
        checked = state.used
        values = self._values(index, checked, start // PAGE)[start % PAGE : start % PAGE + stop - start + 1]
        if len(values) == stop - start and stop < table.chunks:  # the next entry is the next page's first
            values.append(self._values(index, checked, stop // PAGE)[0])
        return _decode(table, checked, start, stop, values)

    def _state(self, index: int) -> _State:
        state = self._states.get(index)
        if state is None:
            state = self._check(index)
            with self._lock:
                state = self._states.setdefault(index, state)
        return state

    def _check(self, index: int) -> _State:
        table = self._tables[index]
        path = self._files.segments[table.segment].path
        checked = [self._check_copy(table, copy) for copy in table.copies]
        bad = [item for item in checked if item.problem]
        sound = [item for item in checked if not item.problem]
        told = [
            f"the {item.copy.kind} section at {item.copy.offset} of {path} {item.problem}" for item in bad
        ]
        if not sound:
            self._raise_unread(table, " and ".join(told), bad)
            return _State(None, " and ".join(told))
        with self._lock:
            self.anomalies |= dict.fromkeys(
                f"{text}: its chunks are read by the {sound[0].copy.kind} section" for text in told
            )
        if len(sound) == 1 or (sound[0].sums == sound[1].sums and sound[0].copy.base == sound[1].copy.base):
            return _State(sound[0], "")
        return self._dispute(table, sound[0], sound[1], path)

    def _raise_unread(self, table: Table, problem: str, bad: list[_Checked]) -> None:
        """What the kernel could not read is asked for again the next time: nothing is known of it."""
        error = next((item.unread for item in bad if item.unread), None)
        if error is not None:
            raise MediaReadError(
                problem,
                offset=table.first_chunk * self._chunk_size,
                length=table.chunks * self._chunk_size,
                errno=error.errno,
            ) from error

    def _dispute(self, table: Table, one: _Checked, two: _Checked, path: str) -> _State:
        """Both copies are sound and differ: which chunks they place differently."""
        ranges: list[tuple[int, int]] = []
        for page in range(len(one.sums)):
            left, right = (self._load(table, item.copy, page) for item in (one, two))
            for inside, (a, b) in enumerate(zip(left, right, strict=True)):
                if a == b and one.copy.base == two.copy.base:
                    continue
                at = page * PAGE + inside
                low = max(0, at - 1)  # the entry before ends where this one begins
                if ranges and ranges[-1][1] >= low:
                    ranges[-1] = (ranges[-1][0], at + 1)
                else:
                    ranges.append((low, at + 1))
        if len(ranges) > _MOST_DIFFERENCES:
            ranges = [(ranges[0][0], ranges[-1][1])]
        problem = (
            f"the table section at {one.copy.offset} of {path} and its copy at {two.copy.offset} are both sound "
            "and place it differently"
        )
        return _State(one, problem, tuple(ranges))

    def _check_copy(self, table: Table, copy: TableCopy) -> _Checked:
        """Adler-32 of the entries, and offsets that ascend within the chunks' data."""
        if copy.entry_count < 0:
            return _Checked(copy, "fails the Adler-32 of its header", (), 0)
        if copy.entry_count != table.chunks:
            return _Checked(copy, f"has {copy.entry_count} entries, not {table.chunks}", (), 0)
        try:
            return self._check_entries(table, copy)
        except MediaReadError as error:
            return _Checked(copy, f"cannot be read ({error.message})", (), 0, error)

    def _check_entries(self, table: Table, copy: TableCopy) -> _Checked:
        order = _Order(table, copy)
        sums = []
        adler = 1
        pages = -(-table.chunks // PAGE)
        for page in range(pages):
            values = self._load(table, copy, page)
            raw = _little(values)
            adler = isal_zlib.adler32(raw, adler)
            sums.append(isal_zlib.crc32(raw))
            order.take(values)
            if order.problem and page + 1 < pages:  # not 2^32 entries that are a hole in the file
                return _Checked(copy, order.problem, (), 0)
        problem = self._check_footer(table, copy, adler, order.first) or order.problem
        return _Checked(copy, problem, tuple(sums), order.overflow)

    def _check_footer(self, table: Table, copy: TableCopy, adler: int, first: int) -> str:
        """The Adler-32 behind the entries; SMART has none, nor has a table whose chunks begin right behind it."""
        footer = copy.entries + table.chunks * ENTRY_SIZE
        if (first if table.inline else copy.end) < footer + 4:
            return ""
        stated = bytearray(4)
        with self._files.opened(table.segment, 0, 0) as file:
            fill(file.fd, footer, memoryview(stated), path=file.path, media_offset=0)
        return "" if int.from_bytes(stated, "little") == adler else "fails the Adler-32 of its entries"

    def _values(self, index: int, checked: _Checked, page: int) -> array[int]:
        """A page as it was when the table was checked.

        Raises:
            MediaReadError: It is another now, or cannot be read.
        """
        key = (index, checked.copy.offset, page)
        with self._lock:
            values = self._pages.get(key)
            if values is not None:
                self._pages.move_to_end(key)
                return values
        table = self._tables[index]
        values = self._load(table, checked.copy, page)
        if isal_zlib.crc32(_little(values)) != checked.sums[page]:
            path = self._files.segments[table.segment].path
            raise MediaReadError(
                f"the {checked.copy.kind} section at {checked.copy.offset} of {path} is not what it was when it was checked",
                offset=table.first_chunk * self._chunk_size,
                length=table.chunks * self._chunk_size,
                hint="something changes the image: stop it, and verify the image before going on",
            )
        with self._lock:
            self._pages[key] = values
            while len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        return values

    def _load(self, table: Table, copy: TableCopy, page: int) -> array[int]:
        start = page * PAGE
        raw = bytearray(min(PAGE, table.chunks - start) * ENTRY_SIZE)
        media = table.first_chunk * self._chunk_size
        with self._files.opened(table.segment, media, table.chunks * self._chunk_size) as file:
            fill(
                file.fd,
                copy.entries + start * ENTRY_SIZE,
                memoryview(raw),
                path=file.path,
                media_offset=media,
            )
        values = array("I", bytes(raw))
        if sys.byteorder == "big":
            values.byteswap()
        return values


class _Order:
    """Takes the pages of a table one after the other and sees whether the chunks ascend within their data."""

    def __init__(self, table: Table, copy: TableCopy) -> None:
        self._table = table
        self._base = copy.base
        self._before = -1
        self._seen = 0
        self.overflow = table.chunks
        self.first = 0
        self.problem = ""

    def take(self, values: array[int]) -> None:
        offsets = [value & _OFFSET for value in values]
        if self._seen == 0:
            self.first = self._base + offsets[0]
            if self.first < self._table.data_start:
                self.problem = "places a chunk before the chunks' data"
        if self.overflow < self._table.chunks:
            offsets = list(values)
        elif not _ascends(self._before, offsets):
            offsets = self._overflow(values, offsets)
        if not _ascends(self._before, offsets):
            self.problem = self.problem or "does not place the chunks one after the other"
        elif self._base + offsets[-1] >= self._table.data_end:
            self.problem = self.problem or "places a chunk after the chunks' data"
        self._before = offsets[-1]
        self._seen += len(values)

    def _overflow(self, values: array[int], offsets: list[int]) -> list[int]:
        """EnCase 6.7.1: once an offset reaches 2 GiB all 32 bits are offset; the first step back is where."""
        before = self._before
        for at, offset in enumerate(offsets):
            if offset <= before:
                if values[at] <= before:
                    return offsets
                self.overflow = self._seen + at
                return offsets[:at] + list(values[at:])
            before = offset
        return offsets


def _ascends(before: int, offsets: list[int]) -> bool:
    return before < offsets[0] and all(map(lt, offsets, offsets[1:]))


def _decode(table: Table, checked: _Checked, start: int, stop: int, values: array[int]) -> list[Entry]:
    """Entries [start, stop) out of their values and, but for the table's last, the one after them."""
    base = checked.copy.base
    cut = max(0, min(len(values), checked.overflow - start))
    offsets = [base + (value & _OFFSET) for value in values[:cut]] + [base + value for value in values[cut:]]
    if stop == table.chunks:
        offsets.append(table.data_end)
    flags: list[bool | None] = [value >= _COMPRESSED for value in values[: min(cut, stop - start)]]
    flags += [None] * (stop - start - len(flags))
    return [Entry(low, high, flag) for (low, high), flag in zip(pairwise(offsets), flags, strict=True)]


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "little":
        return values.tobytes()
    swapped = array("I", values)
    swapped.byteswap()
    return swapped.tobytes()
