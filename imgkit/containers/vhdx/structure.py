"""Headers and region tables of a VHDX: [MS-VHDX] 2.2.

https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx/. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from imgkit.containers.block_table import Area, Areas
from imgkit.containers.vhdx.crc32c import crc32c
from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile

MIB = 1 << 20
NO_GUID = UUID(int=0)
_HEADERS = (64 << 10, 128 << 10)
_HEADER_SIZE = 4 << 10
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGION_TABLES = (192 << 10, 256 << 10)
_REGION_TABLE_SIZE = 64 << 10
_REGION = struct.Struct("<16sQII")
_MOST_REGIONS = 2047
_BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_AGAIN = "copy the image again from the source"


@dataclass(frozen=True, slots=True)
class Header:
    """The current header (2.2.2)."""

    sequence_number: int
    file_write_guid: UUID
    data_write_guid: UUID
    log_guid: UUID
    version: int
    log_length: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class Structure:
    """What the first MiB of the file says.

    Attributes:
        creator: What wrote the file, by its own words.
        header: The current header; its log is empty.
        bat: The region of the block table.
        metadata: The region of the metadata.
        areas: Every part of the file that is no block's; none overlaps another.
        notices: What was found wrong that a copy made good.
    """

    creator: str
    header: Header
    bat: Area
    metadata: Area
    areas: Areas
    notices: tuple[str, ...]


def read_structure(file: EvidenceFile) -> Structure:
    """Read and check identifier, headers and region tables.

    Raises:
        CorruptImage: Neither copy is sound, or they contradict themselves.
        UnknownFormat: A log that was not replayed; a version or region that is not known.
    """
    creator = file.read_at(8, 512).decode("utf-16-le", "replace").split("\0")[0]
    header, header_notices = _current_header(file)
    if header.version != 1:
        raise UnknownFormat(f"{file.path} is a VHDX of version {header.version}, which imgkit does not read")
    if header.log_guid != NO_GUID:
        raise _log_not_replayed(file)
    regions, table_notices = _regions(file)
    unknown = [guid for guid, (_, required) in regions.items() if required and guid not in {_BAT, _METADATA}]
    if unknown:
        raise UnknownFormat(
            f"{file.path} has a region {unknown[0]} that a reader has to know, and imgkit does not"
        )
    for guid, name in ((_BAT, "block table"), (_METADATA, "metadata")):
        if guid not in regions:
            raise CorruptImage(f"{file.path} has no {name} region", hint=_AGAIN)
    areas = _areas(file, header, [area for area, _ in regions.values()])
    bat, metadata = regions[_BAT][0], regions[_METADATA][0]
    return Structure(creator, header, bat, metadata, areas, (*header_notices, *table_notices))


def _sound(block: bytes, size: int, signature: bytes) -> bool:
    """Signature, and a CRC-32C over the whole with the checksum field as zeros."""
    if len(block) < size or not block.startswith(signature):
        return False
    stated = int.from_bytes(block[4:8], "little")
    return stated == crc32c(block[:4] + bytes(4) + block[8:])


def _current_header(file: EvidenceFile) -> tuple[Header, tuple[str, ...]]:
    """The sound one with the greater sequence number (2.2.2), and what is wrong with the other."""
    blocks = [file.read_at(offset, _HEADER_SIZE) for offset in _HEADERS]
    found = [
        (number, _header(block))
        for number, block in enumerate(blocks, 1)
        if _sound(block, _HEADER_SIZE, b"head")
    ]
    if not found:
        raise CorruptImage(f"both headers of {file.path} fail their checksum", hint=_AGAIN)
    if len(found) == 1:
        number, header = found[0]
        return header, (f"header {3 - number} of {file.path} fails its checksum; header {number} is used",)
    (_, first), (_, second) = found
    # Disk2vhd writes the same header twice, with one number: nothing to choose between.
    if first.sequence_number == second.sequence_number and first != second:
        raise CorruptImage(
            f"both headers of {file.path} have the number {first.sequence_number} and say different things",
            hint=_AGAIN,
        )
    return max(first, second, key=lambda header: header.sequence_number), ()


def _header(block: bytes) -> Header:
    _signature, _checksum, number, file_write, data_write, log, _log_version, version, length, offset = (
        _HEADER.unpack_from(block)
    )
    return Header(
        sequence_number=number,
        file_write_guid=UUID(bytes_le=file_write),
        data_write_guid=UUID(bytes_le=data_write),
        log_guid=UUID(bytes_le=log),
        version=version,
        log_length=length,
        log_offset=offset,
    )


def _log_not_replayed(file: EvidenceFile) -> UnknownFormat:
    return UnknownFormat(
        f"{file.path} was not closed cleanly: its log holds changes that are not yet in the disk, "
        "and without them it would show another disk than the machine saw",
        hint="imgkit changes no evidence: replay the log in a copy (qemu-img check -r all COPY.vhdx, or Mount-VHD and "
        "Dismount-VHD on Windows), and open the copy",
    )


def _regions(file: EvidenceFile) -> tuple[dict[UUID, tuple[Area, bool]], tuple[str, ...]]:
    """Region -> (where, whether a reader has to know it), by the first sound table (2.2.3)."""
    blocks = [file.read_at(offset, _REGION_TABLE_SIZE) for offset in _REGION_TABLES]
    sound = [number for number, block in enumerate(blocks) if _sound(block, _REGION_TABLE_SIZE, b"regi")]
    if not sound:
        raise CorruptImage(f"both region tables of {file.path} fail their checksum", hint=_AGAIN)
    regions = _parsed_regions(file, blocks[sound[0]])
    if len(sound) == 1:
        number = sound[0] + 1
        return regions, (
            f"region table {3 - number} of {file.path} fails its checksum; region table {number} is used",
        )
    if _parsed_regions(file, blocks[1]) != regions:
        raise CorruptImage(
            f"the two region tables of {file.path} are sound and say different things", hint=_AGAIN
        )
    return regions, ()


def _parsed_regions(file: EvidenceFile, block: bytes) -> dict[UUID, tuple[Area, bool]]:
    (count,) = struct.unpack_from("<I", block, 8)
    if count > _MOST_REGIONS:
        raise CorruptImage(
            f"{file.path} states {count} regions, more than the {_MOST_REGIONS} that a table can hold"
        )
    regions: dict[UUID, tuple[Area, bool]] = {}
    for index in range(count):
        raw, offset, length, required = _REGION.unpack_from(block, 16 + _REGION.size * index)
        guid = UUID(bytes_le=raw)
        if guid in regions:
            raise CorruptImage(f"{file.path} has the region {guid} twice")
        regions[guid] = Area(offset, offset + length, f"the region {guid}"), bool(required & 1)
    return regions


def _areas(file: EvidenceFile, header: Header, regions: list[Area]) -> Areas:
    """The first MiB, the log and the regions: each a number of MiB, inside the file, none on another (2.2.3)."""
    log = Area(header.log_offset, header.log_offset + header.log_length, "the log")
    every = [Area(0, MIB, "the header section"), *([log] if header.log_length else []), *regions]
    for area in every:
        if area.start % MIB or area.end % MIB:
            raise CorruptImage(
                f"{file.path} has {area.name} at {area.start} to {area.end}, which are no whole MiB"
            )
        if area.end > file.stat.st_size:
            raise CorruptImage(
                f"{file.path} ends at {file.stat.st_size}, before the end of {area.name} at {area.end}",
                hint=f"the file was cut short: {_AGAIN}",
            )
    areas = Areas(every)
    both = areas.overlapping()
    if both is not None:
        raise CorruptImage(
            f"{file.path} has {both[0].name} and {both[1].name} in the same place, {both[1].start}"
        )
    return areas
