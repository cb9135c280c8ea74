"""A damaged VHD: every fault is an error with its range or a notice, none is other bytes."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from imgkit.containers import open_image
from imgkit.errors import (
    CorruptImage,
    CorruptMedia,
    ImageError,
    IncompleteChain,
    MediaReadError,
    UnknownFormat,
)
from imgkit.hashing import hash_range
from tests.containers.oracle import bad_ranges
from tests.containers.sets import media
from tests.containers.vhd.make import DYNAMIC, FIXED, SECTOR, Parent, Vhd, fixed, footer, some_blocks, summed
from tests.containers.vhd.witness import mapped, open_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.image import Image

BASE, CHILD, OTHER = UUID(int=0xB), UUID(int=0xC), UUID(int=0xD)
BLOCK = 1 << 14
COUNT = 8
SIZE = COUNT * BLOCK - 3 * SECTOR
STORED = BLOCK + SECTOR  # of a block and its bitmap
HEADER, TABLE, BLOCKS = 512, 1536, 2048  # where they begin in the file
CONTENT = media(SIZE)


def disk() -> Vhd:
    whole = [True] * (BLOCK // SECTOR)
    blocks = {block: (whole, CONTENT[block * BLOCK :][:BLOCK]) for block in range(COUNT)}
    return Vhd(SIZE, BASE, BLOCK, blocks)


def sector_of(block: int) -> int:
    """Where `disk` has a block."""
    return (BLOCKS + block * STORED) // SECTOR


def notices(image: Image) -> tuple[str, ...]:
    found = image.metadata["notices"]
    assert isinstance(found, tuple)
    return tuple(notice for notice in found if "two sizes" not in notice)


def flip(path: Path, *offsets: int) -> None:
    """Flip a bit at each offset, from the end where it is negative."""
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 4
    path.write_bytes(data)


def patched_header(path: Path, at: int, value: bytes) -> None:
    """Change the dynamic disk header and make its checksum right."""
    data = bytearray(path.read_bytes())
    block = data[HEADER : HEADER + 1024]
    block[at : at + len(value)] = value
    data[HEADER : HEADER + 1024] = summed(bytes(block), 36)
    path.write_bytes(data)


def replaced_footers(path: Path, block: bytes) -> None:
    data = path.read_bytes()
    path.write_bytes(block + data[512:-512] + block)


def test_nothing_is_wrong_with_the_one_that_is_damaged_below(tmp_path: Path) -> None:
    with open_image(disk().write(tmp_path / "disk.vhd")) as image:
        assert bad_ranges(image, CONTENT) == []
        assert mapped(image) == CONTENT
        assert notices(image) == ()


def test_a_table_of_billions(tmp_path: Path) -> None:
    """2 TiB in blocks of 4 KiB: half a billion entries, in a file that takes no room."""
    path = disk().write(tmp_path / "disk.vhd")
    size = 2 << 40
    patched_header(path, 28, struct.pack(">II", size >> 12, 4096))
    end = footer(size, DYNAMIC, OTHER)
    with path.open("r+b") as file:
        file.write(end)
        file.seek(4 << 30)
        file.write(end)
    with pytest.raises(CorruptImage, match="536870912 blocks, more than the 67108864"):
        open_image(path)


def test_a_table_that_is_a_hole(tmp_path: Path) -> None:
    """Every entry leads to the copy of the footer: none is read, and each says so."""
    path = disk().write(tmp_path / "disk.vhd")
    size = 512 << 30
    patched_header(path, 28, struct.pack(">II", size >> 21, 2 << 20))
    patched_header(path, 16, struct.pack(">Q", 1 << 20))
    end = footer(size, DYNAMIC, OTHER)
    with path.open("r+b") as file:
        file.write(end)
        file.seek(8 << 20)
        file.write(end)
    with open_image(path) as image:
        assert open_ranges(image) == [(0, size)]
        with pytest.raises(CorruptMedia, match="in the copy of the footer"):
            image.read_at(size - 512, 512)


def test_the_copy_of_a_damaged_footer_is_used(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    flip(path, -400)
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert ["fails its checksum" in notice for notice in notices(image)] == [True]


def test_a_damaged_copy_is_told(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    flip(path, 100)
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert ["copy at the start is damaged" in notice for notice in notices(image)] == [True]


def test_a_copy_that_says_something_else_is_told(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    data = path.read_bytes()
    path.write_bytes(footer(SIZE, DYNAMIC, OTHER) + data[512:])
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert ["differs" in notice for notice in notices(image)] == [True]


def test_what_follows_the_footer_is_told(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    path.write_bytes(path.read_bytes() + bytes(4096))
    with open_image(path) as image:
        assert bad_ranges(image, CONTENT) == []
        assert ["cut short, or something follows it" in notice for notice in notices(image)] == [True]


def test_both_footers_damaged(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    flip(path, 100, -400)
    with pytest.raises(CorruptImage, match="fails its checksum") as caught:
        open_image(path)
    assert str(path) in caught.value.message


def test_the_only_footer_of_a_fixed_disk_damaged(tmp_path: Path) -> None:
    path = fixed(tmp_path / "disk.vhd", CONTENT, BASE)
    flip(path, -400)
    with pytest.raises(CorruptImage, match="fails its checksum"):
        open_image(path)


@pytest.mark.parametrize("at", [HEADER, HEADER + 17, HEADER + 900])
def test_a_damaged_header(tmp_path: Path, at: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    flip(path, at)
    with pytest.raises(CorruptImage, match="dynamic disk header"):
        open_image(path)


@pytest.mark.parametrize("lost", [1, 511, 512, 513, STORED, 3 * STORED + 512 + 5 * 512, COUNT * STORED])
def test_a_file_that_was_cut_short(tmp_path: Path, lost: int) -> None:
    """Exactly what is missing cannot be read."""
    path = disk().write(tmp_path / "disk.vhd")
    size = path.stat().st_size
    os.truncate(path, size - lost)
    there = (size - lost - BLOCKS) // STORED
    inside = max(0, size - lost - BLOCKS - there * STORED - SECTOR)
    first = min(SIZE, there * BLOCK + inside)
    with open_image(path) as image:
        expected = [(first, SIZE - first)] if first < SIZE else []
        assert bad_ranges(image, CONTENT) == expected
        told = " ".join(notices(image))
        assert ("beyond its end" in told) == bool(expected)


def test_cut_inside_the_table(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    os.truncate(path, TABLE + 4 * COUNT - 1)
    with pytest.raises(CorruptImage, match="before the end of its block table"):
        open_image(path)


BAD_ENTRIES = {
    "beyond-the-end": (0x7FFFFFFF, "which ends at"),
    "in-the-copy": (0, "the copy of the footer"),
    "in-the-header": (1, "dynamic disk header"),
    "in-the-table": (TABLE // SECTOR, "block allocation table"),
}


@pytest.mark.parametrize(("entry", "why"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_an_entry_that_leads_nowhere(tmp_path: Path, entry: int, why: str) -> None:
    plan = disk()
    plan.entries = {3: entry}
    with open_image(plan.write(tmp_path / "disk.vhd")) as image:
        assert bad_ranges(image, CONTENT) == [(3 * BLOCK, BLOCK)]
        with pytest.raises(CorruptMedia, match=why) as caught:
            image.read_at(3 * BLOCK + 10, 5)
        assert caught.value.errno is None
        assert (caught.value.offset, caught.value.length) == (3 * BLOCK + 10, 5)
        assert any(extent.offset <= 3 * BLOCK < extent.end for extent in image.data_extents())


@pytest.mark.parametrize("shift", [0, 1, 30, -1])
def test_blocks_that_share_bytes(tmp_path: Path, shift: int) -> None:
    """Which of the two entries is wrong cannot be known: neither is served."""
    plan = disk()
    plan.entries = {5: sector_of(2) + shift}
    with open_image(plan.write(tmp_path / "disk.vhd")) as image:
        neighbour = {0: 2, 1: 2, 30: 2, -1: 1}[shift]
        shared = sorted({neighbour, 2, 5} if shift else {2, 5})
        if shift > 0:
            shared = [2, 3, 5]
        expected = bad_ranges(image, CONTENT)
        assert {offset // BLOCK for offset, _ in expected} <= set(shared)
        assert sum(length for _, length in expected) == len(shared) * BLOCK
        assert any("share bytes" in notice for notice in notices(image))


def test_an_entry_in_the_footer(tmp_path: Path) -> None:
    """The last block, one sector late: its end would be the footer's bytes."""
    plan = disk()
    size = 7 * BLOCK
    plan.size, plan.blocks = size, {b: plan.blocks[b] for b in range(7)}
    plan.entries = {6: sector_of(6) + 1}
    with open_image(plan.write(tmp_path / "disk.vhd")) as image:
        with pytest.raises(CorruptMedia) as caught:
            image.read_at(6 * BLOCK, BLOCK)
        assert caught.value.ranges[-1][0] + caught.value.ranges[-1][1] == size


@pytest.mark.parametrize("size", [0, 512, 2048, 3000, 1 << 29, 0x80000000, 0xFFFFFFFF])
def test_sizes_of_blocks(tmp_path: Path, size: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    patched_header(path, 32, struct.pack(">I", size))
    with pytest.raises(CorruptImage, match="not a power of two"):
        open_image(path)


@pytest.mark.parametrize("at", [0, 100, 1 << 40, 2**63, 2**64 - 1])
def test_places_of_the_table(tmp_path: Path, at: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    patched_header(path, 16, struct.pack(">Q", at))
    with pytest.raises(CorruptImage, match="block table"):
        open_image(path)


def test_a_table_that_is_too_small(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    patched_header(path, 28, struct.pack(">I", COUNT - 1))
    with pytest.raises(CorruptImage, match="too few"):
        open_image(path)


@pytest.mark.parametrize("size", [0, 100, 2**62, 2**63, 2**64 - 512])
def test_sizes_of_the_disk(tmp_path: Path, size: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, current_size=size))
    with pytest.raises(CorruptImage, match="cannot be meant"):
        open_image(path)


@pytest.mark.parametrize("size", [1 << 40, 63 << 40])
def test_a_large_disk_with_a_small_table(tmp_path: Path, size: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, current_size=size))
    with pytest.raises(CorruptImage, match="too few"):
        open_image(path)


def test_a_type_and_a_version_that_nobody_knows(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    replaced_footers(path, footer(SIZE, 5, BASE))
    with pytest.raises(UnknownFormat, match="type 5"):
        open_image(path)
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, version=0x20000))
    with pytest.raises(UnknownFormat, match=r"version 2\.0"):
        open_image(path)


@pytest.mark.parametrize("data_offset", [0, 4096, 2**63, 2**64 - 1])
def test_a_footer_that_points_nowhere(tmp_path: Path, data_offset: int) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, data_offset=data_offset))
    with pytest.raises(CorruptImage, match="no dynamic disk header"):
        open_image(path)


def test_bitmaps_of_the_first_tapdisk(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, tapdisk=0x10003))
    open_image(path).close()
    replaced_footers(path, footer(SIZE, DYNAMIC, BASE, tapdisk=1))
    with pytest.raises(UnknownFormat, match=r"tapdisk .* 0\.1"):
        open_image(path)
    path.write_bytes(CONTENT + footer(SIZE, FIXED, BASE, tapdisk=1))
    open_image(path).close()


def test_saved_state_is_told(tmp_path: Path) -> None:
    plan = disk()
    plan.saved_state = 1
    with open_image(plan.write(tmp_path / "disk.vhd")) as image:
        assert ["saved state" in notice for notice in notices(image)] == [True]


def test_a_raw_disk_that_ends_with_a_footer(tmp_path: Path) -> None:
    """What once was a VHD at the end of a disk does not make the disk one."""
    path = tmp_path / "disk.dd"
    path.write_bytes(CONTENT + media(SECTOR) + footer(SIZE, FIXED, BASE))
    with open_image(path) as image:
        assert image.format == "raw"
    path.write_bytes(CONTENT + footer(SIZE, DYNAMIC, BASE))
    with pytest.raises(CorruptImage):  # its size says that it is one
        open_image(path)


# differencing


def child(tmp_path: Path, parent: Parent | None = None) -> tuple[Path, bytes]:
    fixed(tmp_path / "base.vhd", CONTENT, BASE)
    blocks, expected = some_blocks(SIZE, BLOCK, CONTENT, 4)
    return Vhd(SIZE, CHILD, BLOCK, blocks, parent or Parent(BASE)).write(tmp_path / "child.vhd"), expected


NAMES = {
    "relative": Parent(BASE, name="", locators=((b"W2ru", ".\\base.vhd"),)),
    "absolute": Parent(BASE, name="", locators=((b"W2ku", "D:\\VMs\\base.vhd"),)),
    "share": Parent(BASE, name="", locators=((b"W2ku", "\\\\server\\share\\BASE.VHD"),)),
    "old-relative": Parent(BASE, name="", locators=((b"Wi2r", ".\\base.vhd"),)),
    "name-alone": Parent(BASE, name="Base.vhd", locators=()),
    "moved": Parent(BASE, name="", locators=((b"W2ru", "..\\..\\old\\base.vhd"),)),
    "mac-first": Parent(BASE, name="", locators=((b"MacX", "file://localhost/x"), (b"W2ru", "base.vhd"))),
}


@pytest.mark.parametrize("parent", NAMES.values(), ids=NAMES)
def test_how_a_parent_is_found(tmp_path: Path, parent: Parent) -> None:
    path, expected = child(tmp_path, parent)
    with open_image(path) as image:
        assert bad_ranges(image, expected) == []
        assert image.segments[1].path == str(tmp_path / "base.vhd")


def test_a_parent_in_a_folder_below(tmp_path: Path) -> None:
    path, expected = child(tmp_path, Parent(BASE, locators=((b"W2ru", "old\\base.vhd"),)))
    (tmp_path / "old").mkdir()
    (tmp_path / "base.vhd").rename(tmp_path / "old/base.vhd")
    with open_image(path) as image:
        assert image.read_at(0, SIZE) == expected


def test_no_parent(tmp_path: Path) -> None:
    path, _ = child(tmp_path)
    (tmp_path / "base.vhd").unlink()
    with pytest.raises(IncompleteChain, match="not there") as caught:
        open_image(path)
    assert "base.vhd" in caught.value.message
    assert caught.value.hint


def test_another_parent(tmp_path: Path) -> None:
    path, _ = child(tmp_path)
    fixed(tmp_path / "base.vhd", CONTENT, OTHER)
    with pytest.raises(IncompleteChain, match=str(OTHER)):
        open_image(path)


@pytest.mark.parametrize("name", ["base.vhd\0", "\0", "x" * 300, "", "..", "a\nb", "\udc80" * 3])
def test_odd_names_of_a_parent(tmp_path: Path, name: str) -> None:
    raw = name.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    path, _ = child(tmp_path, Parent(BASE, name=raw[:256], locators=()))
    if name == "base.vhd\0":
        open_image(path).close()
        return
    with pytest.raises(IncompleteChain):
        open_image(path)


def test_a_parent_that_is_no_vhd(tmp_path: Path) -> None:
    path, _ = child(tmp_path)
    (tmp_path / "base.vhd").write_bytes(CONTENT)
    with pytest.raises(IncompleteChain, match="raw"):
        open_image(path)


def test_a_chain_that_goes_in_a_circle(tmp_path: Path) -> None:
    one = Parent(BASE, locators=((b"W2ru", "two.vhd"),))
    two = Parent(CHILD, locators=((b"W2ru", "one.vhd"),))
    Vhd(SIZE, CHILD, BLOCK, {}, one).write(tmp_path / "one.vhd")
    Vhd(SIZE, BASE, BLOCK, {}, two).write(tmp_path / "two.vhd")
    with pytest.raises(IncompleteChain, match="builds upon itself"):
        open_image(tmp_path / "one.vhd")


def test_a_damaged_parent_is_an_error_of_the_child(tmp_path: Path) -> None:
    plan = disk()
    plan.entries = {3: 0x7FFFFFFF, 5: 0x7FFFFFFE}
    plan.write(tmp_path / "base.vhd")
    whole = [True] * (BLOCK // SECTOR)
    half = [sector % 2 == 0 for sector in range(BLOCK // SECTOR)]
    top = media(BLOCK, 9)
    path = Vhd(SIZE, CHILD, BLOCK, {3: (whole, top), 5: (half, top)}, Parent(BASE)).write(
        tmp_path / "child.vhd"
    )
    expected = CONTENT[: 3 * BLOCK] + top + CONTENT[4 * BLOCK : 5 * BLOCK] + top + CONTENT[6 * BLOCK :]
    with open_image(path) as image:
        lost = [(5 * BLOCK + sector * SECTOR, SECTOR) for sector in range(1, BLOCK // SECTOR, 2)]
        assert bad_ranges(image, expected) == lost
        assert any("beyond its end" in notice and "base.vhd" in notice for notice in notices(image))


def test_the_time_of_the_parent(tmp_path: Path) -> None:
    path, _ = child(tmp_path, Parent(BASE, stamp=700_000_001))
    with open_image(path) as image:
        assert ["last modified" in notice for notice in notices(image)] == [True]
    os.utime(tmp_path / "base.vhd", (0, 700_000_001 + 946_684_800))
    with open_image(path) as image:
        assert notices(image) == ()


def test_a_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    path = disk().write(tmp_path / "disk.vhd")
    with open_image(path) as image:
        os.truncate(path, BLOCKS + STORED)
        assert image.read_at(0, BLOCK) == CONTENT[:BLOCK]
        with pytest.raises(ImageError, match="shorter than when it was opened"):
            image.read_at(2 * BLOCK, BLOCK)


@pytest.mark.parametrize("where", ["block", "bitmap", "table"])
def test_what_the_kernel_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The error of the kernel comes through, and a hash names the range; no zeros."""
    path = disk().write(tmp_path / "disk.vhd")
    block = BLOCKS + 3 * STORED
    start, length = {"block": (block + SECTOR + 4096, 512), "bitmap": (block, 512), "table": (TABLE + 12, 4)}[
        where
    ]
    preadv = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset < start + length and offset + len(buffers[0]) > start and failing_now:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return preadv(fd, buffers, offset)

    failing_now = False
    monkeypatch.setattr(os, "preadv", failing)
    with open_image(path) as image:
        failing_now = True
        with pytest.raises(MediaReadError) as caught:
            image.read_at(0, SIZE)
        assert caught.value.errno == errno.EIO
        assert caught.value.ranges == ()
        result = hash_range(image, 0, SIZE, algorithms=["sha256"])
    lost = (3 * BLOCK + 4096, 512) if where == "block" else (3 * BLOCK, BLOCK)
    assert result.read_errors == (lost,)
    assert result.digests == ()
