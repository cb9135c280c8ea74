"""The metadata region of a VHDX: [MS-VHDX] 2.6."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from imgkit.containers.vhdx.structure import MIB
from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.containers.block_table import Area
    from imgkit.containers.evidence_file import EvidenceFile

_TABLE_SIZE = 64 << 10
_ENTRY = struct.Struct("<16sIII4x")
_MOST_ENTRIES = 1023
_MOST_PAIRS = 64  # of a parent locator; the specification knows five
_LARGEST_DISK = 64 << 40  # 2.6.2.2
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_DISK_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL_SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_VHDX_PARENT = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
_SIZES = {_FILE_PARAMETERS: 8, _DISK_SIZE: 8, _DISK_ID: 16, _LOGICAL_SECTOR: 4, _PHYSICAL_SECTOR: 4}
_NAMES = {
    _FILE_PARAMETERS: "file parameters",
    _DISK_SIZE: "virtual disk size",
    _DISK_ID: "virtual disk identifier",
    _LOGICAL_SECTOR: "logical sector size",
    _PHYSICAL_SECTOR: "physical sector size",
    _PARENT_LOCATOR: "parent locator",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The known items.

    Attributes:
        fixed: LeaveBlocksAllocated: the file was made at its full size.
        parent: Keys and values of the parent locator; empty where there is no parent.
    """

    disk_size: int
    block_size: int
    fixed: bool
    has_parent: bool
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    parent: Mapping[str, str] = field(default_factory=dict)


def read_metadata(file: EvidenceFile, region: Area) -> Metadata:
    """Read and check the items.

    Raises:
        CorruptImage: An item is absent, or cannot be meant.
        UnknownFormat: An item that a reader has to know and that is not known.
    """
    items = _items(file, region)
    block_size, flags = struct.unpack("<II", _item(file, items, _FILE_PARAMETERS))
    (disk_size,) = struct.unpack("<Q", _item(file, items, _DISK_SIZE))
    (logical,) = struct.unpack("<I", _item(file, items, _LOGICAL_SECTOR))
    (physical,) = struct.unpack("<I", _item(file, items, _PHYSICAL_SECTOR))
    has_parent = bool(flags & 2)
    found = Metadata(
        disk_size=disk_size,
        block_size=block_size,
        fixed=bool(flags & 1),
        has_parent=has_parent,
        logical_sector_size=logical,
        physical_sector_size=physical,
        disk_id=UUID(bytes_le=_item(file, items, _DISK_ID)),
        parent=_parent_locator(file, _item(file, items, _PARENT_LOCATOR)) if has_parent else {},
    )
    _check(file, found)
    return found


def _check(file: EvidenceFile, found: Metadata) -> None:
    size = found.block_size
    if not MIB <= size <= 256 * MIB or size & (size - 1):
        raise CorruptImage(
            f"{file.path} states blocks of {size} bytes: not a power of two from 1 MiB to 256 MiB"
        )
    for name, sector in (("logical", found.logical_sector_size), ("physical", found.physical_sector_size)):
        if sector not in {512, 4096}:
            raise CorruptImage(f"{file.path} states {name} sectors of {sector} bytes: neither 512 nor 4096")
    if not 0 < found.disk_size <= _LARGEST_DISK or found.disk_size % found.logical_sector_size:
        raise CorruptImage(
            f"{file.path} states a disk of {found.disk_size} bytes in sectors of {found.logical_sector_size}, "
            "which cannot be meant"
        )


def _items(file: EvidenceFile, region: Area) -> dict[UUID, tuple[int, int]]:
    """Known item -> (offset in the file, length)."""
    table = file.read_at(region.start, min(_TABLE_SIZE, region.end - region.start))
    if not table.startswith(b"metadata") or len(table) < _TABLE_SIZE:
        raise CorruptImage(
            f"{file.path} has no metadata table at {region.start}, where its region table points"
        )
    (count,) = struct.unpack_from("<H", table, 10)
    if count > _MOST_ENTRIES:
        raise CorruptImage(
            f"{file.path} states {count} metadata items, more than the {_MOST_ENTRIES} that there may be"
        )
    items: dict[UUID, tuple[int, int]] = {}
    for index in range(count):
        raw, offset, length, flags = _ENTRY.unpack_from(table, 32 + _ENTRY.size * index)
        guid = UUID(bytes_le=raw)
        if flags & 1:  # a user's item says nothing of the disk
            continue
        if guid not in _NAMES:
            if flags & 4:
                raise UnknownFormat(
                    f"{file.path} has metadata {guid} that a reader has to know, and imgkit does not"
                )
            continue
        if guid in items:
            raise CorruptImage(f"{file.path} states its {_NAMES[guid]} twice")
        if offset < _TABLE_SIZE or length > MIB or region.start + offset + length > region.end:
            raise CorruptImage(f"the {_NAMES[guid]} of {file.path} lies outside of its metadata region")
        items[guid] = region.start + offset, length
    return items


def _item(file: EvidenceFile, items: Mapping[UUID, tuple[int, int]], guid: UUID) -> bytes:
    if guid not in items:
        raise CorruptImage(f"{file.path} does not state its {_NAMES[guid]}")
    offset, length = items[guid]
    wanted = _SIZES.get(guid)
    if wanted is not None and length < wanted:
        raise CorruptImage(f"the {_NAMES[guid]} of {file.path} has {length} bytes, and {wanted} are needed")
    return file.read_at(offset, length if wanted is None else wanted)


def _parent_locator(file: EvidenceFile, item: bytes) -> dict[str, str]:
    """2.6.2.6: a table of keys and values, UTF-16."""
    if len(item) < 20 or UUID(bytes_le=item[:16]) != _VHDX_PARENT:
        raise UnknownFormat(f"{file.path} names its parent in a way that is not a VHDX's")
    (count,) = struct.unpack_from("<H", item, 18)
    if count > _MOST_PAIRS:  # entries may share their bytes: 65,535 of 64 KiB each would fit
        raise CorruptImage(
            f"the parent locator of {file.path} states {count} entries, more than the {_MOST_PAIRS} that are read"
        )
    pairs: dict[str, str] = {}
    for index in range(count):
        entry = item[20 + 12 * index : 32 + 12 * index]
        if len(entry) < 12:
            raise CorruptImage(
                f"the parent locator of {file.path} states {count} entries, more than it holds"
            )
        key_at, value_at, key_length, value_length = struct.unpack("<IIHH", entry)
        key = item[key_at : key_at + key_length].decode("utf-16-le", "replace")
        pairs.setdefault(key, item[value_at : value_at + value_length].decode("utf-16-le", "replace"))
    return pairs
