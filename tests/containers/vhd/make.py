"""VHD files made by hand: differencing ones, which no tool at hand writes, and broken ones. Specification 1.0."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
UNUSED = 0xFFFFFFFF


def summed(block: bytes, at: int) -> bytes:
    """The block with its checksum put in at `at`."""
    cleared = block[:at] + bytes(4) + block[at + 4 :]
    return cleared[:at] + struct.pack(">I", ~sum(cleared) & 0xFFFFFFFF) + cleared[at + 4 :]


def geometry(size: int) -> tuple[int, int, int]:
    return min(65535, size // SECTOR // (4 * 17)), 4, 17


def footer(size: int, kind: int, identifier: UUID, *, stamp: int = 700_000_000, **other: int) -> bytes:
    """A footer of 512 bytes; `other`: current_size, saved_state, data_offset, version; tapdisk: creator, of that version."""
    block = struct.pack(
        ">8sIIQI4sI4sQQHBBII16sB427x",
        b"conectix",
        2,
        other.get("version", 0x10000),
        other.get("data_offset", UNUSED << 32 | UNUSED if kind == FIXED else SECTOR),
        stamp,
        b"tap\0" if "tapdisk" in other else b"win ",
        other.get("tapdisk", 0x60001),
        b"Wi2k",
        size,
        other.get("current_size", size),
        *geometry(size),
        kind,
        0,
        identifier.bytes,
        other.get("saved_state", 0),
    )
    return summed(block, 64)


@dataclass
class Parent:
    """What a differencing disk says of its parent.

    Attributes:
        locators: (platform code, path) in the order of the table.
    """

    identifier: UUID
    stamp: int = 700_000_000
    name: str = "base.vhd"
    locators: tuple[tuple[bytes, str], ...] = ((b"W2ru", ".\\base.vhd"), (b"W2ku", "C:\\images\\base.vhd"))


@dataclass
class Vhd:
    """A dynamic or differencing disk.

    Attributes:
        blocks: Block -> (present: for each sector whether this file has it, bytes of the block); others are absent.
        entries: Block -> table entry, over what is right.
    """

    size: int
    identifier: UUID
    block_size: int = 1 << 16
    blocks: dict[int, tuple[list[bool], bytes]] = field(default_factory=dict)
    parent: Parent | None = None
    entries: dict[int, int] = field(default_factory=dict)
    saved_state: int = 0

    @property
    def count(self) -> int:
        return -(-self.size // self.block_size)

    def write(self, path: Path) -> Path:
        kind = DIFFERENCING if self.parent else DYNAMIC
        end = footer(self.size, kind, self.identifier, saved_state=self.saved_state)
        table_size = -(-4 * self.count // SECTOR) * SECTOR
        at = SECTOR + 1024 + table_size
        header, locators = self._header(at)
        at += len(locators)
        table, body = [UNUSED] * self.count, b""
        for block, (present, data) in self.blocks.items():
            table[block] = (at + len(body)) // SECTOR
            body += bitmap(present, self.block_size) + data.ljust(self.block_size, b"\0")
        for block, entry in self.entries.items():
            table[block] = entry
        raw = struct.pack(f">{self.count}I", *table).ljust(table_size, b"\xff")
        path.write_bytes(end + header + raw + locators + body + end)
        return path

    def _header(self, at: int) -> tuple[bytes, bytes]:
        """The header, and the locators which begin at `at`."""
        parent = self.parent or Parent(UUID(int=0), stamp=0, name="", locators=())
        entries = locators = b""
        for code, path in parent.locators:
            raw = path.encode("utf-16-le" if code[:2] == b"W2" else "ascii")
            entries += struct.pack(">4sIIIQ", code, SECTOR, len(raw), 0, at + len(locators))
            locators += raw.ljust(SECTOR, b"\0")
        block = struct.pack(
            ">8sQQIIII16sI4x512s192s256x",
            b"cxsparse",
            UNUSED << 32 | UNUSED,
            SECTOR + 1024,
            0x10000,
            self.count,
            self.block_size,
            0,
            parent.identifier.bytes,
            parent.stamp,
            parent.name.encode("utf-16-be"),
            entries,
        )
        return summed(block, 36), locators


def bitmap(present: list[bool], block_size: int) -> bytes:
    """The sector bitmap, the highest bit of a byte first, rounded up to whole sectors."""
    bits = "".join("01"[here] for here in present).ljust(block_size // SECTOR, "0")
    raw = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return raw.ljust(-(-len(raw) // SECTOR) * SECTOR, b"\0")


def some_blocks(
    size: int, block_size: int, below: bytes, seed: int, *, grain: int = 1
) -> tuple[dict[int, tuple[list[bool], bytes]], bytes]:
    """Blocks of a differencing disk over `below`: absent, whole and mixed ones; and the media that result.

    Args:
        size: Of the disk.
        block_size: Of a block.
        below: The parent's media.
        seed: Of the choice.
        grain: Sectors that are there or not together.
    """
    rng = random.Random(seed)
    media = bytearray(below[:size].ljust(size, b"\0"))
    blocks = {}
    for block in range(-(-size // block_size)):
        kind = rng.choice(["absent", "whole", "mixed", "mixed"])
        if kind == "absent":
            continue
        sectors = block_size // SECTOR
        pieces = [kind == "whole" or rng.random() < 0.5 for _ in range(-(-sectors // grain))]
        present = [pieces[sector // grain] for sector in range(sectors)]
        data = b"".join(rng.randbytes(SECTOR) if here else bytes(SECTOR) for here in present)
        for sector, here in enumerate(present):
            start = block * block_size + sector * SECTOR
            if here and start < size:
                media[start : start + SECTOR] = data[sector * SECTOR : (sector + 1) * SECTOR]
        blocks[block] = (present, data)
    return blocks, bytes(media)


def fixed(path: Path, media: bytes, identifier: UUID) -> Path:
    path.write_bytes(media + footer(len(media), FIXED, identifier))
    return path
