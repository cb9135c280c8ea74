"""The dynamic disk header of a VHD and its parent locators: specification 1.0, "Dynamic Disk Header Format"."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from imgkit.containers.block_table import Area
from imgkit.containers.vhd.footer import checksum
from imgkit.errors import CorruptImage

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.vhd.footer import Footer

_COOKIE = b"cxsparse"
_SIZE = 1024
_LAYOUT = struct.Struct(">8sQQIIII16sI4x512s")
_LOCATORS = 576  # offset in the header of eight entries
_LOCATOR = struct.Struct(">4sIII Q")
_SMALLEST_BLOCK, _LARGEST_BLOCK = 4096, 256 << 20
_MOST_BLOCKS = 1 << 26  # 128 TiB in blocks of 2 MiB; billions would take minutes to go through
_LONGEST_LOCATOR = 64 << 10
# Platform code -> encoding, in the order in which they are tried: a relative path survives a move of the folder.
_WINDOWS_PATHS = {b"W2ru": "utf-16-le", b"Wi2r": "ascii", b"W2ku": "utf-16-le", b"Wi2k": "ascii"}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a dynamic disk header that is sound.

    Attributes:
        parent_paths: What the parent locators and the header call the parent, in the order to try.
        areas: The parts of the file that hold the header, the table and the locators.
    """

    table_offset: int
    max_table_entries: int
    block_size: int
    parent_unique_id: UUID
    parent_time_stamp: int
    parent_paths: tuple[str, ...]
    areas: tuple[Area, ...]


def read_header(file: EvidenceFile, footer: Footer) -> Header:
    """Read and check the header that the footer points to.

    Raises:
        CorruptImage: It fails its checksum, or its numbers cannot be meant.
    """
    block = file.read_at(footer.data_offset, _SIZE)
    if len(block) < _SIZE or not block.startswith(_COOKIE):
        raise CorruptImage(
            f"{file.path} has no dynamic disk header at {footer.data_offset}, where its footer points"
        )
    if int.from_bytes(block[36:40], "big") != checksum(block, 36):
        raise CorruptImage(
            f"the dynamic disk header of {file.path} fails its checksum",
            hint="copy the image again from the source; nothing in the file repeats this header",
        )
    fields = _LAYOUT.unpack_from(block)
    _cookie, _data_offset, table_offset, version, entries, block_size, _checksum = fields[:7]
    parent_id, parent_time, parent_name = fields[7:]
    if version >> 16 != 1:
        raise CorruptImage(
            f"{file.path} has a dynamic disk header of version {version >> 16}, and only 1 is known"
        )
    header_area = Area(footer.data_offset, footer.data_offset + _SIZE, "the dynamic disk header")
    table = Area(table_offset, table_offset + 4 * entries, "the block allocation table")
    paths, areas = _locators(file, block)
    name = parent_name.decode("utf-16-be", "replace").split("\0")[0]
    header = Header(
        table_offset=table_offset,
        max_table_entries=entries,
        block_size=block_size,
        parent_unique_id=UUID(bytes=parent_id),
        parent_time_stamp=parent_time,
        parent_paths=(*paths, name) if name else paths,
        areas=(Area(0, 512, "the copy of the footer"), header_area, table, *areas),
    )
    _check(file, footer, header)
    return header


def _check(file: EvidenceFile, footer: Footer, header: Header) -> None:
    size = header.block_size
    if not _SMALLEST_BLOCK <= size <= _LARGEST_BLOCK or size & (size - 1):
        raise CorruptImage(
            f"{file.path} states blocks of {size} bytes: not a power of two from {_SMALLEST_BLOCK} to {_LARGEST_BLOCK}"
        )
    needed = -(-footer.current_size // size)
    if header.max_table_entries < needed:
        raise CorruptImage(
            f"{file.path} has a table of {header.max_table_entries} blocks of {size} bytes, "
            f"too few for the {footer.current_size} bytes of its disk"
        )
    if header.table_offset < 512 or header.table_offset + 4 * needed > file.stat.st_size:
        raise CorruptImage(
            f"{file.path} ends at {file.stat.st_size}, before the end of its block table "
            f"({4 * needed} bytes at {header.table_offset})",
            hint="the file was cut short: copy it again from the source",
        )
    if needed > _MOST_BLOCKS:
        raise CorruptImage(
            f"{file.path} states a disk of {needed} blocks, more than the {_MOST_BLOCKS} that are read"
        )


def _locators(file: EvidenceFile, block: bytes) -> tuple[tuple[str, ...], tuple[Area, ...]]:
    """The paths in the order to try, and where in the file they lie."""
    found: dict[bytes, str] = {}
    areas = []
    for index in range(8):
        code, _space, length, _reserved, offset = _LOCATOR.unpack_from(
            block, _LOCATORS + _LOCATOR.size * index
        )
        if code not in _WINDOWS_PATHS or not 0 < length <= _LONGEST_LOCATOR:
            continue
        path = file.read_at(offset, length).decode(_WINDOWS_PATHS[code], "replace").split("\0")[0]
        found.setdefault(code, path)
        areas.append(Area(offset, offset + length, "a parent locator"))
    return tuple(found[code] for code in _WINDOWS_PATHS if found.get(code)), tuple(areas)
