"""The rigid disk block: read where its sums are right, never followed in circles."""

from __future__ import annotations

import struct

import pytest

from imgkit.image import Extent
from imgkit.partitions import read_partition_table
from tests.partitions.disks import MIB, MemoryImage, codes

END = 0xFFFFFFFF


def summed(words: dict[int, int], magic: bytes, name: bytes = b"") -> bytes:
    """A block whose 64 longwords sum to zero; `words` by index."""
    block = bytearray(512)
    block[:4] = magic
    struct.pack_into(">I", block, 4, 64)
    for index, value in words.items():
        struct.pack_into(">I", block, index * 4, value)
    block[36 : 36 + len(name) + 1] = bytes([len(name)]) + name if name else block[36:37]
    total = sum(struct.unpack_from(">64I", block)) & 0xFFFFFFFF
    struct.pack_into(">I", block, 8, -total & 0xFFFFFFFF)
    return bytes(block)


def part(following: int, low: int, high: int) -> bytes:
    environment = {32: 16, 33: 128, 35: 2, 37: 32, 41: low, 42: high, 48: 0x444F5303}
    return summed({4: following, 5: 1} | environment, b"PART", b"DH0")


def disk(first: int, **blocks: bytes) -> MemoryImage:
    image = MemoryImage(64 * MIB, {1024: summed({4: 512, 7: first}, b"RDSK")})
    for name, block in blocks.items():
        image.put(int(name.removeprefix("at_")) * 512, block)
    return image


def test_partitions() -> None:
    table = read_partition_table(disk(3, at_3=part(9, 2, 11), at_9=part(END, 12, 21)))
    cylinder = 2 * 32 * 512
    assert table.scheme == "amiga"
    assert [row.extent for row in table.partitions] == [
        Extent(2 * cylinder, 10 * cylinder),
        Extent(12 * cylinder, 10 * cylinder),
    ]
    row = table.partitions[0]
    assert (row.number, row.name, row.type, row.type_name, row.bootable) == (
        1,
        "DH0",
        "0x444f5303",
        "DOS\\3",
        True,
    )
    assert codes(table) == {"amiga.rigid-disk-block"}


def test_a_wrong_sum_is_no_table() -> None:
    image = disk(3, at_3=part(END, 2, 11))
    image.put(1024 + 100, b"\x01")
    assert read_partition_table(image).scheme == "none"


@pytest.mark.parametrize(
    "image",
    [
        disk(3, at_3=part(3, 2, 11)),
        disk(3, at_3=part(4, 2, 11), at_4=part(3, 1, 1)),
        disk(3, at_3=part(77, 2, 11)),
    ],
)
def test_a_list_that_loops_or_breaks(image: MemoryImage) -> None:
    table = read_partition_table(image)
    assert "amiga.broken-list" in codes(table)
    assert table.partitions


def test_geometry_that_cannot_be_meant() -> None:
    table = read_partition_table(disk(3, at_3=part(4, 11, 2), at_4=part(END, 0, 0xFFFFFFFF)))
    assert [row.slot for row in table.partitions] == [1]
    assert "table.beyond-end" in codes(table)
