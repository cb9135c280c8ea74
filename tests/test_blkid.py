"""libblkid through ctypes: what it says, at any offset, and what happens without it."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit import blkid
from imgkit.errors import HostError
from imgkit.partitions import read_partition_table
from tests.conftest import need
from tests.partitions.disks import (
    LINUX,
    MIB,
    MemoryImage,
    boot_record,
    codes,
    mbr_row,
    simple_gpt,
    write_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def _library() -> None:
    need(blkid.library_version() is not None, "needs libblkid.so.1 (packages.txt)")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[int]:
    """An ext4 volume of 8 MiB at 1 MiB of a file of 10 MiB."""
    path = tmp_path / "volume.img"
    with path.open("wb") as file:
        file.truncate(10 * MIB)
    uuid = "11111111-2222-3333-4444-555555555555"
    subprocess.run(
        ["mke2fs", "-Fqt", "ext4", "-L", "fünf", "-U", uuid, "-E", f"offset={MIB}", path, "8M"], check=True
    )
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.usefixtures("_library")
def test_a_superblock_at_an_offset(volume: int) -> None:
    found = blkid.probe_superblock(volume, MIB, 8 * MIB)
    assert found == blkid.BlkidResult("ext4", "fünf", "11111111-2222-3333-4444-555555555555", "filesystem")
    assert blkid.probe_superblock(volume, 0, 10 * MIB) is None
    assert blkid.probe_superblock(volume, MIB, 0) is None


@pytest.mark.usefixtures("_library")
def test_a_superblock_that_no_descriptor_holds(volume: int) -> None:
    def read(offset: int, length: int) -> bytes:
        return os.pread(volume, length, MIB + offset)

    assert blkid.probe_superblock_through(read, 8 * MIB) == blkid.probe_superblock(volume, MIB, 8 * MIB)


@pytest.mark.usefixtures("_library")
def test_the_descriptor_stays_where_it_was_and_open(volume: int) -> None:
    os.lseek(volume, 12345, os.SEEK_SET)
    blkid.probe_superblock(volume, MIB, 8 * MIB)
    blkid.probe_partitions(volume, 0, 10 * MIB)
    assert os.fstat(volume).st_size == 10 * MIB


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("lba", [512, 4096])
def test_partitions(tmp_path: Path, lba: int) -> None:
    path = write_image(tmp_path / "gpt.img", simple_gpt(lba=lba).image())
    fd = os.open(path, os.O_RDONLY)
    try:
        table = blkid.probe_partitions(fd, 0, 64 * MIB, sector_size=lba)
    finally:
        os.close(fd)
    assert table is not None
    assert table.type == "gpt"
    assert [(row.number, row.offset, row.length) for row in table.partitions] == [
        (1, MIB, 7 * MIB),
        (2, 8 * MIB, 24 * MIB),
    ]
    assert table.partitions[1].type == LINUX.lower()
    assert table.partitions[1].name == "root"


@pytest.mark.usefixtures("_library")
def test_containers_and_nested_rows_are_marked(tmp_path: Path) -> None:
    image = MemoryImage(64 * MIB, {0: boot_record([mbr_row(0x83, 63, 9), mbr_row(5, 2048, 9000)])})
    image.put(2048 * 512, boot_record([mbr_row(0x83, 63, 100)]))
    with blkid.sparse_copy(image.size, list(image.pieces.items())) as fd:
        table = blkid.probe_partitions(fd, 0, image.size)
    assert table is not None
    assert [(row.number, row.extended) for row in table.partitions] == [(1, False), (2, True), (5, False)]


def test_a_sparse_copy_of_any_size() -> None:
    pieces = [(0, b"start"), ((20 << 40) - 3, b"end and more"), (20 << 40, b"outside"), (-1, b"before")]
    with blkid.sparse_copy(20 << 40, pieces) as fd:
        assert os.pread(fd, 5, 0) == b"start"
        assert os.pread(fd, 10, (20 << 40) - 3) == b"end"
        assert os.fstat(fd).st_size == 20 << 40
        assert os.fstat(fd).st_blocks < 64
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.usefixtures("_library")
def test_a_descriptor_that_it_refuses(volume: int) -> None:
    with pytest.raises(HostError, match="libblkid"):
        blkid.probe_superblock(volume, 1 << 62, 10)


@pytest.mark.usefixtures("_library")
def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", blkid.library_version() or "")


@pytest.mark.usefixtures("_library")
def test_no_memory_and_no_descriptor_is_lost(volume: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        blkid.probe_superblock(volume, MIB, 8 * MIB)
        blkid.probe_partitions(volume, 0, 10 * MIB)
        blkid.probe_superblock_through(lambda offset, length: bytes(length if offset < MIB else 0), MIB)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host without libblkid (musl, a container)."""

    def refuse(name: str, **_: object) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    blkid._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    yield
    blkid._library.cache_clear()


@pytest.mark.usefixtures("without")
def test_without_libblkid_everything_goes_on_with_one_notice(volume: int) -> None:
    assert blkid.library_version() is None
    assert blkid.probe_superblock(volume, MIB, 8 * MIB) is None
    assert blkid.probe_partitions(volume, 0, 10 * MIB) is None
    table = read_partition_table(simple_gpt().image())
    assert len(table.partitions) == 2
    assert codes(table) == {"witness.blkid-absent"}
    assert "libblkid" not in dict(table.readers)


class _Hostile:
    """A libblkid that returns what it must not."""

    def __init__(self, start: int, size: int) -> None:
        self.start, self.size = start, size

    def __getattr__(self, name: str) -> object:
        answers = {
            "blkid_partition_get_start": self.start,
            "blkid_partition_get_size": self.size,
            "blkid_partition_get_type_string": b"\xff" * 5000,
        }
        return lambda *_: answers.get(name, 0)


@pytest.mark.parametrize(
    ("start", "size"), [(-1, 10), (10, -1), (1 << 62, 1 << 62), (1, (1 << 63) // 512), (-(1 << 63), 1 << 62)]
)
def test_numbers_that_cannot_be_meant_are_rejected(start: int, size: int) -> None:
    assert blkid._partition(_Hostile(start, size), 1, 0) is None  # type: ignore[arg-type]


def test_text_is_bounded_and_always_text() -> None:
    row = blkid._partition(_Hostile(8, 8), 1, 0)  # type: ignore[arg-type]
    assert row is not None
    assert row.type == "\ufffd" * 1024
    assert (row.offset, row.length) == (4096, 4096)
