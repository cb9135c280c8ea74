"""Our GPT reader: both copies, every check, every bound."""

from __future__ import annotations

import struct
import uuid
import zlib

import pytest

from imgkit.image import Extent
from imgkit.partitions import PartitionTable, read_partition_table
from imgkit.partitions.gpt_types import GPT_TYPES
from tests.partitions.disks import (
    ESP,
    LINUX,
    MIB,
    GptDisk,
    MemoryImage,
    boot_record,
    codes,
    extents,
    mbr_row,
    simple_gpt,
)

ALONE = {"witness.tsk-differs", "witness.blkid-differs"}


def read(image: MemoryImage, sector_size: int | None = None) -> PartitionTable:
    return read_partition_table(image, sector_size=sector_size)


def recrc(header: bytearray) -> bytes:
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    return bytes(header)


@pytest.mark.parametrize("lba", [512, 1024, 2048, 4096])
def test_every_lba_size(lba: int) -> None:
    table = read(simple_gpt(lba=lba).image())
    assert (table.scheme, table.sector_size) == ("gpt", lba)
    assert extents(table.partitions) == [(MIB, 7 * MIB), (8 * MIB, 24 * MIB)]
    assert codes(table) - ALONE == (set() if lba == 512 else {"sector-size.guessed"})
    assert [gap.offset for gap in table.gaps] == [0, 32 * MIB]


def test_facts_of_a_row() -> None:
    disk = simple_gpt()
    disk.rows[3] = (
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        70000,
        70007,
        "Daten ü",
        1 << 63 | 1 << 62 | 1 << 2 | 1 << 50,
    )
    table = read(disk.image())
    row = table.partitions[-1]
    assert (row.number, row.slot, row.name, row.bootable) == (4, 3, "Daten ü", True)
    assert row.type_name == "Microsoft basic data"
    assert row.attributes == ("legacy-bios-bootable", "bit-50", "hidden", "no-drive-letter")
    assert row.extent == Extent(70000 * 512, 8 * 512)
    assert row.guid == str(uuid.uuid5(uuid.NAMESPACE_DNS, "row 3")).upper()
    assert table.id == str(uuid.uuid5(uuid.NAMESPACE_DNS, "disk")).upper()
    assert dict(table.readers).keys() == {"imgkit", "tsk", "libblkid"}


def test_types_are_sixty_and_more_and_written_in_capitals() -> None:
    assert len(GPT_TYPES) >= 60
    assert all(str(uuid.UUID(kind)).upper() == kind for kind in GPT_TYPES)


def test_header_crc_of_the_primary() -> None:
    image = simple_gpt().image()
    image.put(512 + 56, b"\xff")
    table = read(image)
    assert codes(table) >= {"gpt.header-crc", "gpt.backup-used", "gpt.backup-differs"}
    assert extents(table.partitions) == [(MIB, 7 * MIB), (8 * MIB, 24 * MIB)]


def test_a_wrong_header_is_still_read_where_it_is_all_there_is() -> None:
    disk = simple_gpt()
    image = disk.image()
    image.put(512 + 56, b"\xff")
    image.put(disk.last * 512, bytes(512))
    table = read(image)
    assert codes(table) >= {"gpt.header-crc", "gpt.backup-missing"}
    assert len(table.partitions) == 2


def test_a_header_with_neither_sum_nor_place_is_no_header() -> None:
    disk = simple_gpt()
    image = MemoryImage(disk.size)
    image.put(512, disk.header(77, 99, 2)[:88] + b"\x01\x02\x03\x04")
    assert read(image).scheme == "none"


def test_own_lba_is_checked() -> None:
    assert "gpt.header-fields" in codes(read(simple_gpt().image(my=5)))


def test_revision_is_checked() -> None:
    assert "gpt.header-fields" in codes(read(simple_gpt().image(revision=0x20000)))


def test_a_header_of_a_whole_sector_is_read() -> None:
    table = read(simple_gpt().image(size=512))
    assert "gpt.header-crc" not in codes(table)
    assert len(table.partitions) == 2


@pytest.mark.parametrize("size", [0, 91, 513, 0xFFFFFFFF])
def test_a_header_size_out_of_bounds_is_refused(size: int) -> None:
    disk = simple_gpt()
    image = disk.image()
    raw = bytearray(disk.header(1, disk.last, 2))
    struct.pack_into("<I", raw, 12, size)
    image.put(512, bytes(raw))
    assert "gpt.primary-missing" in codes(read(image))


@pytest.mark.parametrize(
    ("count", "entry_size"),
    [(0xFFFFFFFF, 128), (128, 0xFFFFFFFF), (128, 192), (128, 64), (128, 0), (1 << 17, 128)],
)
def test_an_absurd_array_is_never_read(count: int, entry_size: int) -> None:
    disk = simple_gpt()
    image = disk.image()
    raw = bytearray(disk.header(1, disk.last, 2))
    struct.pack_into("<II", raw, 80, count, entry_size)
    image.put(512, recrc(raw))
    table = read(image)
    assert "gpt.primary-missing" in codes(table)
    assert image.bytes_read < 32 * MIB


@pytest.mark.parametrize("entry_size", [128, 256, 512, 4096])
def test_entry_sizes(entry_size: int) -> None:
    disk = simple_gpt()
    disk.entry_size = entry_size
    disk.rows = {0: (ESP, 4096, 8191, "a", 0), 5: (LINUX, 8192, 9000, "b", 0)}
    assert extents(read(disk.image()).partitions) == [(4096 * 512, 4096 * 512), (8192 * 512, 809 * 512)]


def test_more_rows_than_anybody_writes_are_left_with_a_finding() -> None:
    disk = GptDisk(256 * MIB, count=20000)
    disk.rows = {slot: (LINUX, 40000 + slot, 40000 + slot, "", 0) for slot in range(20000)}
    table = read(disk.image())
    assert len(table.partitions) == 8192
    assert table.partitions[-1].number == 8192
    assert "gpt.row-limit" in codes(table)


def test_array_cut_off_by_the_end_of_the_media() -> None:
    image = simple_gpt().image()
    image.size = 1024 + 200
    table = read(image)
    assert codes(table) >= {
        "gpt.array-truncated",
        "media.truncated",
        "gpt.backup-missing",
        "table.beyond-end",
    }
    assert len(table.partitions) == 1


def test_array_crc_picks_the_other_copy() -> None:
    disk = simple_gpt()
    image = disk.image()
    image.put((disk.last - disk.array_lbas) * 512 + 40, b"\x99")
    table = read(image)
    assert codes(table) >= {"gpt.array-crc", "gpt.backup-differs"}
    assert "gpt.backup-used" not in codes(table)


def test_copies_that_name_different_disks() -> None:
    disk = simple_gpt()
    image = disk.image()
    raw = bytearray(disk.header(disk.last, 1, disk.last - disk.array_lbas))
    raw[56] ^= 1
    image.put(disk.last * 512, recrc(raw))
    table = read(image)
    assert any(
        "disk_guid" in finding.message for finding in table.findings if finding.code == "gpt.backup-differs"
    )


def test_backup_where_the_protective_mbr_ends() -> None:
    disk = simple_gpt()
    image = disk.image()
    image.put(512, bytes(512))
    image.size += 3 * MIB
    table = read(image)
    assert codes(table) >= {"gpt.primary-missing", "gpt.backup-misplaced"}
    assert len(table.partitions) == 2


def test_stale_backup_behind_a_file_system_is_not_read() -> None:
    disk = simple_gpt()
    image = disk.image()
    for offset in (0, 512, 1024):
        image.put(offset, bytes(512))
    fat = bytearray(512)
    fat[0:3], fat[3:11] = b"\xeb\x3c\x90", b"mkfs.fat"
    struct.pack_into("<HBHBHHBH", fat, 11, 512, 4, 1, 2, 512, 0xFFFF, 0xF8, 64)
    fat[510:512] = b"\x55\xaa"
    image.put(0, bytes(fat))
    table = read(image)
    assert table.scheme == "none"
    assert "gpt.stale-backup" in codes(table)


@pytest.mark.parametrize("slot", [0, 1, 2, 3])
def test_a_protective_row_in_any_slot(slot: int) -> None:
    disk = simple_gpt()
    image = disk.image()
    rows = [mbr_row(0, 0, 0)] * 4
    rows[slot] = mbr_row(0xEE, 1, disk.last)
    image.put(0, boot_record(rows))
    assert codes(read(image)) - ALONE == set()


def test_hybrid_names_the_other_rows() -> None:
    disk = simple_gpt()
    image = disk.image()
    image.put(0, boot_record([mbr_row(0x0C, 2048, 100), mbr_row(0xEE, 1, 2047)]))
    table = read(image)
    assert table.scheme == "gpt"
    assert any(
        "0x0c at LBA 2048" in finding.message
        for finding in table.findings
        if finding.code == "gpt.hybrid-mbr"
    )


def test_rows_that_cannot_be_meant() -> None:
    disk = simple_gpt()
    disk.rows[2] = (LINUX, 5000, 4999, "reversed", 0)
    disk.rows[3] = (LINUX, 1 << 54, 1 << 54, "past 2^63", 0)
    disk.rows[4] = (LINUX, 3, 3, "inside the array", 0)
    table = read(disk.image())
    assert codes(table) >= {"gpt.row-reversed", "gpt.row-absurd", "gpt.outside-usable"}
    assert [row.number for row in table.partitions] == [1, 2, 5]


def test_the_last_row_that_can_be_meant() -> None:
    disk = simple_gpt()
    disk.rows = {0: (LINUX, 4096, (1 << 63) // 512 - 1, "to the end of loff_t", 0)}
    table = read(disk.image())
    assert table.partitions[0].extent.end == 1 << 63
    assert "table.beyond-end" in codes(table)


def test_same_guid_twice() -> None:
    disk = simple_gpt()
    image = disk.image()
    array = bytearray(disk.array())
    array[128 + 16 : 128 + 32] = array[16:32]
    header = bytearray(disk.header(1, disk.last, 2))
    struct.pack_into("<I", header, 88, zlib.crc32(array))
    image.put(512, recrc(header))
    image.put(1024, bytes(array))
    assert "gpt.duplicate-guid" in codes(read(image))


def test_names_keep_what_is_written() -> None:
    disk = simple_gpt()
    disk.rows[0] = (ESP, 2048, 4095, "a\u202eb\x07\n", 0)
    disk.rows[1] = (LINUX, 4096, 6143, "half \ud800", 0)
    disk.rows[2] = (LINUX, 6144, 8191, "shown\0hidden", 0)
    disk.rows[3] = (LINUX, 8192, 8195, "N" * 36, 0)
    table = read(disk.image())
    assert [row.name for row in table.partitions] == ["a\u202eb\x07\n", "half \ufffd", "shown", "N" * 36]
    notes = [finding.message for finding in table.findings if finding.code == "gpt.name"]
    assert len(notes) == 2
    assert "00d8" in notes[0]
    assert "has bytes after its end" in notes[1]


def test_an_empty_table_is_a_table() -> None:
    table = read(GptDisk(16 * MIB).image())
    assert (table.scheme, table.partitions) == ("gpt", ())
    assert table.gaps == (Extent(0, 16 * MIB),)


def test_the_examiner_decides_the_lba_size() -> None:
    image = simple_gpt(lba=4096).image()
    assert codes(read(image, 4096)) - ALONE == set()
    assert read(image, 4096).scheme == "gpt"
    assert read(image, 512).scheme == "none"
    assert "gpt.missing" in codes(read(image, 512))


def test_a_container_that_says_otherwise() -> None:
    image = simple_gpt(lba=4096).image()
    image.sector_size = 512
    table = read(image)
    assert table.sector_size == 4096
    assert "sector-size.differs" in codes(table)


def test_hostile_rows_give_bounded_findings() -> None:
    disk = GptDisk(64 * MIB, count=4096)
    disk.rows = dict.fromkeys(range(4096), (LINUX, 50, 40, "", 0))
    table = read(disk.image())
    assert len(table.findings) < 50
    assert any("more of this kind" in finding.message for finding in table.findings)
