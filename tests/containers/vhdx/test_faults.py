"""A damaged VHDX: every fault is an error with its range or a notice, none is other bytes."""

from __future__ import annotations

import os
import struct
import tracemalloc
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, CorruptMedia, ImageError, IncompleteChain, UnknownFormat
from tests.containers.oracle import bad_ranges
from tests.containers.sets import media
from tests.containers.vhd.witness import mapped
from tests.containers.vhdx.make import (
    BAT,
    DISK_ID,
    DISK_SIZE,
    FILE_PARAMETERS,
    FULL,
    KIB,
    LOGICAL_SECTOR,
    METADATA,
    MIB,
    PARENT_LOCATOR,
    PARTIAL,
    PHYSICAL_SECTOR,
    VHDX_PARENT,
    Vhdx,
    header,
    parent_locator,
    region_table,
    summed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.image import Image

BASE, CHILD, OTHER, STRANGE = UUID(int=0xB), UUID(int=0xC), UUID(int=0xD), UUID(int=0xE)
COUNT = 4
SIZE = COUNT * MIB - 3 * 512
BAT_AT, METADATA_AT, BLOCKS = 2 * MIB, 3 * MIB, 4 * MIB  # where they begin in the file
HEADERS, TABLES = (64 * KIB, 128 * KIB), (192 * KIB, 256 * KIB)
CONTENT = media(SIZE)


def disk() -> Vhdx:
    return Vhdx(SIZE, BASE, blocks={b: (FULL, CONTENT[b * MIB :][:MIB], []) for b in range(COUNT)})


def notices(image: Image) -> tuple[str, ...]:
    found = image.metadata["notices"]
    assert isinstance(found, tuple)
    return found


def flip(path: Path, *offsets: int) -> None:
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 4]))


def put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_nothing_is_wrong_with_the_one_that_is_damaged_below(tmp_path: Path) -> None:
    with open_image(disk().write(tmp_path / "disk.vhdx")) as image:
        assert bad_ranges(image, CONTENT) == []
        assert mapped(image) == CONTENT
        assert notices(image) == ()


@pytest.mark.parametrize(("at", "which"), [(HEADERS[0] + 20, "header 1"), (HEADERS[1] + 4000, "header 2")])
def test_one_header_damaged(tmp_path: Path, at: int, which: str) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    flip(path, at)
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert [f"{which} of" in notice for notice in notices(image)] == [True]
        container = image.metadata["container"]
        assert isinstance(container, dict)
        assert container["data_write_guid"] == str(BASE if which == "header 2" else UUID(int=99))


def test_both_headers_damaged(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    flip(path, HEADERS[0] + 20, HEADERS[1] + 20)
    with pytest.raises(CorruptImage, match="both headers"):
        open_image(path)


def test_the_same_header_twice(tmp_path: Path) -> None:
    """As Disk2vhd writes it; with one number and other contents, which of them counts cannot be known."""
    path = disk().write(tmp_path / "disk.vhdx")
    put(path, HEADERS[1], header(7, BASE))
    open_image(path).close()
    put(path, HEADERS[1], header(7, OTHER))
    with pytest.raises(CorruptImage, match="different things"):
        open_image(path)


@pytest.mark.parametrize("which", [0, 1])
def test_one_region_table_damaged(tmp_path: Path, which: int) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    flip(path, TABLES[which] + 40)
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert [f"region table {which + 1} of" in notice for notice in notices(image)] == [True]


def test_both_region_tables_damaged(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    flip(path, TABLES[0] + 40, TABLES[1] + 65000)
    with pytest.raises(CorruptImage, match="both region tables"):
        open_image(path)


def test_region_tables_that_disagree(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    put(path, TABLES[1], region_table({BAT: (BAT_AT, MIB, 1), METADATA: (METADATA_AT, 2 * MIB, 1)}))
    with pytest.raises(CorruptImage, match="different things"):
        open_image(path)


@pytest.mark.parametrize("current", [True, False])
def test_a_log_that_was_not_replayed(tmp_path: Path, current: bool) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    if current:
        put(path, HEADERS[0], header(8, BASE, log=STRANGE))
        with pytest.raises(UnknownFormat, match="not closed cleanly"):
            open_image(path)
        return
    put(path, HEADERS[1], header(6, BASE, log=STRANGE))  # of an older header: it was replayed since
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []


def test_a_version_that_nobody_knows(tmp_path: Path) -> None:
    plan = disk()
    plan.version = 2
    with pytest.raises(UnknownFormat, match="version 2"):
        open_image(plan.write(tmp_path / "disk.vhdx"))


REGIONS = {
    "required": ({STRANGE: (12 * MIB, MIB, 1)}, UnknownFormat, "has to know"),
    "on-another": ({STRANGE: (METADATA_AT, MIB, 0)}, CorruptImage, "same place"),
    "on-the-log": ({STRANGE: (MIB, MIB, 0)}, CorruptImage, "same place"),
    "at-the-start": ({STRANGE: (0, MIB, 0)}, CorruptImage, "same place"),
    "beyond-the-end": ({METADATA: (64 * MIB, MIB, 1)}, CorruptImage, "before the end"),
    "huge": ({BAT: (2**63, 0xFFF00000, 1)}, CorruptImage, "before the end"),
    "half-a-mib": ({METADATA: (METADATA_AT + 512 * KIB, MIB, 1)}, CorruptImage, "no whole MiB"),
    "bat-too-small": ({BAT: (BAT_AT, 0, 1)}, CorruptImage, "too small"),
    "metadata-too-small": ({METADATA: (METADATA_AT, 0, 1)}, CorruptImage, "no metadata table"),
}


@pytest.mark.parametrize(("regions", "kind", "why"), REGIONS.values(), ids=REGIONS)
def test_regions(
    tmp_path: Path, regions: dict[UUID, tuple[int, int, int]], kind: type[ImageError], why: str
) -> None:
    plan = disk()
    plan.regions = regions
    path = plan.write(tmp_path / "disk.vhdx")
    os.truncate(path, 14 * MIB)
    with pytest.raises(kind, match=why):
        open_image(path)


def test_a_region_that_need_not_be_known(tmp_path: Path) -> None:
    plan = disk()
    plan.regions = {STRANGE: (12 * MIB, MIB, 0)}
    path = plan.write(tmp_path / "disk.vhdx")
    os.truncate(path, 14 * MIB)
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []


def test_no_region_at_all_and_too_many(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    many = region_table({BAT: (BAT_AT, MIB, 1)})
    for at in TABLES:
        put(path, at, summed(many[:8] + struct.pack("<I", 2048) + many[12:], 64 * KIB))
    with pytest.raises(CorruptImage, match="2048 regions"):
        open_image(path)
    for regions, why in (({}, "has no block table"), ({BAT: (BAT_AT, MIB, 1)}, "has no metadata")):
        for at in TABLES:
            put(path, at, region_table(regions))
        with pytest.raises(CorruptImage, match=why):
            open_image(path)


ITEMS = {
    "block-size-0": ({FILE_PARAMETERS: (struct.pack("<II", 0, 0), 4)}, CorruptImage, "power of two"),
    "block-size-3M": ({FILE_PARAMETERS: (struct.pack("<II", 3 * MIB, 0), 4)}, CorruptImage, "power of two"),
    "block-size-512M": (
        {FILE_PARAMETERS: (struct.pack("<II", 512 * MIB, 0), 4)},
        CorruptImage,
        "power of two",
    ),
    "block-size-4K": ({FILE_PARAMETERS: (struct.pack("<II", 4 * KIB, 0), 4)}, CorruptImage, "power of two"),
    "size-0": ({DISK_SIZE: (bytes(8), 6)}, CorruptImage, "cannot be meant"),
    "size-2^63": ({DISK_SIZE: (struct.pack("<Q", 2**63), 6)}, CorruptImage, "cannot be meant"),
    "size-odd": ({DISK_SIZE: (struct.pack("<Q", 1000), 6)}, CorruptImage, "cannot be meant"),
    "size-64T": ({DISK_SIZE: (struct.pack("<Q", 64 << 40), 6)}, CorruptImage, "too small"),
    "sector-0": ({LOGICAL_SECTOR: (bytes(4), 6)}, CorruptImage, "neither 512 nor 4096"),
    "sector-520": ({PHYSICAL_SECTOR: (struct.pack("<I", 520), 6)}, CorruptImage, "neither 512 nor 4096"),
    "short": ({DISK_SIZE: (bytes(4), 6)}, CorruptImage, "4 bytes"),
    "no-size": ({DISK_SIZE: None}, CorruptImage, "does not state its virtual disk size"),
    "no-id": ({DISK_ID: None}, CorruptImage, "does not state"),
    "unknown-required": ({STRANGE: (b"x", 4)}, UnknownFormat, "has to know"),
    "parent-not-named": ({FILE_PARAMETERS: (struct.pack("<II", MIB, 2), 4)}, CorruptImage, "parent locator"),
}


@pytest.mark.parametrize(("items", "kind", "why"), ITEMS.values(), ids=ITEMS)
def test_metadata(
    tmp_path: Path, items: dict[UUID, tuple[bytes, int] | None], kind: type[ImageError], why: str
) -> None:
    plan = disk()
    plan.items = items
    with pytest.raises(kind, match=why):
        open_image(plan.write(tmp_path / "disk.vhdx"))


@pytest.mark.parametrize("flags", [0, 1, 5])
def test_metadata_that_need_not_be_known(tmp_path: Path, flags: int) -> None:
    plan = disk()
    plan.items = {STRANGE: (b"user's own", flags)}
    with open_image(plan.write(tmp_path / "disk.vhdx")) as image:
        assert bad_ranges(image, CONTENT) == []


def test_a_metadata_item_outside_of_its_region(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhdx")
    for offset, length in ((100, 8), (MIB - 4, 8), (0xFFFFFFFF, 0xFFFFFFFF)):
        put(path, METADATA_AT + 32 + 16, struct.pack("<II", offset, length))
        with pytest.raises(CorruptImage, match="outside of its metadata region"):
            open_image(path)


@pytest.mark.parametrize("lost", [1, 512, MIB - 512 * 4, MIB, 3 * MIB + 4096, 4 * MIB])
def test_a_file_that_was_cut_short(tmp_path: Path, lost: int) -> None:
    """Exactly what is missing cannot be read."""
    path = disk().write(tmp_path / "disk.vhdx")
    os.truncate(path, path.stat().st_size - lost)
    first = COUNT * MIB - lost
    with open_image(path) as image:
        expected = [(first, SIZE - first)] if first < SIZE else []
        assert bad_ranges(image, CONTENT) == expected
        assert ["beyond its end" in notice for notice in notices(image)] == [True] * bool(expected)


BAD_ENTRIES = {
    "beyond-the-end": (0xFFFFFFF << 20 | FULL, "the file ends at"),
    "in-the-header-section": (FULL, "header section"),
    "in-the-log": (MIB | FULL, "the log"),
    "in-the-table": (BAT_AT | FULL, "the region 2dc27766"),
    "in-the-metadata": (METADATA_AT | FULL, "the region 8b7ca206"),
    "state-4": (BLOCKS | 4, "state 4"),
    "state-5": (BLOCKS | 5, "state 5"),
    "partial-without-parent": (BLOCKS | PARTIAL, "parent"),
}


@pytest.mark.parametrize(("entry", "why"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_an_entry_that_cannot_be_meant(tmp_path: Path, entry: int, why: str) -> None:
    plan = disk()
    del plan.blocks[0]
    plan.entries = {2: entry}
    expected = bytes(MIB) + CONTENT[MIB:]
    with open_image(plan.write(tmp_path / "disk.vhdx")) as image:
        found = bad_ranges(image, expected)
        assert (2 * MIB, MIB) in found or found == [(MIB, 2 * MIB)]
        with pytest.raises(CorruptMedia) as caught:
            image.read_at(2 * MIB + 10, 5)
        assert caught.value.errno is None
        assert why in caught.value.message or "shares bytes" in caught.value.message
        assert any(extent.offset <= 2 * MIB < extent.end for extent in image.data_extents())


def test_blocks_that_share_bytes(tmp_path: Path) -> None:
    plan = disk()
    plan.entries = {3: BLOCKS + MIB | FULL}
    with open_image(plan.write(tmp_path / "disk.vhdx")) as image:
        assert bad_ranges(image, CONTENT) == [(MIB, MIB), (3 * MIB, SIZE - 3 * MIB)]
        assert ["share bytes" in notice for notice in notices(image)] == [True]


# differencing


def child(tmp_path: Path, **parent: str) -> Vhdx:
    disk().write(tmp_path / "base.vhdx")
    pairs = {"parent_linkage": f"{{{BASE}}}", "relative_path": "base.vhdx", **parent}
    return Vhdx(SIZE, CHILD, parent={key: value for key, value in pairs.items() if value})


NAMES = {
    "relative": {"relative_path": ".\\BASE.vhdx"},
    "absolute": {"relative_path": "", "absolute_win32_path": "\\\\?\\C:\\VMs\\base.vhdx"},
    "volume": {
        "relative_path": "",
        "volume_path": "\\\\?\\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\\base.vhdx",
    },
    "moved": {"relative_path": "..\\..\\old\\base.vhdx"},
    "upper-case-link": {"parent_linkage": f"{{{str(BASE).upper()}}}"},
    "second-link": {"parent_linkage": f"{{{OTHER}}}", "parent_linkage2": f"{{{BASE}}}"},
}


@pytest.mark.parametrize("parent", NAMES.values(), ids=NAMES)
def test_how_a_parent_is_found(tmp_path: Path, parent: dict[str, str]) -> None:
    with open_image(child(tmp_path, **parent).write(tmp_path / "child.vhdx")) as image:
        assert bad_ranges(image, CONTENT) == []
        assert image.segments[1].path == str(tmp_path / "base.vhdx")


def test_no_parent(tmp_path: Path) -> None:
    path = child(tmp_path).write(tmp_path / "child.vhdx")
    (tmp_path / "base.vhdx").unlink()
    with pytest.raises(IncompleteChain, match="not there") as caught:
        open_image(path)
    assert "base.vhdx" in caught.value.message


def test_a_parent_that_was_changed_since(tmp_path: Path) -> None:
    path = child(tmp_path, parent_linkage=f"{{{OTHER}}}").write(tmp_path / "child.vhdx")
    with pytest.raises(IncompleteChain, match=str(OTHER)) as caught:
        open_image(path)
    assert str(BASE) in caught.value.message


def test_a_parent_with_other_sectors(tmp_path: Path) -> None:
    plan = child(tmp_path)
    plan.size, plan.sector = 4 * MIB, 4096
    with pytest.raises(CorruptImage, match="sectors of 4096"):
        open_image(plan.write(tmp_path / "child.vhdx"))


def test_a_chain_that_goes_in_a_circle(tmp_path: Path) -> None:
    for own, other, name in ((BASE, CHILD, "one.vhdx"), (CHILD, BASE, "two.vhdx")):
        pairs = {
            "parent_linkage": f"{{{other}}}",
            "relative_path": {"one.vhdx": "two.vhdx"}.get(name, "one.vhdx"),
        }
        Vhdx(SIZE, own, parent=pairs).write(tmp_path / name)
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(tmp_path / "one.vhdx")


@pytest.mark.parametrize("pairs", [{}, {"relative_path": "base.vhdx"}])
def test_a_child_that_does_not_say_which(tmp_path: Path, pairs: dict[str, str]) -> None:
    disk().write(tmp_path / "base.vhdx")
    with pytest.raises(CorruptImage, match="which state of its parent"):
        open_image(Vhdx(SIZE, CHILD, parent=pairs).write(tmp_path / "child.vhdx"))


def test_a_parent_locator_that_holds_less_than_it_states(tmp_path: Path) -> None:
    plan = child(tmp_path)
    item = bytearray(parent_locator(plan.parent or {}))
    struct.pack_into("<H", item, 18, 64)
    plan.items = {PARENT_LOCATOR: (bytes(item), 4)}
    with pytest.raises(CorruptImage, match="more than it holds"):
        open_image(plan.write(tmp_path / "child.vhdx"))
    plan.items = {PARENT_LOCATOR: (bytes(100), 4)}
    with pytest.raises(UnknownFormat, match="names its parent"):
        open_image(plan.write(tmp_path / "child.vhdx"))


def test_a_parent_locator_of_which_every_entry_is_the_same_bytes(tmp_path: Path) -> None:
    """Of an item of 1 MiB: 65,535 keys and values of 64 KiB would be gigabytes."""
    plan = child(tmp_path)
    item = bytearray(b"A\x30" * (MIB // 2 - 65536))
    struct.pack_into("<16sHH", item, 0, VHDX_PARENT.bytes_le, 0, 0xFFFF)
    for index in range(0xFFFF):
        struct.pack_into("<IIHH", item, 20 + 12 * index, 20 + 12 * index, 2 * index, 12, 0xFFFE)
    plan.items = {PARENT_LOCATOR: (bytes(item), 4)}
    path = plan.write(tmp_path / "child.vhdx")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptImage, match="parent locator"):
            open_image(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


BITMAPS = {
    "absent": (0, "is not there"),
    "reserved-state": (BLOCKS + MIB | 3, "is not there"),
    "beyond-the-end": (0xFFFFFFF << 20 | 6, "the file ends at"),
    "in-the-metadata": (METADATA_AT | 6, "the region 8b7ca206"),
    "in-a-block": (BLOCKS | 6, "shares bytes"),
}


@pytest.mark.parametrize(("entry", "why"), BITMAPS.values(), ids=BITMAPS)
def test_a_bitmap_that_is_not_to_be_had(tmp_path: Path, entry: int, why: str) -> None:
    plan = child(tmp_path)
    present = [sector % 3 == 0 for sector in range(MIB // 512)]
    plan.blocks = {1: (FULL, media(MIB, 5), []), 2: (PARTIAL, media(MIB, 6), present)}
    plan.entries = {plan.ratio: entry}
    expected = CONTENT[:MIB] + media(MIB, 5) + CONTENT[2 * MIB :]
    with open_image(plan.write(tmp_path / "child.vhdx")) as image:
        found = bad_ranges(image, expected)
        assert found == ([(MIB, 2 * MIB)] if why == "shares bytes" else [(2 * MIB, MIB)])
        with pytest.raises(CorruptMedia, match=why):
            image.read_at(2 * MIB, 1)
        assert any(extent.offset <= 2 * MIB < extent.end for extent in image.data_extents())


def test_a_damaged_parent_is_an_error_of_the_child(tmp_path: Path) -> None:
    plan = child(tmp_path)
    base = disk()
    base.entries = {3: 0xFFFFFFF << 20 | FULL}
    base.write(tmp_path / "base.vhdx")
    with open_image(plan.write(tmp_path / "child.vhdx")) as image:
        assert bad_ranges(image, CONTENT) == [(3 * MIB, SIZE - 3 * MIB)]
        assert any("base.vhdx" in notice for notice in notices(image))
