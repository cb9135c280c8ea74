"""Every fault ends in an error with its range, or at open: none in wrong bytes, zeros or another grain's bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import (
    CorruptImage,
    CorruptMedia,
    ImageError,
    MediaReadError,
    MissingSegment,
    UnknownFormat,
)
from imgkit.hashing import hash_range
from tests.containers.oracle import bad_ranges
from tests.containers.vmdk import make
from tests.containers.vmdk.make import SECTOR, Layout, flip, poke, poke_number, shorten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRAIN = 65536
SIZE = 20 * GRAIN + 3 * SECTOR
TRUTH = make.media(SIZE, 3)
STORED = [number for number in range(20) if any(TRUTH[number * GRAIN : (number + 1) * GRAIN])]
ONE, TWO = STORED[1], STORED[4]
LINE = f'RW {SIZE // SECTOR} SPARSE "disk.vmdk"'
TEXT = make.descriptor([LINE])


@pytest.fixture
def disk(tmp_path: Path) -> tuple[Path, Layout]:
    """A sparse extent with two copies of its tables."""
    path = tmp_path / "disk.vmdk"
    return path, make.write_sparse(path, TRUTH, text=TEXT)


@pytest.fixture
def alone(tmp_path: Path) -> tuple[Path, Layout]:
    """The same without the second copy."""
    path = tmp_path / "disk.vmdk"
    return path, make.write_sparse(path, TRUTH, text=TEXT, redundant=False)


@pytest.fixture
def stream(tmp_path: Path) -> tuple[Path, Layout]:
    path = tmp_path / "disk.vmdk"
    return path, make.write_stream(path, TRUTH, text=make.descriptor([LINE], kind="streamOptimized"))


def lost(*grains: int) -> list[tuple[int, int]]:
    return [(grain * GRAIN, GRAIN) for grain in grains]


# --- grains of a stream ---

IN_STREAM: dict[str, Callable[[Path, int], None]] = {
    "a bit of the data": lambda path, at: flip(path, at + 12 + 40),
    "a bit of the zlib header": lambda path, at: flip(path, at + 12),
    "the place in the marker": lambda path, at: flip(path, at, 7),
    "the size in the marker": lambda path, at: poke(path, at + 8, b"\x40\0\0\0"),
    "a size of nothing": lambda path, at: poke(path, at + 8, bytes(4)),
    "a size of 4 GiB": lambda path, at: poke(path, at + 8, b"\xff" * 4),
    "a sector of zeros": lambda path, at: poke(path, at, bytes(SECTOR)),
}


@pytest.mark.parametrize("fault", IN_STREAM)
def test_a_damaged_grain_of_a_stream(stream: tuple[Path, Layout], fault: str) -> None:
    path, layout = stream
    IN_STREAM[fault](path, layout.grains[ONE])
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(ONE)
        with pytest.raises(
            CorruptMedia, match=f"grain {ONE} at byte {layout.grains[ONE]} of {path}"
        ) as caught:
            image.read_at(0, SIZE)
        assert caught.value.errno is None
        found = hash_range(image, 0, SIZE, algorithms=["sha256"])
    assert found.digests == ()
    assert found.read_errors == ((ONE * GRAIN, GRAIN),)


def test_a_grain_that_stands_for_another(stream: tuple[Path, Layout]) -> None:
    path, layout = stream
    poke_number(path, layout.entries[ONE], layout.grains[TWO] // SECTOR)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(ONE)


def test_a_grain_that_inflates_to_too_much_or_too_little(stream: tuple[Path, Layout]) -> None:
    import zlib

    path, layout = stream
    for size in (GRAIN - 512, GRAIN + 1, 64 << 20):
        packed = zlib.compress(bytes(size), 9)
        space = layout.grains[STORED[2]] - layout.grains[ONE]
        if len(packed) + 12 > space:
            continue
        poke(path, layout.grains[ONE] + 8, struct.pack("<I", len(packed)) + packed)
        with open_image(path) as image, pytest.raises(CorruptMedia, match=r"inflates to|end early") as caught:
            image.read_at(ONE * GRAIN, 10)
        assert caught.value.ranges[0][:2] == (ONE * GRAIN, 10)


def test_several_bad_grains_are_all_named(stream: tuple[Path, Layout]) -> None:
    path, layout = stream
    for grain in (ONE, TWO, STORED[-1]):
        flip(path, layout.grains[grain] + 12 + 30)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(ONE, TWO, STORED[-1])
        assert [extent.contains for extent in image.data_extents()]  # the map needs no grain


CUTS = {
    "the end-of-stream marker": -512,
    "the footer": -1024,
    "half of it": SIZE // 4,
    "all but the header": 12 * 512,
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_stream_that_was_cut_short(stream: tuple[Path, Layout], cut: str) -> None:
    path, _ = stream
    shorten(path, CUTS[cut])
    with pytest.raises(
        MissingSegment, match=f"{path} is cut short: (a stream of|its descriptor ends)"
    ) as caught:
        open_image(path)
    assert caught.value.hint


def test_a_stream_without_its_footer(tmp_path: Path) -> None:
    make.write_stream(tmp_path / "d.vmdk", TRUTH, text=TEXT, footer=False)
    with pytest.raises(MissingSegment, match="without the footer"):
        open_image(tmp_path / "d.vmdk")


def test_a_footer_of_another_disk(stream: tuple[Path, Layout]) -> None:
    path, _ = stream
    poke(path, path.stat().st_size - 1024 + 12, struct.pack("<Q", 77 * 128))
    with pytest.raises(CorruptImage, match=r"in its header and .* in its footer"):
        open_image(path)


@pytest.mark.parametrize("sector", [0, 1 << 40, 5])
def test_a_footer_that_points_elsewhere(stream: tuple[Path, Layout], sector: int) -> None:
    path, _ = stream
    poke(path, path.stat().st_size - 1024 + 56, struct.pack("<Q", sector))
    with pytest.raises(ImageError, match="grain directory") as caught:
        open_image(path)
    assert isinstance(caught.value, CorruptImage | MissingSegment)


def test_a_stream_that_something_was_put_into(stream: tuple[Path, Layout]) -> None:
    path, layout = stream
    content = path.read_bytes()
    path.write_bytes(content[: layout.grains[ONE]] + bytes(1024) + content[layout.grains[ONE] :])
    with pytest.raises(CorruptImage, match="has no marker of a grain directory"):
        open_image(path)


def test_zeros_behind_a_stream_do_no_harm(stream: tuple[Path, Layout]) -> None:
    path, _ = stream
    with path.open("ab") as file:
        file.write(bytes(10_240))
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []


# --- grain tables ---


def test_an_entry_beyond_the_end_is_taken_from_the_copy(disk: tuple[Path, Layout]) -> None:
    path, layout = disk
    poke_number(path, layout.entries[ONE], 0x7FFFFFFF)
    poke_number(path, layout.copies[TWO], 0x7FFFFFFF)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []
        assert any("2 wrong entries in one of its copies" in found for found in image.anomalies)


@pytest.mark.parametrize("value", [0, 7, -1], ids=["nothing", "the header", "another grain"])
def test_copies_that_disagree(disk: tuple[Path, Layout], value: int) -> None:
    """One that is possible and differs: neither is believed, and no grain but that one is lost."""
    path, layout = disk
    wrong = layout.grains[TWO] // SECTOR if value < 0 else value
    for places in (layout.entries, layout.copies):
        right = layout.grains[ONE] // SECTOR
        poke_number(path, places[ONE], wrong)
        with open_image(path) as image:
            found = bad_ranges(image, TRUTH)
            assert found == ([] if value == 7 else lost(ONE))
            if found:
                with pytest.raises(CorruptMedia, match="the two grain tables disagree"):
                    image.read_at(ONE * GRAIN, 1)
        poke_number(path, places[ONE], right)


def test_an_entry_beyond_the_end_without_a_copy(alone: tuple[Path, Layout]) -> None:
    path, layout = alone
    poke_number(path, layout.entries[ONE], 0x7FFFFFFF)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(ONE)
        assert any(extent.offset <= ONE * GRAIN < extent.end for extent in image.data_extents())


def test_an_entry_that_points_into_the_header(alone: tuple[Path, Layout]) -> None:
    path, layout = alone
    poke_number(path, layout.entries[ONE], 1)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(ONE)


def test_a_table_beyond_the_end(alone: tuple[Path, Layout]) -> None:
    path, layout = alone
    poke_number(path, layout.directory, 0x7FFFFFFF)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == [(0, SIZE)]
        with pytest.raises(CorruptMedia, match=r"grain table 0 of .* is said to be at byte"):
            image.read_at(0, 1)
        assert [(extent.offset, extent.length) for extent in image.data_extents()] == [(0, SIZE)]


def test_a_table_beyond_the_end_is_taken_from_the_copy(disk: tuple[Path, Layout]) -> None:
    path, layout = disk
    for place in (layout.directory, layout.redundant):
        with path.open("rb") as file:
            file.seek(place)
            before = file.read(4)
        poke_number(path, place, 0x7FFFFFFF)
        with open_image(path) as image:
            assert bad_ranges(image, TRUTH) == []
            assert any("the other copy of it is used" in found for found in image.anomalies)
        poke(path, place, before)


def test_both_tables_beyond_the_end(disk: tuple[Path, Layout]) -> None:
    path, layout = disk
    for place in (layout.directory, layout.redundant):
        poke_number(path, place, 0x7FFFFFFF)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == [(0, SIZE)]


# --- files that are short ---


@pytest.mark.parametrize("cut", [-1, -SECTOR, -3 * GRAIN])
def test_a_sparse_extent_that_was_cut_short(disk: tuple[Path, Layout], cut: int) -> None:
    path, _ = disk
    shorten(path, cut - (GRAIN - 3 * SECTOR))  # the last grain is only partly of the media
    with pytest.raises(MissingSegment, match=f"{path} is cut short: "):
        open_image(path)


def test_what_the_media_has_not_need_not_be_there(disk: tuple[Path, Layout]) -> None:
    path, _ = disk
    assert any(TRUTH[20 * GRAIN :])
    shorten(path, -(GRAIN - 3 * SECTOR))
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []


def test_a_directory_behind_the_end(disk: tuple[Path, Layout]) -> None:
    path, layout = disk
    shorten(path, layout.directory + 2)
    with pytest.raises(MissingSegment, match="its grain directory ends at"):
        open_image(path)


def test_a_file_that_shrinks_while_it_is_read(disk: tuple[Path, Layout]) -> None:
    path, layout = disk
    with open_image(path) as image:
        assert image.read_at(0, SIZE) == TRUTH
        shorten(path, layout.grains[TWO])
        with pytest.raises(MediaReadError, match="shorter than when it was opened"):
            image.read_at(TWO * GRAIN, 10)


def write_flat(folder: Path, *, offset: int = 0) -> Path:
    (folder / "disk-f001.vmdk").write_bytes(bytes(offset * SECTOR) + TRUTH[: 10 * GRAIN])
    (folder / "disk-f002.vmdk").write_bytes(TRUTH[10 * GRAIN :])
    sizes = 10 * GRAIN // SECTOR, (SIZE - 10 * GRAIN) // SECTOR
    lines = [f'RW {sizes[0]} FLAT "disk-f001.vmdk" {offset}', f'RW {sizes[1]} FLAT "disk-f002.vmdk" 0']
    (folder / "disk.vmdk").write_bytes(make.descriptor(lines, kind="twoGbMaxExtentFlat"))
    return folder / "disk.vmdk"


@pytest.mark.parametrize("name", ["disk-f001.vmdk", "disk-f002.vmdk"])
def test_a_flat_extent_that_is_absent_or_short(tmp_path: Path, name: str) -> None:
    path = write_flat(tmp_path, offset=3)
    with open_image(path) as image:
        assert image.read_at(0, SIZE) == TRUTH
    shorten(tmp_path / name, -1)
    with pytest.raises(MissingSegment, match=f"{name} is short: [0-9]+ bytes where .* needs [0-9]+"):
        open_image(path)
    (tmp_path / name).unlink()
    with pytest.raises(MissingSegment, match=f"needs {name}, and .* is not there"):
        open_image(path)


def write_split(folder: Path) -> Path:
    sizes = [12 * GRAIN, SIZE - 12 * GRAIN]
    make.write_sparse(folder / "disk-s001.vmdk", TRUTH[: sizes[0]])
    make.write_sparse(folder / "disk-s002.vmdk", TRUTH[sizes[0] :])
    lines = [f'RW {size // SECTOR} SPARSE "disk-s00{n}.vmdk"' for n, size in enumerate(sizes, 1)]
    (folder / "disk.vmdk").write_bytes(make.descriptor(lines, kind="twoGbMaxExtentSparse"))
    return folder / "disk.vmdk"


def test_split_extents_absent_empty_swapped(tmp_path: Path) -> None:
    path = write_split(tmp_path)
    one, two = tmp_path / "disk-s001.vmdk", tmp_path / "disk-s002.vmdk"
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(CorruptImage, match=r"has a capacity of .* where .* lists"):
        open_image(path)
    one.write_bytes(b"")
    with pytest.raises(CorruptImage, match=r"disk-s001.vmdk is no sparse extent"):
        open_image(path)
    one.write_bytes(first)
    two.unlink()
    with pytest.raises(MissingSegment, match=r"needs disk-s002.vmdk"):
        open_image(path)
    two.mkdir()
    with pytest.raises(MissingSegment, match="is no regular file"):
        open_image(path)


def test_an_extent_instead_of_its_descriptor(tmp_path: Path) -> None:
    path = write_split(tmp_path)
    with pytest.raises(UnknownFormat, match="is one extent of a VMDK") as caught:
        open_image(tmp_path / "disk-s002.vmdk")
    assert str(path) in (caught.value.hint or "")
    path.unlink()
    with pytest.raises(UnknownFormat) as caught:
        open_image(tmp_path / "disk-s002.vmdk")
    assert "not in this folder" in (caught.value.hint or "")


def test_a_flat_extent_instead_of_its_descriptor(tmp_path: Path) -> None:
    path = write_flat(tmp_path)
    with open_image(tmp_path / "disk-f001.vmdk") as image:
        assert image.format == "raw"
        notices = image.metadata["notices"]
        assert isinstance(notices, tuple)
    assert any(str(path) in notice and "flat extent" in notice for notice in notices)


# --- headers ---

SECTORS = SIZE // SECTOR
HEADERS: dict[str, tuple[int, bytes, str]] = {
    "version 9": (4, struct.pack("<I", 9), "VMDK"),
    "capacity 2^63": (12, struct.pack("<Q", 1 << 63), "states a capacity of"),
    "capacity 0": (12, struct.pack("<Q", 0), "states a capacity of 0"),
    "another capacity": (12, struct.pack("<Q", SECTORS + 4096), "has a capacity of"),
    "grains of 3 sectors": (20, struct.pack("<Q", 3), "states grains of 3"),
    "grains of 2^40 sectors": (20, struct.pack("<Q", 1 << 40), "states grains of"),
    "a descriptor of 2^50 sectors": (36, struct.pack("<Q", 1 << 50), "states a descriptor of"),
    "a descriptor behind the end": (28, struct.pack("<Q", 1 << 50), "is cut short"),
    "tables of 2^31 entries": (44, struct.pack("<I", 1 << 31), "states grain tables of"),
    "no directory": (56, struct.pack("<Q", 0), "has no grain directory"),
    "a directory at 2^60": (56, struct.pack("<Q", 1 << 60), "is cut short"),
    "line ends of a text transfer": (73, b"\n \n\n", "as if it were text"),
    "a method of compression": (8, struct.pack("<I", 0x30003), "compressed by method 0"),
    "compressed without markers": (8, struct.pack("<I", 0x10003), "VMDK|no markers"),
}


@pytest.mark.parametrize("fault", HEADERS)
def test_a_header_that_cannot_be(disk: tuple[Path, Layout], fault: str) -> None:
    path, _ = disk
    offset, value, words = HEADERS[fault]
    poke(path, offset, value)
    with pytest.raises(ImageError, match=words) as caught:
        open_image(path)
    assert str(path) in caught.value.message


def test_a_redundant_directory_behind_the_end(disk: tuple[Path, Layout]) -> None:
    path, _ = disk
    poke(path, 48, struct.pack("<Q", 1 << 60))
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []
        assert any("ends beyond the file" in found for found in image.anomalies)


def test_a_disk_that_was_not_closed(disk: tuple[Path, Layout]) -> None:
    path, _ = disk
    poke(path, 72, b"\1")
    with open_image(path) as image:
        assert any("was not closed" in notice for notice in image.metadata["notices"])  # type: ignore[attr-defined]
        assert bad_ranges(image, TRUTH) == []


def test_a_huge_claim_takes_no_memory(tmp_path: Path) -> None:
    """64 TiB in a file with holes: a directory of two million tables, all of them absent but two."""
    path = tmp_path / "disk.vmdk"
    sectors = 64 << 31
    text = make.descriptor([f'RW {sectors} SPARSE "disk.vmdk"'])
    with path.open("wb") as file:
        head = make.header(sectors, gdOffset=128, descriptorOffset=1, descriptorSize=20, flags=1)
        file.write(head + text.ljust(20 * SECTOR, b"\0"))
        file.truncate(128 * SECTOR + 4 * (sectors // 65536) + GRAIN)
    tracemalloc.start()
    with open_image(path) as image:
        assert image.size == 64 << 40
        assert list(image.data_extents()) == []
        assert not any(image.read_at((63 << 40) - 5, 1 << 20))
    assert tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


def test_many_extents_few_descriptors(tmp_path: Path) -> None:
    """Three hundred files, and only so many open at a time."""
    truth = make.media(300 * 4 * SECTOR, 5, grain=SECTOR * 3)
    lines = []
    for number in range(300):
        part = truth[number * 2048 : (number + 1) * 2048]
        (tmp_path / f"x-f{number:03}.vmdk").write_bytes(part)
        lines.append(f'RW 4 FLAT "x-f{number:03}.vmdk" 0')
    (tmp_path / "x.vmdk").write_bytes(make.descriptor(lines, kind="twoGbMaxExtentFlat"))
    code = (
        "import os, resource, sys\n"
        "from imgkit.containers import open_image\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "with open_image(sys.argv[1]) as image:\n"
        "    sys.stdout.buffer.write(image.read_at(0, image.size))\n"
        "    sys.exit(len(image.segments) != 301 or len(os.listdir('/proc/self/fd')) > 40)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.vmdk")]
    assert subprocess.run(command, check=True, capture_output=True).stdout == truth


# --- no fault of a table passes for zeros or for another grain ---


@pytest.mark.parametrize("grain", STORED)
def test_a_stream_cannot_lose_a_grain_unseen(stream: tuple[Path, Layout], grain: int) -> None:
    path, layout = stream
    poke_number(path, layout.entries[grain], 0)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == lost(grain)
        with pytest.raises(CorruptMedia, match="calls it empty"):
            image.read_at(grain * GRAIN, 1)


def test_a_stream_cannot_lose_a_table_unseen(tmp_path: Path) -> None:
    size = 520 * GRAIN
    truth = (
        bytes(5 * GRAIN) + make.media(2 * GRAIN, 3) + b"a" * GRAIN + bytes(505 * GRAIN) + b"b" * (7 * GRAIN)
    )
    assert len(truth) == size
    text = make.descriptor([f'RW {size // 512} SPARSE "disk.vmdk"'], kind="streamOptimized")
    path = tmp_path / "disk.vmdk"
    layout = make.write_stream(path, truth, text=text)
    for table, stored in ((0, [n for n in layout.grains if n < 512]), (1, list(range(513, 520)))):
        before = path.read_bytes()
        poke_number(path, layout.directory + 4 * table, 0)
        with open_image(path) as image:
            assert bad_ranges(image, truth) == [(stored[0] * GRAIN, len(stored) * GRAIN)]
        poke_number(path, layout.directory + 4 * table, 64)
        with open_image(path) as image, pytest.raises(CorruptMedia, match="no marker announces one"):
            image.read_at(stored[0] * GRAIN, 1)
        path.write_bytes(before)


def test_one_flipped_bit_of_a_map_is_never_a_wrong_byte(disk: tuple[Path, Layout], tmp_path: Path) -> None:
    """Every bit of both directories and of the entries in use, one after the other, with two copies and in a stream."""
    one, layout = disk
    two = tmp_path / "stream.vmdk"
    streamed = make.write_stream(two, TRUTH, text=make.descriptor([LINE], kind="streamOptimized"))
    places = [(one, layout.directory), (one, layout.redundant), (two, streamed.directory)]
    for grain in (0, *STORED[:3]):
        places += [(one, layout.entries[grain]), (one, layout.copies[grain]), (two, streamed.entries[grain])]
    outcomes = set()
    for path, place in places:
        for bit in range(32):
            flip(path, place + bit // 8, bit % 8)
            outcomes.add(is_truth_or_error(path))
            flip(path, place + bit // 8, bit % 8)
            assert is_truth_or_error(path) == "all"
    assert outcomes == {"all", "some"}


def is_truth_or_error(path: Path) -> str:
    buffer = bytearray(b"\xa5") * SIZE
    with open_image(path) as image:
        try:
            image.read_into(0, memoryview(buffer))
        except CorruptMedia as error:
            for offset, length, _reason in error.ranges:
                buffer[offset : offset + length] = TRUTH[offset : offset + length]
            assert buffer == TRUTH
            return "some"
    assert buffer == TRUTH
    return "all"


def test_a_capacity_in_whole_grains(tmp_path: Path) -> None:
    """As VirtualBox has it: the descriptor says how much of the last grain is of the disk."""
    path = tmp_path / "disk.vmdk"
    make.write_sparse(path, TRUTH, text=TEXT, capacity=21 * GRAIN // SECTOR)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []
        assert any("of which the disk has" in notice for notice in image.metadata["notices"])  # type: ignore[attr-defined]
    make.write_sparse(path, TRUTH, text=TEXT, capacity=21 * GRAIN // SECTOR - 1)
    with pytest.raises(CorruptImage, match="has a capacity of"):
        open_image(path)


# --- a medium that fails ---


def failing(monkeypatch: pytest.MonkeyPatch, path: Path, start: int, end: int) -> None:
    """From now on the kernel gives EIO for every read that touches these bytes of a file."""
    real, inode = os.preadv, path.stat().st_ino

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(fd).st_ino == inode and offset < end and offset + len(buffers[0]) > start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    monkeypatch.setattr("imgkit.containers.evidence_file.os.preadv", preadv)


def test_a_bad_sector_under_a_compressed_grain(
    stream: tuple[Path, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, layout = stream
    with open_image(path) as image:
        image.read_at(0, 1)  # the table is there
        failing(monkeypatch, path, layout.grains[ONE], layout.grains[ONE] + 1)
        assert bad_ranges(image, TRUTH) == lost(ONE)
        with pytest.raises(MediaReadError) as caught:
            image.read_at(0, SIZE)
        assert caught.value.errno == errno.EIO
        assert not isinstance(caught.value, CorruptMedia)


def test_a_bad_sector_under_a_table(alone: tuple[Path, Layout], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the table tells is lost as long as it cannot be read, and no longer."""
    path, layout = alone
    with pytest.MonkeyPatch.context() as broken:
        failing(broken, path, layout.entries[0], layout.entries[0] + 1)
        with open_image(path) as image:
            assert bad_ranges(image, TRUTH) == [(0, SIZE)]
            with pytest.raises(MediaReadError) as caught:
                image.read_at(5, 5)
            assert caught.value.errno == errno.EIO
            broken.undo()
            assert bad_ranges(image, TRUTH) == []


def test_a_bad_sector_under_one_of_two_tables(
    disk: tuple[Path, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, layout = disk
    failing(monkeypatch, path, layout.entries[0], layout.entries[0] + 1)
    with open_image(path) as image:
        assert bad_ranges(image, TRUTH) == []
        assert any("the other copy of it is used" in found for found in image.anomalies)


def test_a_bad_sector_under_plain_bytes(alone: tuple[Path, Layout], monkeypatch: pytest.MonkeyPatch) -> None:
    """Found sector by sector, as on a raw disk."""
    path, layout = alone
    bad = layout.grains[TWO] + 3 * SECTOR
    with open_image(path) as image:
        failing(monkeypatch, path, bad, bad + SECTOR)
        found = hash_range(image, 0, SIZE, algorithms=["sha256"], zero_fill=True)
        with pytest.raises(MediaReadError) as caught:
            image.read_at(TWO * GRAIN, GRAIN)
    assert caught.value.errno == errno.EIO
    assert found.read_errors == ((TWO * GRAIN + 3 * SECTOR, SECTOR),)
    at = TWO * GRAIN + 3 * SECTOR
    assert (
        found.zero_filled[0].value
        == hashlib.sha256(TRUTH[:at] + bytes(SECTOR) + TRUTH[at + SECTOR :]).hexdigest()
    )


def test_a_closed_image_is_not_read(stream: tuple[Path, Layout]) -> None:
    path, _ = stream
    image = open_image(path)
    image.read_at(0, SIZE)
    image.close()
    image.close()
    with pytest.raises(ValueError, match="closed image"):
        image.read_at(0, SIZE)
