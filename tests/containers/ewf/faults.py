"""Every way in which a six-segment E01 is broken in the tests, and what a reader has to say.

A fault stops the set from being opened (`Refused`), takes chunks away (`Lost`), or takes nothing away and is told (`Told`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import CorruptImage, MissingSegment
from tests.containers.ewf import breaking as br
from tests.containers.ewf.breaking import CHUNK, PER_SEGMENT, PER_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.errors import ImageError
    from tests.containers.ewf_writer import Layout


@dataclass(frozen=True)
class Refused:
    """The set cannot be opened; the message names segment `segment` (from 0) where it is about one."""

    kind: type[ImageError]
    segment: int | None
    text: str = ""


@dataclass(frozen=True)
class Lost:
    """Just these chunks cannot be read."""

    chunks: tuple[int, ...]


@dataclass(frozen=True)
class Told:
    """Every byte can be read, and a notice or an anomaly says this."""

    text: str


Outcome = Refused | Lost | Told
Fault = tuple["Callable[[Layout], None]", Outcome]


def _table_chunks(segment: int, table: int = 0) -> tuple[int, ...]:
    first = segment * PER_SEGMENT + table * PER_TABLE
    return tuple(range(first, min(first + PER_TABLE, (segment + 1) * PER_SEGMENT)))


_M, _C = MissingSegment, CorruptImage

FAULTS: dict[str, Fault] = {
    "compressed chunk": (br.flip_compressed, Lost((22,))),
    "compressed chunk's zlib header": (br.flip_compressed_header, Lost((22,))),
    "compressed chunk's checksum": (br.flip_compressed_checksum, Lost((22,))),
    "stored chunk": (br.flip_stored, Lost((35,))),
    "stored chunk's checksum": (br.flip_stored_checksum, Lost((35,))),
    "first chunk": (br.flip_first, Lost((0,))),
    "last, short chunk": (br.flip_last, Lost((59,))),
    "three chunks": (br.flip_three, Lost((1, 22, 59))),
    "compressed chunk zeroed": (br.zero_compressed, Lost((22,))),
    "stored chunk zeroed": (br.zero_stored, Lost((35,))),
    "chunk inflates to too little": (lambda layout: br.other_chunk(layout, bytes(CHUNK - 1)), Lost((22,))),
    "chunk inflates to too much": (lambda layout: br.other_chunk(layout, bytes(CHUNK + 1)), Lost((22,))),
    "chunk inflates to nothing": (lambda layout: br.other_chunk(layout, b""), Lost((22,))),
    "chunk is a bomb": (lambda layout: br.other_chunk(layout, bytes(20000)), Lost((22,))),
    "table": (br.flip_table, Told("table section")),
    "table and table2": (br.flip_table_and_table2, Lost(_table_chunks(2))),
    "table2": (br.flip_table2, Told("table2 section")),
    "table's count": (br.flip_table_count, Told("table section")),
    "table's header": (br.flip_table_header, Told("table section")),
    "table's checksum": (br.flip_table_footer, Told("table section")),
    "table and table2 sound and different": (br.tables_differ, Lost((21, 22))),
    "entries out of order": (lambda layout: br.both(layout, 2, br.swap_two), Lost(_table_chunks(2))),
    "two entries alike": (lambda layout: br.both(layout, 2, br.same_twice), Lost(_table_chunks(2))),
    "entry beyond the file": (lambda layout: br.both(layout, 2, br.beyond), Lost(_table_chunks(2))),
    "entry zero": (lambda layout: br.both(layout, 2, br.zero), Lost(_table_chunks(2))),
    "entry in another section": (lambda layout: br.both(layout, 2, br.in_header), Lost(_table_chunks(2))),
    "chunk of no length": (lambda layout: br.both(layout, 2, br.empty_chunk), Lost(_table_chunks(2))),
    "compressed said to be stored": (lambda layout: br.both(layout, 2, br.not_compressed), Lost((20,))),
    "stored said to be compressed": (lambda layout: br.both(layout, 2, br.compressed), Lost((21,))),
    "entry one byte off": (lambda layout: br.both(layout, 2, br.one_off), Lost((22,))),
    "overlapping chunks": (lambda layout: br.both(layout, 2, br.overlapping), Lost((21, 22))),
    "base offset": (lambda layout: br.both(layout, 2, lambda _: None, base=1 << 40), Lost(_table_chunks(2))),
    "base offset of 2^63": (
        lambda layout: br.both(layout, 2, lambda _: None, base=2**64 - 1),
        Lost(_table_chunks(2)),
    ),
    "all entries off": (lambda layout: br.both(layout, 2, br.all_off), Lost(_table_chunks(2))),
    "table one entry short": (lambda layout: br.both(layout, 2, br.one_short), Refused(_C, None)),
    "table without entries": (br.set_count(0), Refused(_C, None)),
    "table of 2^32 entries": (br.set_count(2**32 - 1), Lost(_table_chunks(2))),
    "volume": (br.flip_volume, Told("volume section")),
    "data": (br.flip_data, Told("data section")),
    "volume of 2^32 chunks": (br.volume(2**32 - 1, 2**32 * 16), Refused(_C, None)),
    "volume of 2^63 bytes": (br.volume(60, 2**63 // 512), Refused(_C, None)),
    "volume of 2^64 sectors": (br.volume(60, 2**64 - 1), Refused(_C, None)),
    "volume of no sectors": (br.volume(60, 0), Refused(_C, None)),
    "volume one chunk short": (br.volume(59, 59 * 16), Refused(_C, None)),
    "volume's sectors one chunk short": (br.volume(60, 59 * 16), Refused(_C, None)),
    "header2": (br.flip_section("header2", at=8), Told("header2 section")),
    "both header2": (br.flip_both_header2, Told("header2 section")),
    "header": (br.flip_section("header", at=8), Told("header section")),
    "hash": (br.flip_section("hash"), Told("hash section")),
    "digest": (br.flip_section("digest", at=20), Told("digest section")),
    "descriptor of sectors": (br.flip_descriptor("sectors", 2, 17), Refused(_C, 2)),
    "descriptor's checksum": (br.flip_descriptor("table", 2, 72), Refused(_C, 2)),
    "descriptor of volume": (br.flip_descriptor("volume", 0, 0), Refused(_C, 0)),
    "descriptor of done": (br.flip_descriptor("done", 5, 3), Refused(_C, 5)),
    "sectors too long": (br.sized("sectors", 2, lambda section: section.size + 4096), Refused(_C, 2)),
    "sectors too short": (br.sized("sectors", 2, lambda section: section.size - 4096), Refused(_C, 2)),
    "table too long": (br.sized("table", 2, lambda section: section.size + 4), Refused(_C, 2)),
    "section smaller than its descriptor": (br.sized("table", 2, lambda _: 10), Refused(_C, 2)),
    "next offset is itself": (br.following("table", 2, lambda _, section: section.offset), Refused(_C, 2)),
    "next offset turns back": (
        br.following("table", 2, lambda layout, _: layout.find("sectors", segment=2).offset),
        Refused(_C, 2),
    ),
    "next offset is zero": (br.following("table", 2, lambda *_: 0), Refused(_C, 2)),
    "next offset in the section": (
        br.following("sectors", 2, lambda _, section: section.offset + 80),
        Refused(_C, 2),
    ),
    "next offset skips a section": (
        br.following("table", 2, lambda layout, _: layout.find("table2", segment=2).end),
        Refused(_C, 2),
    ),
    "next offset beyond the file": (br.following("table", 2, lambda *_: 1 << 40), Refused(_C, 2)),
    "section of 2^63 bytes": (br.claims(2**63), Refused(_M, 2)),
    "section of 2^64 bytes": (br.claims(2**64 - 1), Refused(_C, 2)),
    "next in the middle of the chain": (
        lambda layout: br.describe(layout, layout.find("table", segment=2), kind="next"),
        Refused(_C, 2),
    ),
    "first missing": (br.missing(0), Refused(_M, 0, "is not there")),
    "middle missing": (br.missing(2), Refused(_M, 2, "is not there")),
    "last missing": (br.missing(5), Refused(_M, 4, "segment 6")),
    "middle truncated in a chunk": (br.truncated(2, br.in_chunk), Refused(_M, 2, "short")),
    "middle truncated behind sectors": (br.truncated(2, br.end_of_sectors), Refused(_M, 2, "short")),
    "middle truncated in a table": (br.truncated(2, br.in_table), Refused(_M, 2, "short")),
    "middle truncated before its end": (br.truncated(2, br.before_end), Refused(_M, 2, "short")),
    "middle truncated in its last descriptor": (br.truncated(2, br.in_next), Refused(_M, 2, "short")),
    "middle truncated in its first descriptor": (br.truncated(2, lambda _: 50), Refused(_M, 2, "short")),
    "middle truncated in its file header": (br.truncated(2, lambda _: 9), Refused(_M, 2, "short")),
    "middle empty": (br.truncated(2, lambda _: 0), Refused(_M, 2, "short")),
    "last truncated": (br.truncated(5, lambda layout: layout.find("hash").offset), Refused(_M, 5, "short")),
    "last without done": (
        br.truncated(5, lambda layout: layout.find("done").offset),
        Refused(_M, 5, "short"),
    ),
    "middle of another set": (br.swapped_with_other_set, Refused(_M, 2, "another set")),
    "middle of another set without identifier": (br.swapped_with_another_size, Refused(_M, 2, "another set")),
    "two swapped": (br.two_swapped, Refused(_M, 2, "segment 4")),
    "one twice": (br.one_twice, Refused(_M, 3, "segment 3")),
    "segment number 0": (br.segment_number(0), Refused(_M, 2, "segment 0")),
    "segment number 65535": (br.segment_number(65535), Refused(_M, 2, "segment 65535")),
    "not a segment": (br.not_a_segment, Refused(_M, 2, "does not begin as one")),
    "trailing garbage": (br.trailing(2, b"garbage" * 100), Told("goes on for 700 bytes")),
    "trailing zeros in the last": (br.trailing(5, bytes(512)), Told("goes on for 512 bytes")),
    "segment twice in its file": (br.cut_between, Told("goes on for")),
}
