"""Writes E01 and S01 sets for tests, and says where every section, table entry and chunk of them lies.

https://github.com/libyal/libewf/blob/main/documentation/Expert%20Witness%20Compression%20Format%20(EWF).asciidoc
Nothing of imgkit is used here: a reader and its witness must not share a mistake.
"""

from __future__ import annotations

import hashlib
import itertools
import string
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNATURE = b"EVF\x09\x0d\x0a\xff\x00"
FILE_HEADER = 13
DESCRIPTOR = 76
TABLE_HEADER = 24
COMPRESSED = 1 << 31

# Lines of a header: what libewf tells the flavours apart by.
HEADER = (
    "1\nmain\nc\tn\ta\te\tt\tav\tov\tm\tu\tp\tr\n"
    "case\tev\tdesc\tme\tnone\t1\tLinux\t2026 1 2 3 4 5\t2026 1 2 3 4 5\t0\tf\n\n"
)
HEADER_ENCASE1 = (
    "1\r\nmain\r\nc\tn\ta\te\tt\tm\tu\tp\tr\r\n"
    "case\tev\tdesc\tme\tnone\t2026 1 2 3 4 5\t2026 1 2 3 4 5\t0\tf\r\n\r\n"
)

Media = bytes | Callable[[int, int], bytes]  # or (offset, length) -> bytes
Flavour = Literal["encase", "encase1", "smart"]


class Section(NamedTuple):
    """A section as written: `segment` counts from 0, offsets are of the file; `size` includes the descriptor."""

    segment: int
    type: str
    offset: int
    size: int

    @property
    def payload(self) -> int:
        return self.offset + DESCRIPTOR

    @property
    def end(self) -> int:
        return self.offset + self.size


class Chunk(NamedTuple):
    """A chunk as stored: `size` bytes at `offset` of the file, its checksum included; `entry` is where the table says so."""

    number: int
    segment: int
    offset: int
    size: int
    compressed: bool
    media_offset: int
    length: int
    entry: int


@dataclass(frozen=True)
class Recipe:
    """How a set is to be written.

    Attributes:
        flavour: `encase`: sectors, table, table2. `encase1`: chunks in the table section, behind its footer. `smart`: the
            same without a footer, a volume section of 94 bytes, names in `.s01`.
        store: How each chunk is stored, in turn: `zlib0` to `zlib9`, or `stored` (as it is, and its Adler-32).
        chunks_per_segment: The last has what is left.
        base_offsets: Table entries are relative to the sectors section, as of EnCase 6.
        fill: Unused bytes behind the chunks of a sectors section (libewf takes them for a part of a stored chunk).
    """

    flavour: Flavour = "encase"
    sectors_per_chunk: int = 64
    bytes_per_sector: int = 512
    chunks_per_segment: int = 1 << 31
    chunks_per_table: int = 16375
    store: Sequence[str] = ("zlib6",)
    table2: bool = True
    base_offsets: bool = False
    set_identifier: bytes = bytes(range(16))
    media_type: int = 1
    media_flags: int = 1
    granularity: int = 64
    header: str | bytes | None = HEADER
    header2: str | bytes | None = None
    xheader: str | None = None
    header_codec: str = "ascii"
    stored_md5: bytes | bool = True
    stored_sha1: bytes | bool = False
    errors: Sequence[tuple[int, int]] = ()
    sessions: Sequence[tuple[int, int]] = ()
    data_section: bool = True
    data_checksum: bool = True
    next_size: int = DESCRIPTOR
    fill: int = 0
    upper: bool | None = None
    suffixes: Sequence[str] = ()

    @property
    def chunk_size(self) -> int:
        return self.sectors_per_chunk * self.bytes_per_sector


@dataclass
class Layout:
    """What was written and where."""

    recipe: Recipe
    paths: list[Path]
    size: int
    sections: list[Section] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)

    def find(self, kind: str, *, segment: int | None = None, nth: int = 0) -> Section:
        """The nth section of a type, of the whole set or of one segment (counted from 0)."""
        found = [
            item
            for item in self.sections
            if item.type == kind and (segment is None or item.segment == segment)
        ]
        return found[nth]

    def chunks_of(self, segment: int) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.segment == segment]

    def media_range(self, segment: int) -> tuple[int, int]:
        """(offset, length) of the media that a segment holds."""
        chunks = self.chunks_of(segment)
        return chunks[0].media_offset, sum(chunk.length for chunk in chunks)


def suffixes(flavour: Flavour, *, upper: bool | None = None) -> Iterator[str]:
    """`E01` and on to `ZZZ`, or `s01` and on to `zzz`."""
    base = "S" if flavour == "smart" else "E"
    upper = flavour != "smart" if upper is None else upper
    letters = string.ascii_uppercase
    named = itertools.chain(
        (f"{base}{number:02d}" for number in range(1, 100)),
        map("".join, itertools.product(letters[letters.index(base) :], letters, letters)),
    )
    return (text if upper else text.lower() for text in named)


def adler(data: bytes | memoryview | bytearray) -> bytes:
    return struct.pack("<I", zlib.adler32(data))


def checked(data: bytes) -> bytes:
    return data + adler(data)


def descriptor(kind: str, following: int, size: int) -> bytes:
    return checked(struct.pack("<16sQQ40x", kind.encode(), following, size))


def write_ewf(
    directory: Path,
    media: Media,
    recipe: Recipe | None = None,
    *,
    size: int | None = None,
    stem: str = "disk",
) -> Layout:
    """Write the set into `directory`; `size` is needed where `media` is a callable."""
    recipe = recipe or Recipe()
    return _Writer(directory, media, recipe, _size_of(media, size), stem).write()


def _size_of(media: Media, size: int | None) -> int:
    if size is not None:
        return size
    assert isinstance(media, bytes)
    return len(media)


class _Writer:
    def __init__(self, directory: Path, media: Media, recipe: Recipe, size: int, stem: str) -> None:
        self.directory, self.recipe, self.size, self.stem = directory, recipe, size, stem
        self.read = (lambda at, length: media[at : at + length]) if isinstance(media, bytes) else media
        self.layout = Layout(recipe, [], size)
        self.file = bytearray()
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha1 = hashlib.sha1(usedforsecurity=False)
        self.count = -(-size // recipe.chunk_size)

    def write(self) -> Layout:
        names = iter(self.recipe.suffixes or suffixes(self.recipe.flavour, upper=self.recipe.upper))
        per_segment = self.recipe.chunks_per_segment
        starts = list(range(0, self.count, per_segment)) or [0]
        for segment, start in enumerate(starts):
            path = self.directory / f"{self.stem}.{next(names)}"
            self.layout.paths.append(path)
            self.file = bytearray(SIGNATURE + struct.pack("<BHH", 1, segment + 1, 0))
            self._segment(segment, start, min(start + per_segment, self.count), last=start == starts[-1])
            path.write_bytes(self.file)
        return self.layout

    def _segment(self, segment: int, start: int, end: int, *, last: bool) -> None:
        if segment == 0:
            self._headers(segment)
            self._section(segment, "volume", self._volume())
        elif self.recipe.data_section and self.recipe.flavour != "smart":
            self._section(segment, "data", self._volume())
        for first in range(start, end, self.recipe.chunks_per_table):
            numbers = range(first, min(first + self.recipe.chunks_per_table, end))
            if self.recipe.flavour == "encase":
                self._sectors_and_tables(segment, numbers)
            else:
                self._table_with_chunks(segment, numbers)
        if last:
            self._tail(segment)
        self._end(segment, "done" if last else "next")

    def _headers(self, segment: int) -> None:
        recipe = self.recipe
        if recipe.header2 is not None:
            data = recipe.header2 if isinstance(recipe.header2, bytes) else recipe.header2.encode("utf-16")
            self._section(segment, "header2", zlib.compress(data))
            self._section(segment, "header2", zlib.compress(data))
        if recipe.header is not None:
            data = (
                recipe.header
                if isinstance(recipe.header, bytes)
                else recipe.header.encode(recipe.header_codec)
            )
            self._section(segment, "header", zlib.compress(data))
        if recipe.xheader is not None:
            self._section(segment, "xheader", zlib.compress(recipe.xheader.encode()))

    def _volume(self) -> bytes:
        recipe = self.recipe
        sectors = -(-self.size // recipe.bytes_per_sector)
        if recipe.flavour == "smart":
            geometry = struct.pack(
                "<5I", 1, self.count, recipe.sectors_per_chunk, recipe.bytes_per_sector, sectors
            )
            return checked(geometry + bytes(65) + b"SMART")
        return volume_data(recipe, self.count, sectors)

    def _tail(self, segment: int) -> None:
        recipe = self.recipe
        if recipe.data_section and recipe.flavour != "smart" and segment == 0:
            data = self._volume()
            self._section(segment, "data", data if recipe.data_checksum else data[:-4] + bytes(4))
        if recipe.sessions:
            entries = b"".join(struct.pack("<II24x", *entry) for entry in recipe.sessions)
            self._section(
                segment, "session", checked(struct.pack("<I28x", len(recipe.sessions))) + checked(entries)
            )
        if recipe.errors:
            entries = b"".join(struct.pack("<II", *entry) for entry in recipe.errors)
            self._section(
                segment, "error2", checked(struct.pack("<I512x", len(recipe.errors))) + checked(entries)
            )
        md5, sha1 = (
            self._digest(self.recipe.stored_md5, self.md5.digest()),
            self._digest(self.recipe.stored_sha1, self.sha1.digest()),
        )
        if sha1:
            self._section(segment, "digest", checked(struct.pack("<16s20s40x", md5, sha1)))
        if md5:
            self._section(segment, "hash", checked(struct.pack("<16s16x", md5)))

    @staticmethod
    def _digest(wanted: bytes | bool, actual: bytes) -> bytes:
        if isinstance(wanted, bytes):
            return wanted
        return actual if wanted else b""

    def _chunk(self, segment: int, number: int, entry: int) -> None:
        """Append a chunk to the file and to the layout."""
        at = number * self.recipe.chunk_size
        data = self.read(at, min(self.recipe.chunk_size, self.size - at))
        self.md5.update(data)
        self.sha1.update(data)
        how = self.recipe.store[number % len(self.recipe.store)]
        stored = checked(data) if how == "stored" else zlib.compress(data, int(how.removeprefix("zlib")))
        swelled = how not in {"stored", "zlib0"} and len(stored) >= len(data) + 4
        if (
            swelled and self.recipe.flavour != "smart"
        ):  # what every program does with bytes that do not compress
            how, stored = "stored", checked(data)
        self.layout.chunks.append(
            Chunk(number, segment, len(self.file), len(stored), how != "stored", at, len(data), entry)
        )
        self.file += stored

    def _sectors_and_tables(self, segment: int, numbers: range) -> None:
        offset = len(self.file)
        self.file += bytes(DESCRIPTOR)
        first = len(self.layout.chunks)
        for number in numbers:
            self._chunk(segment, number, -1)
        self.file += bytes(self.recipe.fill)
        self._close(segment, "sectors", offset)
        base = offset if self.recipe.base_offsets else 0
        table = _table_header(len(numbers), base) + checked(_entries(self.layout.chunks[first:], base))
        entry = len(self.file) + DESCRIPTOR + TABLE_HEADER
        self._place_entries(first, entry)
        self._section(segment, "table", table)
        if self.recipe.table2:
            self._section(segment, "table2", table)

    def _table_with_chunks(self, segment: int, numbers: range) -> None:
        offset = len(self.file)
        footer = 4 if self.recipe.flavour == "encase1" else 0
        entry = offset + DESCRIPTOR + TABLE_HEADER
        first = len(self.layout.chunks)
        self.file += bytes(DESCRIPTOR + TABLE_HEADER + 4 * len(numbers) + footer)
        for number in numbers:
            self._chunk(segment, number, -1)
        self._place_entries(first, entry)
        entries = _entries(self.layout.chunks[first:], 0)
        table = _table_header(len(numbers), 0) + entries + (adler(entries) if footer else b"")
        self.file[offset + DESCRIPTOR : offset + DESCRIPTOR + len(table)] = table
        self._close(segment, "table", offset)

    def _place_entries(self, first: int, entry: int) -> None:
        chunks = self.layout.chunks
        chunks[first:] = [
            chunk._replace(entry=entry + 4 * index) for index, chunk in enumerate(chunks[first:])
        ]

    def _section(self, segment: int, kind: str, payload: bytes) -> None:
        offset = len(self.file)
        self.file += bytes(DESCRIPTOR) + payload
        self._close(segment, kind, offset)

    def _close(self, segment: int, kind: str, offset: int) -> None:
        """Write the descriptor of the section that ends here."""
        size = len(self.file) - offset
        self.file[offset : offset + DESCRIPTOR] = descriptor(kind, len(self.file), size)
        self.layout.sections.append(Section(segment, kind, offset, size))

    def _end(self, segment: int, kind: str) -> None:
        offset = len(self.file)
        self.file += descriptor(kind, offset, self.recipe.next_size)
        self.layout.sections.append(Section(segment, kind, offset, DESCRIPTOR))


def volume_data(recipe: Recipe, chunks: int, sectors: int) -> bytes:
    """The 1052 bytes of a volume, disk or data section."""
    data = struct.pack(
        "<B3xIIIQ12xB3x12xB3xI4x16s968x",
        recipe.media_type,
        chunks & 0xFFFFFFFF,
        recipe.sectors_per_chunk,
        recipe.bytes_per_sector,
        sectors,
        recipe.media_flags,
        0 if recipe.store == ("stored",) else 1,
        recipe.granularity,
        recipe.set_identifier,
    )
    assert len(data) == 1048
    return checked(data)


def _table_header(count: int, base: int) -> bytes:
    return checked(struct.pack("<I4xQ4x", count, base))


def _entries(chunks: Sequence[Chunk], base: int) -> bytes:
    values = [chunk.offset - base | (COMPRESSED if chunk.compressed else 0) for chunk in chunks]
    return struct.pack(f"<{len(values)}I", *values)
