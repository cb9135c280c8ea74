"""The Amiga's rigid disk block: no other reader here knows it, so it is read without a witness, and a finding says so.

Format: Amiga hardblocks.h (NDK 3.9): big-endian 32-bit words, blocks named by number, every block sums to zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgkit.image import Extent
from imgkit.partitions.table import Finding, Partition

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]

_LOCATION_LIMIT: Final = 16  # RDB_LOCATION_LIMIT: the block lies in the first 16
_LIMIT_PARTITIONS: Final = 1024
_END: Final = 0xFFFFFFFF
_LIMIT_BYTES: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class AmigaTable:
    """The partitions of a rigid disk block, with what was seen."""

    partitions: tuple[Partition, ...]
    findings: tuple[Finding, ...]


def read_amiga(read: Read) -> AmigaTable | None:
    """Read the table, or return None where no rigid disk block is."""
    start = read(0, _LOCATION_LIMIT * 512)
    for at in range(0, len(start) - 511, 512):
        block = start[at : at + 512]
        if block[:4] == b"RDSK" and _sums_to_zero(block):
            return _partitions(read, at, block)
    return None


def _sums_to_zero(block: bytes) -> bool:
    """The longwords that the second one counts sum to zero."""
    count = int.from_bytes(block[4:8], "big")
    return 0 < count <= 128 and sum(struct.unpack_from(f">{count}I", block)) & 0xFFFFFFFF == 0


def _partitions(read: Read, at: int, rdb: bytes) -> AmigaTable:
    """Follow rdb_PartitionList; each block is visited once."""
    size, link = struct.unpack_from(">4xI", rdb, 12)[0], struct.unpack_from(">I", rdb, 28)[0]
    text = f"an Amiga rigid disk block at {at}; neither the Sleuth Kit nor libblkid reads it: no witness"
    findings = [Finding("amiga.rigid-disk-block", "info", text)]
    size = size if size in {512, 1024, 2048, 4096} else 512
    found: list[Partition] = []
    visited: set[int] = set()
    while link != _END and len(visited) < _LIMIT_PARTITIONS:
        block = read(link * size, 512)
        if link in visited or block[:4] != b"PART" or len(block) < 512 or not _sums_to_zero(block):
            text = f"the list of partition blocks breaks at block {link}: no PART, a wrong sum or a loop"
            findings.append(Finding("amiga.broken-list", "error", text))
            break
        visited.add(link)
        partition = _partition(len(visited) - 1, block)
        if partition is not None:
            found.append(partition)
        link = int.from_bytes(block[16:20], "big")
    return AmigaTable(tuple(found), tuple(findings))


def _partition(slot: int, block: bytes) -> Partition | None:
    """One PART block in bytes: cylinders, inclusive, of heads times sectors."""
    words = struct.unpack_from(">17I", block, 128)  # the DosEnvec
    block_size, heads, sectors, low, high, kind = (
        words[1] * 4,
        words[3],
        words[5],
        words[9],
        words[10],
        words[16],
    )
    cylinder = heads * sectors * block_size
    if high < low or not cylinder or (high + 1) * cylinder > _LIMIT_BYTES:
        return None
    name = block[37 : 37 + min(block[36], 31)].decode("latin-1")
    extent = Extent(low * cylinder, (high + 1 - low) * cylinder)
    dos_type = kind.to_bytes(4, "big")
    shown = dos_type[:3].decode("latin-1") if dos_type[:3].isalnum() else ""
    named = f"{shown}\\{dos_type[3]}" if shown else ""
    bootable = bool(int.from_bytes(block[20:24], "big") & 1)
    return Partition(slot + 1, slot, extent, f"0x{kind:08x}", named, name, bootable=bootable)
