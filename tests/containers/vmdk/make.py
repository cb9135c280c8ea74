"""VMDK files written from the specification, byte by byte: what no program at hand writes, and what faults are put into."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SECTOR = 512
GRAIN = 128  # sectors
GD_AT_END = (1 << 64) - 1
NO_PARENT = "ffffffff"
SPARSE = struct.Struct("<4sIIQQQQIQQQB4sH")
DESCRIPTOR_SECTORS = 20
FLAG_LINES, FLAG_REDUNDANT, FLAG_ZEROED, FLAG_COMPRESSED, FLAG_MARKERS = 1, 2, 4, 1 << 16, 1 << 17


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a file that was written here; bytes, -1 for what is not there."""

    grains: dict[int, int]  # grain -> where it begins (its marker, where it is compressed)
    entries: dict[int, int]  # grain -> where the grain table says so
    copies: dict[int, int]  # the same in the redundant tables
    directory: int
    redundant: int


def media(size: int, seed: int = 1, grain: int = GRAIN * SECTOR) -> bytes:
    """Grains of zeros, noise and text, no two that are not zeros alike."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        kind = rng.randrange(3)
        if kind == 0:
            out += bytes(grain)
        elif kind == 1:
            out += rng.randbytes(grain)
        else:
            out += (f"line {rng.random()} of a text\n".encode() * grain)[:grain]
    return bytes(out[:size])


def descriptor(
    lines: Iterable[str],
    *,
    kind: str = "monolithicSparse",
    cid: str = "12345678",
    parent: str = NO_PARENT,
    hint: str | None = None,
    extra: Iterable[str] = (),
) -> bytes:
    """The text of a descriptor."""
    text = ["# Disk DescriptorFile", "version=1", f"CID={cid}", f"parentCID={parent}", f'createType="{kind}"']
    if hint is not None:
        text.append(f'parentFileNameHint="{hint}"')
    text += ["", "# Extent description", *lines, "", "# The Disk Data Base", "#DDB", ""]
    text += ['ddb.adapterType = "lsilogic"', 'ddb.virtualHWVersion = "4"', *extra]
    return "\n".join(text).encode() + b"\n"


def grains_of(content: bytes, size: int) -> dict[int, bytes]:
    """The grains that are not zeros, the last filled up."""
    parts = ((i // size, content[i : i + size]) for i in range(0, len(content), size))
    return {number: part.ljust(size, b"\0") for number, part in parts if any(part)}


def header(sectors: int, /, **changes: int) -> bytes:
    """A header of a hosted sparse extent, in sectors; `changes` are named as in the specification."""
    fields = {
        "version": 1, "flags": FLAG_LINES, "capacity": sectors, "grainSize": GRAIN, "descriptorOffset": 0,
        "descriptorSize": 0, "numGTEsPerGT": 512, "rgdOffset": 0, "gdOffset": 0, "overHead": GRAIN,
        "uncleanShutdown": 0,
    }  # fmt: skip
    algorithm = changes.pop("compressAlgorithm", 0)
    assert set(changes) <= set(fields)
    return SPARSE.pack(b"KDMV", *(fields | changes).values(), b"\n \r\n", algorithm).ljust(SECTOR, b"\0")


def write_sparse(
    path: Path,
    content: bytes,
    *,
    text: bytes = b"",
    redundant: bool = True,
    zeroed: Iterable[int] = (),
    grain: int = GRAIN,
    entries: int = 512,
    **changes: int,
) -> Layout:
    """A hosted sparse extent; `zeroed` are grains stated to be zeros."""
    size = grain * SECTOR
    capacity = -(-len(content) // SECTOR)
    tables = -(-capacity // (grain * entries))
    directory_sectors, table_sectors = -(-tables * 4 // SECTOR), -(-entries * 4 // SECTOR)
    block = directory_sectors + tables * table_sectors
    behind = 1 + DESCRIPTOR_SECTORS
    first, second = (behind, behind + block) if redundant else (0, behind)
    start = -(-(second + block) // grain) * grain
    grains = grains_of(content, size)
    entry = {number: start + index * grain for index, number in enumerate(grains)} | dict.fromkeys(zeroed, 1)
    flags = FLAG_LINES | (FLAG_REDUNDANT if redundant else 0) | (FLAG_ZEROED if zeroed else 0)
    place = (1, DESCRIPTOR_SECTORS) if text else (0, 0)
    fields = {"version": 2 if zeroed else 1, "flags": flags, "grainSize": grain, "numGTEsPerGT": entries,
              "rgdOffset": first, "gdOffset": second, "overHead": start,
              "descriptorOffset": place[0], "descriptorSize": place[1]}  # fmt: skip
    head = header(capacity, **(fields | changes))
    out = bytearray(head + text.ljust(DESCRIPTOR_SECTORS * SECTOR, b"\0"))
    for at in (first, second) if redundant else (second,):
        out = out.ljust(at * SECTOR, b"\0")
        out += struct.pack(
            f"<{tables}I", *(at + directory_sectors + i * table_sectors for i in range(tables))
        )
        out = out.ljust((at + directory_sectors) * SECTOR, b"\0")
        out += struct.pack(f"<{tables * entries}I", *(entry.get(i, 0) for i in range(tables * entries)))
    out = out.ljust(start * SECTOR, b"\0") + b"".join(grains.values())
    path.write_bytes(out)

    def entry_place(at: int) -> Callable[[int], int]:
        return lambda number: (at + directory_sectors) * SECTOR + 4 * number

    span = tables * entries
    return Layout(
        {number: entry[number] * SECTOR for number in grains},
        {number: entry_place(second)(number) for number in range(span)},
        {number: entry_place(first)(number) for number in range(span)} if redundant else {},
        second * SECTOR,
        first * SECTOR if redundant else -1,
    )


def marker(sectors: int, kind: int) -> bytes:
    """A marker of metadata: of how many sectors, and of which type."""
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def write_stream(path: Path, content: bytes, *, text: bytes, footer: bool = True) -> Layout:
    """A streamOptimized extent as VMware exports it: header without a directory, grains and their tables, directory, footer."""
    capacity, size = -(-len(content) // SECTOR), GRAIN * SECTOR
    changes = {
        "version": 3, "flags": FLAG_LINES | FLAG_COMPRESSED | FLAG_MARKERS, "compressAlgorithm": 1,
        "descriptorOffset": 1, "descriptorSize": DESCRIPTOR_SECTORS,
    }  # fmt: skip
    out = bytearray(
        header(capacity, **changes, gdOffset=GD_AT_END) + text.ljust(DESCRIPTOR_SECTORS * SECTOR, b"\0")
    )
    out = out.ljust(GRAIN * SECTOR, b"\0")
    places: dict[int, int] = {}
    grains = grains_of(content, size)
    tables = -(-capacity // (GRAIN * 512))
    directory, table_places = [], []
    for table in range(tables):
        own = [number for number in grains if number // 512 == table]
        for number in own:
            places[number] = len(out)
            packed = zlib.compress(grains[number])
            out += struct.pack("<QI", number * GRAIN, len(packed)) + packed
            out += bytes(-len(out) % SECTOR)
        out += marker(4, 1)
        table_places.append(len(out))
        directory.append(len(out) // SECTOR if own else 0)
        out += struct.pack("<512I", *(places.get(table * 512 + i, 0) // SECTOR for i in range(512)))
    out += marker(-(-tables * 4 // SECTOR), 2)
    where = len(out)
    out += struct.pack(f"<{tables}I", *directory)
    out += bytes(-len(out) % SECTOR)
    if footer:
        out += marker(1, 3) + header(capacity, **changes, gdOffset=where // SECTOR) + bytes(SECTOR)
    path.write_bytes(out)
    entries = {i: table_places[i // 512] + i % 512 * 4 for i in range(tables * 512)}
    return Layout(places, entries, {}, where, -1)


def write_cowd(path: Path, content: bytes, *, grain: int = 1) -> Layout:
    """An ESX sparse extent (vmfsSparse): a directory at sector 4, tables of 4096 entries, grains of one sector."""
    capacity = len(content) // SECTOR
    tables = -(-capacity // (grain * 4096))
    directory_sectors = -(-tables * 4 // SECTOR)
    start = 4 + directory_sectors + tables * 32
    grains = grains_of(content, grain * SECTOR)
    entry = {number: start + index * grain for index, number in enumerate(grains)}
    head = struct.pack("<4s7I", b"COWD", 1, 3, capacity, grain, 4, tables, start + len(grains) * grain)
    out = bytearray(head.ljust(4 * SECTOR, b"\0"))
    out += struct.pack(f"<{tables}I", *(4 + directory_sectors + 32 * i for i in range(tables)))
    out = out.ljust((4 + directory_sectors) * SECTOR, b"\0")
    out += struct.pack(f"<{tables * 4096}I", *(entry.get(i, 0) for i in range(tables * 4096)))
    path.write_bytes(bytes(out) + b"".join(grains.values()))
    entries = {i: (4 + directory_sectors) * SECTOR + 4 * i for i in range(tables * 4096)}
    return Layout({n: entry[n] * SECTOR for n in grains}, entries, {}, 4 * SECTOR, -1)


def poke(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def poke_number(path: Path, offset: int, number: int) -> None:
    """Overwrite an entry of a table."""
    poke(path, offset, struct.pack("<I", number))


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Change one bit."""
    with path.open("rb") as file:
        file.seek(offset)
        (value,) = file.read(1)
    poke(path, offset, bytes([value ^ 1 << bit]))


def shorten(path: Path, size: int) -> None:
    """Cut a file; a negative size cuts so many bytes off."""
    with path.open("r+b") as file:
        file.truncate(size if size >= 0 else path.stat().st_size + size)
