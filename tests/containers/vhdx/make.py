"""VHDX files made by hand: differencing ones, which no tool at hand writes, and broken ones. [MS-VHDX]."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MIB = 1 << 20
KIB = 1 << 10
ABSENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7
NO_LOG = UUID(int=0)
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
DISK_ID = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
VHDX_PARENT = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")


def crc32c(data: bytes) -> int:
    """Castagnoli, a nibble at a time."""
    table = []
    for row in range(16):
        value = row
        for _ in range(4):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        crc = crc >> 4 ^ table[crc & 15]
        crc = crc >> 4 ^ table[crc & 15]
    return crc ^ 0xFFFFFFFF


def summed(block: bytes, size: int) -> bytes:
    """The block, filled up to `size`, with its checksum in bytes 4 to 8."""
    block = (block[:4] + bytes(4) + block[8:]).ljust(size, b"\0")
    return block[:4] + struct.pack("<I", crc32c(block)) + block[8:]


def header(number: int, data_write: UUID, *, log: UUID = NO_LOG, version: int = 1) -> bytes:
    fields = (
        b"head",
        0,
        number,
        UUID(int=number).bytes_le,
        data_write.bytes_le,
        log.bytes_le,
        0,
        version,
        MIB,
        MIB,
    )
    return summed(struct.pack("<4sIQ16s16s16sHHIQ", *fields), 4 * KIB)


def region_table(regions: Mapping[UUID, tuple[int, int, int]]) -> bytes:
    entries = b"".join(struct.pack("<16sQII", guid.bytes_le, *where) for guid, where in regions.items())
    return summed(struct.pack("<4sIII", b"regi", 0, len(regions), 0) + entries, 64 * KIB)


def parent_locator(pairs: Mapping[str, str]) -> bytes:
    entries = body = b""
    start = 20 + 12 * len(pairs)
    for key, value in pairs.items():
        raw = key.encode("utf-16-le"), value.encode("utf-16-le")
        at = start + len(body)
        entries += struct.pack("<IIHH", at, at + len(raw[0]), len(raw[0]), len(raw[1]))
        body += raw[0] + raw[1]
    return VHDX_PARENT.bytes_le + struct.pack("<HH", 0, len(pairs)) + entries + body


def metadata_table(items: Mapping[UUID, tuple[bytes, int]]) -> bytes:
    """Items: (bytes, flags: 1 user, 2 of the virtual disk, 4 required)."""
    entries = body = b""
    for guid, (value, flags) in items.items():
        entries += struct.pack("<16sIII4x", guid.bytes_le, 64 * KIB + len(body), len(value), flags)
        body += value
    table = struct.pack("<8sHH20x", b"metadata", 0, len(items)) + entries
    return table.ljust(64 * KIB, b"\0") + body


@dataclass
class Vhdx:
    """A VHDX, laid out as Hyper-V does: header section, log, block table, metadata, blocks.

    Attributes:
        blocks: Block -> (state, bytes of the block, for PARTIAL: which sectors this file has).
        entries: Index in the block table -> entry, over what is right.
        parent: The pairs of the parent locator, or None.
        items: Metadata over what is right: (bytes, flags), or None to leave an item out.
        regions: More regions.
    """

    size: int
    data_write: UUID
    block_size: int = MIB
    sector: int = 512
    blocks: dict[int, tuple[int, bytes, list[bool]]] = field(default_factory=dict)
    entries: dict[int, int] = field(default_factory=dict)
    parent: Mapping[str, str] | None = None
    items: dict[UUID, tuple[bytes, int] | None] = field(default_factory=dict)
    regions: dict[UUID, tuple[int, int, int]] = field(default_factory=dict)
    log: UUID = NO_LOG
    version: int = 1

    @property
    def ratio(self) -> int:
        return (self.sector << 23) // self.block_size

    @property
    def count(self) -> int:
        return -(-self.size // self.block_size)

    @property
    def bat_size(self) -> int:
        entries = -(-self.count // self.ratio) * (self.ratio + 1)
        return -(-8 * entries // MIB) * MIB

    def write(self, path: Path) -> Path:
        bat_at, metadata_at = 2 * MIB, 2 * MIB + self.bat_size
        regions = {BAT: (bat_at, self.bat_size, 1), METADATA: (metadata_at, MIB, 1), **self.regions}
        table = region_table(regions)
        parts = {
            0: b"vhdxfile" + "made by a test".encode("utf-16-le"),
            64 * KIB: header(7, self.data_write, log=self.log, version=self.version),
            128 * KIB: header(6, UUID(int=99)),
            192 * KIB: table,
            256 * KIB: table,
            metadata_at: metadata_table(self._items()),
        }
        entries, body = self._body(metadata_at + MIB)
        for index, entry in {**entries, **self.entries}.items():
            parts[bat_at + 8 * index] = struct.pack("<Q", entry)
        with path.open("wb") as file:
            for at, part in {**parts, **body}.items():
                file.seek(at)
                file.write(part)
            file.truncate(max(metadata_at + MIB, file.seek(0, 2)))
        return path

    def _items(self) -> dict[UUID, tuple[bytes, int]]:
        items: dict[UUID, tuple[bytes, int] | None] = {
            FILE_PARAMETERS: (struct.pack("<II", self.block_size, 2 if self.parent is not None else 0), 4),
            DISK_SIZE: (struct.pack("<Q", self.size), 6),
            DISK_ID: (UUID(int=5).bytes_le, 6),
            LOGICAL_SECTOR: (struct.pack("<I", self.sector), 6),
            PHYSICAL_SECTOR: (struct.pack("<I", 4096), 6),
        }
        if self.parent is not None:
            items[PARENT_LOCATOR] = (parent_locator(self.parent), 4)
        return {guid: item for guid, item in {**items, **self.items}.items() if item is not None}

    def _body(self, at: int) -> tuple[dict[int, int], dict[int, bytes]]:
        """The entries of the block table, and what lies behind the metadata."""
        entries: dict[int, int] = {}
        body: dict[int, bytes] = {}
        bitmaps: dict[int, bytearray] = {}
        for block, (state, data, present) in self.blocks.items():
            index = block + block // self.ratio
            if state not in {FULL, PARTIAL}:
                entries[index] = state
                continue
            entries[index] = at | state
            body[at] = data.ljust(self.block_size, b"\0")
            at += self.block_size
            if state == PARTIAL:
                chunk, inside = divmod(block, self.ratio)
                start = inside * (self.block_size // self.sector // 8)
                raw = packed(present)
                bitmaps.setdefault(chunk, bytearray(MIB))[start : start + len(raw)] = raw
        for chunk, bitmap in bitmaps.items():
            entries[(chunk + 1) * (self.ratio + 1) - 1] = at | 6
            body[at] = bytes(bitmap)
            at += MIB
        return entries, body


def packed(bits: list[bool]) -> bytes:
    """The sector bitmap, the lowest bit of a byte first."""
    return int("".join("01"[bit] for bit in reversed(bits)), 2).to_bytes(len(bits) // 8, "little")


def some_blocks(
    plan: Vhdx, below: bytes, seed: int, *, zeros: bool = True
) -> tuple[dict[int, tuple[int, bytes, list[bool]]], bytes]:
    """Blocks of every state for a differencing disk over `below`, and the media that result.

    Args:
        plan: Size, sector and block size.
        below: The parent's media.
        seed: Of the choice.
        zeros: Blocks of the states that hide the parent's, too.
    """
    rng = random.Random(seed)
    media = bytearray(below[: plan.size].ljust(plan.size, b"\0"))
    blocks = {}
    for block in range(plan.count):
        state = rng.choice([ABSENT, FULL, PARTIAL, PARTIAL, *([ZERO, UNDEFINED, UNMAPPED] if zeros else [])])
        start = block * plan.block_size
        end = min(start + plan.block_size, plan.size)
        sectors = plan.block_size // plan.sector
        present = [state == FULL or rng.random() < 0.5 for _ in range(sectors)]
        data = rng.randbytes(plan.block_size)
        if state in {ZERO, UNDEFINED, UNMAPPED}:
            media[start:end] = bytes(end - start)
        elif state in {FULL, PARTIAL}:
            for sector, here in enumerate(present):
                low, high = start + sector * plan.sector, min(start + (sector + 1) * plan.sector, end)
                if here and low < high:
                    media[low:high] = data[low - start : high - start]
        blocks[block] = (state, data, present)
    return blocks, bytes(media)
