"""What a set of segments states of itself, before a byte of media is read.

https://github.com/libyal/libewf/blob/main/documentation/ ("EWF specification"). Descriptors, table headers and small
sections are read, no table: a set of 20 TB has gigabytes of those (tables.py checks each at its first use).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from zlib import adler32

from imgkit.containers.ewf.facts import (
    Damaged,
    parse_digest,
    parse_errors,
    parse_hash,
    parse_sessions,
    parse_xhash,
)
from imgkit.containers.ewf.sections import DESCRIPTOR, SegmentReader, sections, segment_number
from imgkit.containers.ewf.volume import (
    Volume,
    check_volume,
    difference,
    has_tail,
    other_chunks,
    parse_volume,
)
from imgkit.errors import CorruptImage, MissingSegment

if TYPE_CHECKING:
    from imgkit.containers.ewf.sections import Section
    from imgkit.containers.segment_files import SegmentFiles

_TABLE_HEADER = struct.Struct("<I4xQ4xI")  # number of entries, base offset, checksum
ENTRY_SIZE = 4
_SMALL = 1 << 20  # bytes; a section that states facts is never larger
# What a set may state of itself, so that memory stays bounded; 2^18 tables of 16375 chunks are 128 TiB.
_MOST_NOTICES, _MOST_HEADERS, _MOST_ERRORS, _MOST_TABLES = 100, 16, 1 << 16, 1 << 18
_OTHER_SET = "take the file away that is not of this set, or copy the right one from the source"
_BY_NAME = "put all segments of the set into one folder, by the names they had: .E01, .E02 and so on"
_KNOWN = frozenset({"sectors", "next", "done", "incomplete"})


class TableCopy(NamedTuple):
    """A table or table2 section: its entries lie at `entries`, the section ends at `end`.

    Attributes:
        kind: `table` or `table2`.
        offset: Of the section, in the segment file.
        end: The first byte after the section.
        entry_count: Entries, or -1 where the header is damaged.
        base: Added to every entry (EnCase 6.7 and later, for segments over 2 GiB).
    """

    kind: str
    offset: int
    end: int
    entry_count: int
    base: int

    @property
    def entries(self) -> int:
        """Offset of the first entry, in the segment file."""
        return self.offset + DESCRIPTOR.size + _TABLE_HEADER.size


class Table(NamedTuple):
    """Where the chunks [first_chunk, first_chunk + chunks) are: what one or two copies of a table say.

    Attributes:
        segment: Index of the segment.
        first_chunk: Of the set.
        chunks: How many.
        copies: `table` and, where there is one, `table2`.
        data_start: First byte that a chunk can have, in the segment file.
        data_end: The first byte after the chunks.
        inline: The chunks lie in the table section itself (SMART, EnCase 1).
    """

    segment: int
    first_chunk: int
    chunks: int
    copies: tuple[TableCopy, ...]
    data_start: int
    data_end: int
    inline: bool


@dataclass(slots=True)
class Layout:
    """All that a set states; filled segment by segment.

    Attributes:
        volume_source: Type of the section that `volume` is of: `volume`, `disk`, or `data` where none of those is sound.
        has_tail: One chunk follows those of the media: whoever reads it has to see that it holds less than a sector.
        identified: Segments that state a set identifier, all of them the same.
    """

    volume: Volume | None = None
    volume_source: str = ""
    tables: list[Table] = field(default_factory=list)
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, str] = field(default_factory=dict)
    errors: list[tuple[int, int]] = field(default_factory=list)
    sessions: list[dict[str, object]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    has_tail: bool = False
    identified: int = 0

    @property
    def geometry(self) -> Volume:
        """The volume, which read_layout made sure of."""
        if self.volume is None:
            msg = "no volume"
            raise AssertionError(msg)
        return self.volume


def read_layout(files: SegmentFiles) -> Layout:
    """Walk every segment.

    Raises:
        MissingSegment: A segment is short, out of order, of another set, or one that should follow is not there.
        CorruptImage: The set contradicts itself.
    """
    scan = _Scan(len(files.segments))
    for index in range(len(files.segments)):
        with files.opened(index, 0, 0) as file:
            scan.segment(index, SegmentReader(file))
    return scan.finish(files.segments[0].path)


class _Scan:
    def __init__(self, segments: int) -> None:
        self.layout = Layout()
        self._last = segments - 1
        self._first = ""  # path of the segment that the volume is of
        self._identified: set[str] = set()  # paths of the segments that state a set identifier
        self._sectors: Section | None = None
        self._sessions: list[tuple[bytes, str, Section]] = []

    def segment(self, index: int, reader: SegmentReader) -> None:
        """Take in one segment."""
        number = segment_number(reader)
        if number != index + 1 and not self._last:
            raise MissingSegment(
                f"{reader.path} is segment {number} of a set, and by its name no other file is of that",
                hint=_BY_NAME,
            )
        if number != index + 1:
            raise MissingSegment(
                f"{reader.path} stands where segment {index + 1} should be and says that it is segment {number}",
                hint=_OTHER_SET,
            )
        self._sectors = None
        for section in sections(reader):
            self._section(index, reader, section)
            if section.kind in {"next", "done"}:
                self._ending(index, reader, section)

    def _section(self, index: int, reader: SegmentReader, section: Section) -> None:
        kind = section.kind
        if section.problem:
            self._notice(reader, section, section.problem)
        if kind in {"table", "table2"}:
            self._table(index, reader, section)
        elif kind == "sectors":
            self._sectors = section
        elif kind in _FACTS:
            try:
                _FACTS[kind](self, reader, section)
            except Damaged as damage:
                self._notice(reader, section, str(damage))
        elif kind == "incomplete":
            self._notice(reader, section, "the program that acquired it calls the image incomplete")
        elif kind not in _KNOWN:
            self._notice(reader, section, "imgkit does not know what it holds and leaves it aside")

    def _notice(self, reader: SegmentReader, section: Section, text: str) -> None:
        kind = section.kind if section.kind.isalnum() and section.kind.isascii() else ascii(section.kind)
        self._tell(f"{kind} section at {section.offset} of {reader.path}: {text}")

    def _tell(self, notice: str) -> None:
        """Add a notice; of very many the first ones."""
        if len(self.layout.notices) < _MOST_NOTICES:
            self.layout.notices.append(notice)
        elif len(self.layout.notices) == _MOST_NOTICES:
            self.layout.notices.append(
                f"there are more than {_MOST_NOTICES} notices; the others are left out"
            )

    def _ending(self, index: int, reader: SegmentReader, section: Section) -> None:
        if section.kind == "next" and index == self._last:
            raise MissingSegment(
                f"{reader.path} says that segment {index + 2} follows, and that is not there",
                hint=_BY_NAME,
            )
        if section.kind == "done" and index != self._last:
            raise MissingSegment(
                f"{reader.path} says that it is the last segment of its set, and segment {index + 2} is there too",
                hint=_OTHER_SET,
            )
        if section.end < reader.size:
            extra = reader.size - section.end
            self._tell(
                f"{reader.path} goes on for {extra} bytes after its last section, at {section.end}: no part of the media"
            )

    def _volume(self, reader: SegmentReader, section: Section) -> None:
        found = parse_volume(_body(reader, section))
        if isinstance(found, str):
            raise Damaged(found)
        if self.layout.volume is None:
            self.layout.volume, self.layout.volume_source = found, section.kind
            self._first = reader.path
        else:
            self._compare(self.layout.volume, reader.path, found, section.kind)
        if any(found.set_identifier):
            self._identified.add(reader.path)

    def _compare(self, volume: Volume, path: str, other: Volume, kind: str) -> None:
        """Every data section must be of the same set and cut the media in the same way."""
        differing = difference(volume, other)
        if not differing:
            return
        name, theirs, ours = differing
        if path == self._first:
            raise CorruptImage(
                f"{path} contradicts itself: {name} is {ours} in one section and {theirs} in its {kind} section"
            )
        raise MissingSegment(
            f"{path} is of another set: its {name} is {theirs}, that of {self._first} is {ours}",
            hint=_OTHER_SET,
        )

    def _table(self, index: int, reader: SegmentReader, section: Section) -> None:
        copy = _table_copy(reader, section)
        tables = self.layout.tables
        if section.kind == "table2":
            if not tables or tables[-1].segment != index or tables[-1].copies[-1].kind == "table2":
                raise CorruptImage(
                    f"{reader.path} has a table2 section at {section.offset} without its table"
                )
            tables[-1] = tables[-1]._replace(copies=(*tables[-1].copies, copy))
            return
        if len(tables) >= _MOST_TABLES:
            raise CorruptImage(f"{reader.path}: the set has more than {_MOST_TABLES} tables up to here")
        inline = self._sectors is None
        start, end = (
            (copy.entries, copy.end) if self._sectors is None else (self._sectors.body, self._sectors.end)
        )
        tables.append(Table(index, 0, 0, (copy,), start, end, inline))

    def _header(self, reader: SegmentReader, section: Section) -> None:
        item = (section.kind, _body(reader, section))
        if item in self.layout.headers:
            return  # EnCase writes header2 twice
        if len(self.layout.headers) >= _MOST_HEADERS:
            raise Damaged(f"it is one of more than {_MOST_HEADERS}")
        self.layout.headers.append(item)

    def _hash(self, reader: SegmentReader, section: Section) -> None:
        body = _body(reader, section)
        for name, value in _DIGESTS[section.kind](body).items():
            stated = self.layout.digests.setdefault(name, value)
            if stated != value:
                self.layout.disputed[name] = value
                self._notice(reader, section, f"it states {name} {value}, another section states {stated}")

    def _errors(self, reader: SegmentReader, section: Section) -> None:
        found = parse_errors(_body(reader, section))
        if len(self.layout.errors) + len(found) > _MOST_ERRORS:
            raise Damaged(f"with it there are more than {_MOST_ERRORS} acquisition errors")
        self.layout.errors += found

    def _session(self, reader: SegmentReader, section: Section) -> None:
        if self._sessions:
            raise Damaged("there is one before it")
        self._sessions.append((_body(reader, section), reader.path, section))

    def finish(self, path: str) -> Layout:
        """Hold everything against the volume."""
        volume = self.layout.volume
        if volume is None:
            raise CorruptImage(
                f"{path}: no segment has a sound volume or data section, so nothing says how the media is cut",
                hint="copy the set again from the source",
            )
        if self.layout.volume_source == "data":
            self._tell(f"no volume section is sound: what the data section of {self._first} repeats is used")
        check_volume(volume, path)
        self.layout.identified = len(self._identified)
        self._count_chunks(volume, path)
        for body, where, section in self._sessions:
            try:
                self.layout.sessions += parse_sessions(body, volume.sector_count, volume.bytes_per_sector)
            except Damaged as damage:
                self.layout.notices.append(f"session section at {section.offset} of {where}: {damage}")
        return self.layout

    def _count_chunks(self, volume: Volume, path: str) -> None:
        """Number the chunks of all tables; they must be exactly those that the sectors fill."""
        counts = [_chunks_of(table) for table in self.layout.tables]
        if counts.count(-1) == 1:  # all but one are known, and so is the sum
            unknown = counts.index(-1)
            copy = self.layout.tables[unknown].copies[0]
            left = volume.chunks_needed - sum(counts) - 1
            counts[unknown] = left if 0 <= left * ENTRY_SIZE <= copy.end - copy.entries else -1
        first = 0
        numbered = []
        for table, count in zip(self.layout.tables, counts, strict=True):
            if count < 0:
                raise CorruptImage(
                    f"{path}: tables are damaged so that nothing says which chunks are theirs",
                    hint="copy the set again from the source",
                )
            if count:
                numbered.append(table._replace(first_chunk=first, chunks=count))
            first += count
        self.layout.tables = numbered
        self.layout.has_tail = has_tail(volume, first)
        if first != volume.chunks_needed and not self.layout.has_tail:
            raise other_chunks(volume, path, first)
        if volume.chunk_count != first:
            self.layout.notices.append(
                f"{path} states {volume.chunk_count} chunks; its tables and its sectors agree on {first}"
            )


_DIGESTS = {"hash": parse_hash, "digest": parse_digest, "xhash": parse_xhash}
_FACTS = {
    "volume": _Scan._volume,
    "disk": _Scan._volume,
    "data": _Scan._volume,
    "header": _Scan._header,
    "header2": _Scan._header,
    "xheader": _Scan._header,
    "hash": _Scan._hash,
    "digest": _Scan._hash,
    "xhash": _Scan._hash,
    "error2": _Scan._errors,
    "session": _Scan._session,
}


def _body(reader: SegmentReader, section: Section) -> bytes:
    length = section.end - section.body
    if length > _SMALL:
        raise Damaged(f"it has {length} bytes, more than any such section")
    return reader.read(section.body, length)


def _table_copy(reader: SegmentReader, section: Section) -> TableCopy:
    """A table's header; the count is -1 where it cannot be trusted."""
    room = section.end - section.body - _TABLE_HEADER.size
    if room < 0:
        raise CorruptImage(
            f"the {section.kind} section at {section.offset} of {reader.path} has no room for a table"
        )
    raw = reader.read(section.body, _TABLE_HEADER.size)
    count, base, checksum = _TABLE_HEADER.unpack(raw)
    if adler32(raw[:-4]) != checksum or count * ENTRY_SIZE > room:
        count = -1
    return TableCopy(section.kind, section.offset, section.end, count, base)


def _chunks_of(table: Table) -> int:
    """Chunks of a table by its headers; where none is sound by its size; -1 where nothing says it."""
    stated = {copy.entry_count for copy in table.copies if copy.entry_count >= 0}
    if len(stated) == 1:
        return stated.pop()
    if len(stated) > 1 or table.inline:
        return -1
    first = table.copies[0]
    return (first.end - first.entries) // ENTRY_SIZE - 1  # the last word is the checksum of the entries
