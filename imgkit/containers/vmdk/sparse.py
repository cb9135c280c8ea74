"""A sparse extent: which grain of it lies where. Virtual Disk Format 5.0, "Grain Directory", "Grain Table", "Grain"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgkit.containers.vmdk.descriptor import SECTOR
from imgkit.containers.vmdk.runs import Kind, Run

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from imgkit.containers.segment_files import SegmentFiles
    from imgkit.containers.vmdk.header import SparseHeader
    from imgkit.containers.vmdk.tables import GrainTables, Table

_ALIKE = re.compile(b"|".join(bytes([kind]) + b"+" for kind in Kind))
_STORED_OR_ABSENT = bytes([Kind.ABSENT, Kind.DATA]).ljust(256, b"\0")
_SCANNED = 2048  # grain tables looked at when an image is opened: 64 GiB in grains of 64 KiB


class SparseExtent:
    """The grains of one file; see Extent."""

    def __init__(
        self,
        start: int,
        length: int,
        *,
        file: int,
        files: SegmentFiles,
        header: SparseHeader,
        tables: GrainTables,
    ) -> None:
        self.start, self.length = start, length
        self.header = header
        self._file, self._tables = file, tables
        self.path, self._file_size = files.segments[file].path, files.segments[file].size
        self._span = header.grain_size * header.sizes.entries  # of the media, in a grain table

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """See Extent.runs."""
        position, end = offset - self.start, offset - self.start + length
        while position < end:
            number = position // self._span
            empty = self._tables.empty_until(number)
            if empty > number:
                stop = min(end, empty * self._span)
                yield Run(Kind.ABSENT, self.start + position, stop - position)
            else:
                stop = min(end, (number + 1) * self._span)
                yield from self._in_table(self._tables.table(number), number, position, stop)
            position = stop

    def allocation(self) -> Iterator[Run]:
        """Runs that tile the extent, of which only the kind counts: where they lie in the file is left out."""
        number = 0
        while number < self.header.sizes.tables:
            after = max(self._tables.empty_until(number), self._tables.empty_group(number))
            start, whole = number * self._span, after > number
            number = max(after, number + 1)
            end = min(self.length, number * self._span)
            table = None if whole else self._tables.outline(number - 1)
            if table is None or not (table.failed or table.entries):
                yield Run(Kind.ABSENT, self.start + start, end - start)
            elif table.failed:
                yield Run(Kind.BAD, self.start + start, end - start)
            else:
                yield from self._kinds(table, start, end)

    def _kinds(self, table: Table, start: int, end: int) -> Iterator[Run]:
        """Runs of one kind in [start, end) of the extent, which `table` is of, without a step for each grain."""
        kinds = bytearray(map(bool, table.entries)).translate(_STORED_OR_ABSENT)
        if self.header.zero_grains and 1 in table.entries:
            for index, entry in enumerate(table.entries):
                kinds[index] = Kind.ZERO if entry == 1 else kinds[index]
        for index in table.bad:
            kinds[index] = Kind.BAD
        size = self.header.grain_size
        for found in _ALIKE.finditer(kinds, 0, -(-(end - start) // size)):
            first = start + found.start() * size
            yield Run(Kind(found[0][0]), self.start + first, min(start + found.end() * size, end) - first)

    def _in_table(self, table: Table, number: int, position: int, end: int) -> Iterator[Run]:
        """The runs of [position, end) of the extent, all of one grain table."""
        if table.failed:
            yield Run(Kind.BAD, self.start + position, end - position, reason=table.failed, errno=table.errno)
        elif not table.entries:
            yield Run(Kind.ABSENT, self.start + position, end - position)
        else:
            yield from _joined(self._grains(table, number, position, end))

    def _grains(self, table: Table, number: int, position: int, end: int) -> Iterator[Run]:
        size = self.header.grain_size
        first = number * self.header.sizes.entries
        while position < end:
            grain, inside = divmod(position, size)
            length = min(size - inside, end - position)
            yield self._grain(table, grain, first, inside, length)
            position += length

    def _grain(self, table: Table, grain: int, first: int, inside: int, length: int) -> Run:
        """A part of a grain: `length` bytes from `inside` of it."""
        index = grain - first
        entry = table.entries[index]
        where = self.start + grain * self.header.grain_size + inside
        if index in table.bad:
            return self._bad(where, length, grain, table.bad[index])
        if entry == 0:
            return Run(Kind.ABSENT, where, length)
        if entry == 1 and self.header.zero_grains:
            return Run(Kind.ZERO, where, length)
        position = entry * SECTOR
        if self.header.compressed:
            following = table.entries[index + 1] if index + 1 < len(table.entries) else 0
            limit = (following - entry) * SECTOR if following > entry else 0
            return Run(Kind.PACKED, where, length, self._file, position, grain, limit)
        if position + inside + length > self._file_size:
            why = f"it is said to be at byte {position} of a file of {self._file_size}"
            return self._bad(where, length, grain, why)
        return Run(Kind.DATA, where, length, self._file, position + inside)

    def _bad(self, offset: int, length: int, grain: int, why: str) -> Run:
        return Run(Kind.BAD, offset, length, reason=f"grain {grain} of {self.path} cannot be found: {why}")

    def cut_short(self) -> str:
        """Say how the file is cut short, if grains show it: one that its end cuts, or several beyond it.

        One entry alone that points beyond the end is a damaged entry, whose grain alone is lost. Only so many tables are
        looked at that opening stays fast; the rest show when they are read.
        """
        if self.header.footer:
            return ""  # the end of a stream is there: its footer was found
        beyond, highest = 0, 0
        number = 0
        while number < min(self.header.sizes.tables, _SCANNED):
            after = self._tables.empty_group(number)
            number, looked_at = max(after, number + 1), number
            if after > looked_at:
                continue
            entries = self._tables.table(looked_at).entries
            top = max(entries, default=0) * SECTOR
            highest = max(highest, top)
            if top + self.header.grain_size > self._file_size:
                cut, gone = self._beyond(looked_at, entries)
                if cut:
                    return f"the grain at byte {cut} is cut by the end of the file at {self._file_size}"
                beyond += gone
        if beyond > 1:
            return (
                f"{beyond} grains lie behind the end of the file at {self._file_size}, the last at {highest}"
            )
        return ""

    def _beyond(self, number: int, entries: array[int]) -> tuple[int, int]:
        """(where a grain begins that the end of the file cuts, or 0; how many begin behind it)."""
        cut = gone = 0
        for index, entry in enumerate(entries):
            start = entry * SECTOR
            if entry == 0 or (entry == 1 and self.header.zero_grains):
                continue
            if start >= self._file_size:
                gone += 1
            elif not self.header.compressed and start + self._needed(number, index) > self._file_size:
                cut = start
        return cut, gone

    def _needed(self, number: int, index: int) -> int:
        """Bytes of a grain that the media has: the last may be a part of one."""
        first = (number * self.header.sizes.entries + index) * self.header.grain_size
        return max(0, min(self.header.grain_size, self.length - first))


def _joined(runs: Iterator[Run]) -> Iterator[Run]:
    """Neighbours of one origin as one run."""
    held: Run | None = None
    for run in runs:
        if held is not None and _continues(held, run):
            held = held._replace(length=held.length + run.length)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _continues(held: Run, run: Run) -> bool:
    if held.kind != run.kind or held.kind in {Kind.PACKED, Kind.BAD}:
        return False
    return held.kind != Kind.DATA or held.position + held.length == run.position
