"""What can be done to a six-segment E01 that breaks it: each takes the layout of a set and changes its files."""

from __future__ import annotations

import os
import random
import shutil
import struct
import zlib
from typing import TYPE_CHECKING

from tests.containers.ewf_writer import (
    COMPRESSED,
    DESCRIPTOR,
    FILE_HEADER,
    TABLE_HEADER,
    Recipe,
    checked,
    descriptor,
    volume_data,
    write_ewf,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.containers.ewf_writer import Layout, Section

SEGMENTS = 6
PER_SEGMENT = 10
PER_TABLE = 6
CHUNK = 8192
HEADER2 = "1\nmain\na\tc\tn\te\tt\tav\tov\tm\tu\tp\ndesc\tcase\tev\tme\tnone\t1\tLinux\t1142163845\t1142163845\t\n\n"
RECIPE = Recipe(
    sectors_per_chunk=16,
    chunks_per_segment=PER_SEGMENT,
    chunks_per_table=PER_TABLE,
    store=("zlib6", "stored"),
    stored_sha1=True,
    header2=HEADER2,
)


def fault_media() -> bytes:
    """59 chunks and a half, no two alike; those with an even number compress."""
    rng = random.Random(7)
    chunks = [
        rng.randbytes(CHUNK) if number % 2 else (b"chunk %06d\n" % number * CHUNK)[:CHUNK]
        for number in range(SEGMENTS * PER_SEGMENT)
    ]
    return b"".join(chunks)[: -CHUNK // 2]


MEDIA = fault_media()


def flip(layout: Layout, segment: int, offset: int, mask: int = 1) -> None:
    with layout.paths[segment].open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def put(layout: Layout, segment: int, offset: int, data: bytes) -> None:
    with layout.paths[segment].open("r+b") as file:
        file.seek(offset)
        file.write(data)


def take(layout: Layout, segment: int, offset: int, length: int) -> bytes:
    with layout.paths[segment].open("rb") as file:
        file.seek(offset)
        return file.read(length)


def describe(
    layout: Layout,
    section: Section,
    *,
    kind: str | None = None,
    following: int | None = None,
    size: int | None = None,
) -> None:
    """Write another descriptor, with its right checksum."""
    following = section.end if following is None else following
    data = descriptor(kind or section.type, following, section.size if size is None else size)
    put(layout, section.segment, section.offset, data)


def reenter(layout: Layout, section: Section, change: Callable[[list[int]], None], *, base: int = 0) -> None:
    """Change the entries of a table and give it right checksums."""
    header = take(layout, section.segment, section.payload, TABLE_HEADER)
    (count,) = struct.unpack_from("<I", header)
    start = section.payload + TABLE_HEADER
    values = list(struct.unpack(f"<{count}I", take(layout, section.segment, start, 4 * count)))
    change(values)
    put(layout, section.segment, section.payload, checked(struct.pack("<I4xQ4x", len(values), base)))
    put(layout, section.segment, start, checked(struct.pack(f"<{len(values)}I", *values)))


def both(layout: Layout, segment: int, change: Callable[[list[int]], None], *, base: int = 0) -> None:
    """Change the first table of a segment and its copy alike."""
    for kind in ("table", "table2"):
        reenter(layout, layout.find(kind, segment=segment), change, base=base)


def revolume(layout: Layout, segment: int, kind: str, data: bytes) -> None:
    put(layout, segment, layout.find(kind, segment=segment).payload, data)


def other_set(layout: Layout, recipe: Recipe = RECIPE, media: bytes | None = None) -> Layout:
    """Another set, in a folder beside."""
    folder = layout.paths[0].parent.parent / "other"
    folder.mkdir(exist_ok=True)
    return write_ewf(folder, media or bytes(reversed(MEDIA)), recipe)


# --- chunks ---


def flip_compressed(layout: Layout) -> None:
    chunk = layout.chunks[22]
    flip(layout, 2, chunk.offset + chunk.size // 2, 4)


def flip_compressed_header(layout: Layout) -> None:
    flip(layout, 2, layout.chunks[22].offset)


def flip_compressed_checksum(layout: Layout) -> None:
    chunk = layout.chunks[22]
    flip(layout, 2, chunk.offset + chunk.size - 1)


def flip_stored(layout: Layout) -> None:
    flip(layout, 3, layout.chunks[35].offset + 100)


def flip_stored_checksum(layout: Layout) -> None:
    chunk = layout.chunks[35]
    flip(layout, 3, chunk.offset + chunk.size - 4)


def flip_last(layout: Layout) -> None:
    flip(layout, 5, layout.chunks[59].offset + 9)


def flip_first(layout: Layout) -> None:
    flip(layout, 0, layout.chunks[0].offset + 9)


def flip_three(layout: Layout) -> None:
    for number in (1, 22, 59):
        flip(layout, number // PER_SEGMENT, layout.chunks[number].offset + 9)


def zero_compressed(layout: Layout) -> None:
    chunk = layout.chunks[22]
    put(layout, 2, chunk.offset, bytes(chunk.size))


def zero_stored(layout: Layout) -> None:
    """Zeros have the Adler-32 of 1 and a count, never zero."""
    chunk = layout.chunks[35]
    put(layout, 3, chunk.offset, bytes(chunk.size))


def other_chunk(layout: Layout, data: bytes) -> None:
    """A sound stream of another length where chunk 22 lies."""
    stored = zlib.compress(data, 9)
    assert len(stored) <= layout.chunks[22].size
    put(layout, 2, layout.chunks[22].offset, stored.ljust(layout.chunks[22].size, b"\0"))


# --- tables ---


def flip_table(layout: Layout) -> None:
    flip(layout, 2, layout.find("table", segment=2).payload + TABLE_HEADER + 9)


def flip_table_and_table2(layout: Layout) -> None:
    for kind in ("table", "table2"):
        flip(layout, 2, layout.find(kind, segment=2).payload + TABLE_HEADER + 9)


def flip_table2(layout: Layout) -> None:
    flip(layout, 2, layout.find("table2", segment=2).payload + TABLE_HEADER + 1)


def flip_table_count(layout: Layout) -> None:
    flip(layout, 2, layout.find("table", segment=2).payload)


def flip_table_header(layout: Layout) -> None:
    flip(layout, 2, layout.find("table", segment=2).payload + 12)


def flip_table_footer(layout: Layout) -> None:
    flip(layout, 2, layout.find("table", segment=2).end - 1)


def swap_two(values: list[int]) -> None:
    values[1], values[3] = values[3], values[1]


def same_twice(values: list[int]) -> None:
    values[2] = values[0]


def beyond(values: list[int]) -> None:
    values[-1] = COMPRESSED | 0x7FFFFFF0


def zero(values: list[int]) -> None:
    values[0] = 0


def in_header(values: list[int]) -> None:
    values[0] = COMPRESSED | FILE_HEADER + DESCRIPTOR


def not_compressed(values: list[int]) -> None:
    values[0] &= ~COMPRESSED


def compressed(values: list[int]) -> None:
    values[1] |= COMPRESSED


def one_off(values: list[int]) -> None:
    values[2] += 1


def overlapping(values: list[int]) -> None:
    values[2] -= 50


def empty_chunk(values: list[int]) -> None:
    values[2] = values[3] | COMPRESSED


def tables_differ(layout: Layout) -> None:
    reenter(layout, layout.find("table", segment=2), one_off)


def all_off(values: list[int]) -> None:
    values[:] = [value + 7 for value in values]


def one_short(values: list[int]) -> None:
    values.pop()


def set_count(count: int) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        for kind in ("table", "table2"):
            header = checked(struct.pack("<I4xQ4x", count, 0))
            put(layout, 2, layout.find(kind, segment=2).payload, header)

    return change


# --- sections ---


def flip_volume(layout: Layout) -> None:
    flip(layout, 0, layout.find("volume").payload + 16)


def flip_data(layout: Layout) -> None:
    flip(layout, 2, layout.find("data", segment=2).payload + 16)


def volume(chunks: int, sectors: int) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        for segment in range(SEGMENTS):
            revolume(layout, segment, "data" if segment else "volume", volume_data(RECIPE, chunks, sectors))

    return change


def flip_section(kind: str, nth: int = 0, at: int = 0) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        section = layout.find(kind, nth=nth)
        flip(layout, section.segment, section.payload + at)

    return change


def flip_both_header2(layout: Layout) -> None:
    for nth in (0, 1):
        flip_section("header2", nth, 8)(layout)


def flip_descriptor(kind: str, segment: int, at: int) -> Callable[[Layout], None]:
    return lambda layout: flip(layout, segment, layout.find(kind, segment=segment).offset + at)


def following(kind: str, segment: int, where: Callable[[Layout, Section], int]) -> Callable[[Layout], None]:
    """Point a section to another next one, with a right checksum."""

    def change(layout: Layout) -> None:
        section = layout.find(kind, segment=segment)
        describe(layout, section, following=where(layout, section))

    return change


def sized(kind: str, segment: int, size: Callable[[Section], int]) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        section = layout.find(kind, segment=segment)
        describe(layout, section, size=size(section))

    return change


def claims(size: int) -> Callable[[Layout], None]:
    """The sectors section of segment 2 claims to go on for so many bytes."""

    def change(layout: Layout) -> None:
        section = layout.find("sectors", segment=2)
        describe(layout, section, following=min(section.offset + size, 2**64 - 1), size=size)

    return change


# --- files ---


def truncated(segment: int, where: Callable[[Layout], int]) -> Callable[[Layout], None]:
    return lambda layout: os.truncate(layout.paths[segment], where(layout))


def missing(segment: int) -> Callable[[Layout], None]:
    return lambda layout: layout.paths[segment].unlink()


def swapped_with_other_set(layout: Layout) -> None:
    recipe = Recipe(**{**RECIPE.__dict__, "set_identifier": bytes(range(100, 116))})
    shutil.copyfile(other_set(layout, recipe).paths[2], layout.paths[2])


def swapped_with_another_size(layout: Layout) -> None:
    recipe = Recipe(**{**RECIPE.__dict__, "set_identifier": bytes(16)})
    shutil.copyfile(other_set(layout, recipe, MEDIA[: -2 * CHUNK]).paths[2], layout.paths[2])


def two_swapped(layout: Layout) -> None:
    one, two = layout.paths[2].read_bytes(), layout.paths[3].read_bytes()
    layout.paths[2].write_bytes(two)
    layout.paths[3].write_bytes(one)


def one_twice(layout: Layout) -> None:
    layout.paths[3].write_bytes(layout.paths[2].read_bytes())


def trailing(segment: int, data: bytes) -> Callable[[Layout], None]:
    def change(layout: Layout) -> None:
        with layout.paths[segment].open("ab") as file:
            file.write(data)

    return change


def cut_between(layout: Layout) -> None:
    """The second half of a segment is there twice: its chain jumps over what was put in."""
    data = layout.paths[2].read_bytes()
    layout.paths[2].write_bytes(data + data[FILE_HEADER:])


def not_a_segment(layout: Layout) -> None:
    layout.paths[2].write_bytes(bytes(9000))


def segment_number(number: int) -> Callable[[Layout], None]:
    return lambda layout: put(layout, 2, 9, struct.pack("<H", number))


def end_of_sectors(layout: Layout) -> int:
    return layout.find("sectors", segment=2).end


def in_chunk(layout: Layout) -> int:
    return layout.chunks[22].offset + 10


def in_table(layout: Layout) -> int:
    return layout.find("table", segment=2).payload + TABLE_HEADER + 6


def before_end(layout: Layout) -> int:
    return layout.find("next", segment=2).offset


def in_next(layout: Layout) -> int:
    return layout.find("next", segment=2).offset + 40
