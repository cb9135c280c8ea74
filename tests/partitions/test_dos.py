"""Our MBR reader: rows, chains, disguises, LBA sizes."""

from __future__ import annotations

import signal
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import MediaReadError, PartitionError, UsageError
from imgkit.image import Extent
from imgkit.partitions import PartitionTable, read_partition_table
from imgkit.partitions.dos import boot_sector, parse_mbr
from imgkit.partitions.dos_types import DOS_TYPES
from tests.partitions.disks import MIB, MemoryImage, boot_record, codes, extents, mbr_row, write_image

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = mbr_row(0, 0, 0)


def disk(rows: list[bytes], size: int = 64 * MIB, **records: list[bytes]) -> MemoryImage:
    """An MBR with these rows; `at_N` puts an extended boot record at LBA N."""
    image = MemoryImage(size, {0: boot_record(rows, signature=0xCAFE1234)})
    for key, items in records.items():
        image.put(int(key.removeprefix("at_")) * 512, boot_record(items))
    return image


def read(image: MemoryImage, sector_size: int | None = None) -> PartitionTable:
    return read_partition_table(image, sector_size=sector_size)


def fat_boot_sector(rows: list[bytes]) -> bytes:
    sector = bytearray(boot_record(rows, signature=0x29))
    sector[0:3], sector[3:11] = b"\xeb\x3c\x90", b"MSDOS5.0"
    struct.pack_into("<HBHBHHBH", sector, 11, 512, 4, 1, 2, 512, 0xFFFF, 0xF8, 64)
    return bytes(sector)


def test_primaries() -> None:
    table = read(disk([mbr_row(0x07, 2048, 4096, flag=0x80), EMPTY, mbr_row(0x83, 8192, 1)]))
    assert (table.scheme, table.id, table.sector_size) == ("dos", "0xcafe1234", 512)
    assert [(row.number, row.slot, row.type, row.bootable) for row in table.partitions] == [
        (1, 0, "0x07", True),
        (3, 2, "0x83", False),
    ]
    assert table.partitions[0].type_name == "NTFS, exFAT or HPFS"
    assert extents(table.partitions) == [(MIB, 2 * MIB), (4 * MIB, 512)]
    assert table.findings == ()


def test_type_names_are_eighty_and_more() -> None:
    assert len(DOS_TYPES) >= 80
    assert all(0 <= kind <= 255 and name for kind, name in DOS_TYPES.items())


def test_a_chain_with_every_oddity() -> None:
    image = disk(
        [mbr_row(0x83, 63, 100), mbr_row(0x0F, 2048, 60000)],
        at_2048=[mbr_row(0x83, 63, 100), mbr_row(0x05, 1000, 500)],
        at_3048=[mbr_row(0x05, 3000, 500), mbr_row(0x82, 63, 50), EMPTY, mbr_row(0x83, 0x700000, 5)],
        at_5048=[mbr_row(0x83, 63, 100), mbr_row(0x05, 9000, 1), mbr_row(0x85, 9500, 1)],
        at_11048=[mbr_row(0x07, 10, 10)],
    )
    table = read(image)
    assert [(row.number, row.extent.offset // 512, row.logical) for row in table.partitions] == [
        (1, 63, False),
        (5, 2111, True),
        (6, 3111, True),
        (7, 5111, True),
        (8, 11058, True),
    ]
    assert codes(table) >= {"dos.row-ignored", "dos.ebr-branches"}
    assert [(item.slot, item.type, item.extent) for item in table.containers] == [
        (1, "0x0f", Extent(MIB, 60000 * 512))
    ]


def test_a_chain_beyond_the_end_of_a_truncated_acquisition() -> None:
    image = disk(
        [mbr_row(0x05, 2048, 60000)], at_2048=[mbr_row(0x83, 63, 10), mbr_row(0x05, 40000, 10)], size=4 * MIB
    )
    table = read(image)
    assert codes(table) >= {"dos.beyond-end", "table.beyond-end"}
    assert [row.number for row in table.partitions] == [5]


def test_a_chain_that_never_ends_is_left() -> None:
    size = 1 << 40
    image = MemoryImage(size)

    def read_into(offset: int, buffer: memoryview) -> int:
        at = offset // 512
        buffer[:] = bytes(len(buffer))
        if at == 0 and len(buffer) == 512:
            buffer[:] = boot_record([mbr_row(0x05, 1, 0xFFFFFFF0)], signature=1)
        elif len(buffer) == 512 and at < 1 << 31:
            buffer[:] = boot_record([EMPTY, mbr_row(0x05, at, 1)])
        return len(buffer)

    image.read_into = read_into  # type: ignore[method-assign]
    table = read(image)
    assert codes(table) >= {"dos.ebr-limit", "witness.blkid-skipped"}


def test_libblkid_is_not_led_along_a_long_chain() -> None:
    """It takes 6 s for 30,000 records, and four times as long for twice as many."""
    chain = {
        f"at_{2048 + 2 * n}": [mbr_row(0x83, 1, 1), mbr_row(0x05, 2 * (n + 1), 2) if n < 3000 else EMPTY]
        for n in range(3001)
    }
    table = read(disk([mbr_row(0x05, 2048, 8000)], 64 * MIB, **chain))
    assert len(table.partitions) == 3001
    assert "witness.blkid-skipped" in codes(table)
    assert "witness.blkid-differs" not in codes(table)


@pytest.mark.parametrize("rows", [[mbr_row(0x83, 0, 131072)], [mbr_row(0x0C, 0, 131072, flag=0x80)]])
def test_a_row_at_0_is_the_volume_itself_behind_a_boot_sector(rows: list[bytes]) -> None:
    image = MemoryImage(64 * MIB, {0: fat_boot_sector(rows)})
    table = read(image)
    assert table.scheme == "none"
    assert "dos.boot-sector" in codes(table)
    assert extents(read(disk(rows)).partitions) == [(0, 64 * MIB)]


def test_stale_boot_code_in_front_of_a_sound_table() -> None:
    image = MemoryImage(64 * MIB, {0: fat_boot_sector([mbr_row(0x83, 2048, 4096)])})
    assert extents(read(image).partitions) == [(MIB, 2 * MIB)]


def test_boot_code_is_no_table() -> None:
    text = b"\r\nRemove disks or other media.\xff\r\nDisk error\xff\r\nPress any key to restart\r\n"
    for sector in (fat_boot_sector([]), boot_record([])):
        raw = bytearray(sector)
        raw[446:510] = text.ljust(64, b"!")[:64]
        table = read(MemoryImage(64 * MIB, {0: bytes(raw)}))
        assert (table.scheme, table.partitions) == ("none", ())


def test_boot_sectors_by_their_parameter_block() -> None:
    ntfs = bytearray(512)
    ntfs[0], ntfs[3:11] = 0xEB, b"NTFS    "
    struct.pack_into("<HBH", ntfs, 11, 512, 8, 0)
    exfat = bytearray(512)
    exfat[0], exfat[3:11], exfat[108] = 0xEB, b"EXFAT   ", 9
    assert boot_sector(bytes(ntfs)) == "NTFS"
    assert boot_sector(bytes(exfat)) == "exFAT"
    assert boot_sector(fat_boot_sector([])) == "FAT"
    assert boot_sector(bytes(512)) is None
    assert boot_sector(b"\xeb" * 512) is None


def test_short_sectors() -> None:
    assert parse_mbr(b"") is None
    assert parse_mbr(bytes(511)) is None
    assert parse_mbr(bytes(512)) is None


def test_an_mbr_that_nobody_filled() -> None:
    table = read(disk([]))
    assert (table.scheme, table.partitions, table.id) == ("dos", (), "0xcafe1234")


def test_two_active_partitions() -> None:
    table = read(disk([mbr_row(0x83, 2048, 100, flag=0x80), mbr_row(0x83, 4096, 100, flag=0x80)]))
    assert "dos.several-active" in codes(table)


@pytest.mark.parametrize("row", [0x05, 0x83])
def test_lbas_of_4096_from_an_extended_record_or_a_volume(row: int, tmp_path: Path) -> None:
    image = disk([mbr_row(0x83, 64, 64), mbr_row(row, 256, 2048)])
    if row == 0x05:
        image.put(256 * 4096, boot_record([mbr_row(0x83, 1, 100)]))
    path = write_image(tmp_path / "disk.img", image)
    if row == 0x83:
        subprocess.run(["mke2fs", "-Fqt", "ext4", "-E", f"offset={256 * 4096}", path, "8M"], check=True)
    with open_image(path) as opened:
        table = read_partition_table(opened)
        stated = read_partition_table(opened, sector_size=512)
    assert table.sector_size == 4096
    assert table.partitions[0].extent == Extent(64 * 4096, 64 * 4096)
    assert "sector-size.guessed" in codes(table)
    assert stated.sector_size == 512
    assert "sector-size.guessed" not in codes(stated)


def test_lbas_of_4096_where_the_container_says_so() -> None:
    image = disk([mbr_row(0x83, 256, 256)])
    image.sector_size = 4096
    table = read(image)
    assert (table.sector_size, extents(table.partitions)) == (4096, [(MIB, MIB)])


def test_a_nested_label_needs_no_descriptor() -> None:
    """FreeBSD's label in a slice, as the kernel's numbers: from 5 on."""
    label = bytearray(512)
    struct.pack_into("<I", label, 0, 0x82564557)
    struct.pack_into("<I", label, 132, 0x82564557)
    struct.pack_into("<HII", label, 138, 8, 8192, 8192)
    struct.pack_into("<IIIBBH", label, 148, 1000, 4096, 0, 7, 0, 0)
    struct.pack_into("<IIIBBH", label, 164, 2000, 8192, 0, 1, 0, 0)
    struct.pack_into(
        "<IIIBBH", label, 180, 16384, 4096, 0, 0, 0, 0
    )  # c: the slice; where it starts at 0, all do
    checksum = 0
    for (word,) in struct.iter_unpack("<H", label[: 148 + 8 * 16]):
        checksum ^= word
    struct.pack_into("<H", label, 136, checksum)
    image = disk([mbr_row(0xA5, 4096, 16384)])
    image.put((4096 + 1) * 512, bytes(label))
    table = read(image)
    assert [(row.number, row.extent.offset // 512, row.logical) for row in table.partitions] == [
        (1, 4096, False),
        (5, 4096, True),
        (6, 8192, True),
    ]
    assert codes(table) == {"dos.nested-table"}


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4096, 1 << 24])
def test_nothing_is_said_to_be_nothing(size: int) -> None:
    table = read(MemoryImage(size))
    assert (table.scheme, table.partitions) == ("none", ())
    assert "table.none" in codes(table)
    assert table.gaps == ((Extent(0, size),) if size else ())


def test_an_unreadable_sector_0_is_no_empty_disk() -> None:
    image = disk([mbr_row(0x83, 2048, 100)])
    image.unreadable = [Extent(0, 512)]
    with pytest.raises(PartitionError, match="cannot tell whether"):
        read(image)


def test_an_unreadable_end_is_a_finding_beside_a_table() -> None:
    image = disk([mbr_row(0x83, 2048, 100)])
    image.unreadable = [Extent(image.size - 512, 512)]
    table = read(image)
    assert table.scheme == "dos"
    assert "media.unreadable" in codes(table)


def test_sector_sizes_that_do_not_exist() -> None:
    with pytest.raises(UsageError):
        read(disk([]), 520)


def test_size_is_no_matter() -> None:
    """20 TiB of sparse media: a handful of reads."""
    image = disk([mbr_row(0x83, 2048, 0xFFFFFFF0)], size=20 << 40)
    table = read(image)
    assert len(table.partitions) == 1
    assert image.bytes_read < 64 * MIB


def test_an_interrupt_inside_a_callback_is_an_interrupt() -> None:
    image = disk([mbr_row(0x83, 2048, 100)])
    from imgkit.partitions.tsk import read_tsk

    def interrupt(offset: int, buffer: memoryview) -> int:
        raise KeyboardInterrupt

    image.read_into = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        read_tsk(image)


def test_a_signal_waits_until_tsk_is_done() -> None:
    """A handler that raised into C would be a RuntimeError, or nothing."""
    from imgkit.partitions.tsk import read_tsk

    image = disk([mbr_row(0x83, 2048, 100)])
    read = image.read_into
    reads: list[int] = []

    def interrupted(offset: int, buffer: memoryview) -> int:
        if not reads:
            signal.raise_signal(signal.SIGINT)
        reads.append(offset)
        return read(offset, buffer)

    image.read_into = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        read_tsk(image)
    assert len(reads) > 1


def test_a_read_error_inside_a_callback_is_a_read_error() -> None:
    from imgkit.partitions.tsk import read_tsk

    image = disk([mbr_row(0x83, 2048, 100)])
    image.unreadable = [Extent(0, 4096)]
    with pytest.raises(MediaReadError):
        read_tsk(image)
