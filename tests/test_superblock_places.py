"""A copy of the places where libblkid looks is enough: the same answer as from the whole volume."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from imgkit import blkid
from imgkit.superblock_places import superblock_places
from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SIZE = 256 * MIB
CATALOGUE = 20000  # block of it
BLOCK = 4096


def hfs_plus(start: int = 0, label: str = "Far Away") -> dict[int, bytes]:
    """A volume header whose catalogue lies far behind it, with its first leaf in the second extent."""
    header = bytearray(512)
    struct.pack_into(">2sH", header, 0, b"H+", 4)
    struct.pack_into(">II", header, 40, BLOCK, (SIZE - start) // BLOCK)
    struct.pack_into(">IIII", header, 288, CATALOGUE, 2, 2 * CATALOGUE, 8)
    node = bytearray(8192)
    struct.pack_into(">IIBBHH", node, 0, 0, 0, 1, 0, 3, 0)
    struct.pack_into(">HIIIIH", node, 14, 1, 1, 1, 1, 1, 8192)
    leaf = bytearray(8192)
    struct.pack_into(">IIBBHH", leaf, 0, 0, 0, 0xFF, 1, 1, 0)
    name = label.encode("utf-16-be")
    struct.pack_into(f">HIH{len(name)}s", leaf, 14, 6 + len(name), 1, len(label), name)
    return {
        start + 1024: bytes(header),
        start + CATALOGUE * BLOCK: bytes(node),
        start + 2 * CATALOGUE * BLOCK: bytes(leaf),
    }


def wrapped_hfs_plus() -> dict[int, bytes]:
    """The same inside an HFS volume, as Macs made them for those that knew HFS only."""
    wrapper = bytearray(512)
    struct.pack_into(">2s", wrapper, 0, b"BD")
    struct.pack_into(">I4xH", wrapper, 20, 8192, 16)
    struct.pack_into(">2sHH", wrapper, 124, b"H+", 3, 1000)
    return {1024: bytes(wrapper), **hfs_plus(16 * 512 + 3 * 8192)}


def ddf() -> dict[int, bytes]:
    """A DDF member whose primary header is far before its anchor."""
    header = bytearray(512)
    struct.pack_into(">II24s8s", header, 0, 0xDE11DE11, 0, b"Linux-MD".ljust(24), b"01.02.00")
    struct.pack_into(">QQ", header, 96, 100 * MIB // 512, 0)
    return {100 * MIB: bytes(header), SIZE - 512: bytes(header)}


VOLUMES: dict[str, tuple[str, str | None, dict[int, bytes]]] = {
    "hfsplus": ("hfsplus", "Far Away", hfs_plus()),
    "hfsplus in hfs": ("hfsplus", "Far Away", wrapped_hfs_plus()),
    "ddf": ("ddf_raid_member", None, ddf()),
    "promise": ("promise_fasttrack_raid_member", None, {SIZE - 3087 * 512: b"Promise Technology, Inc."}),
    "vmfs": ("VMFS", None, {2 * MIB: b"\x5e\xf1\xab\x2f" + bytes(508)}),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_copy_says_what_the_volume_says(tmp_path: Path, name: str) -> None:
    need(blkid.library_version() is not None, "needs libblkid.so.1 (packages.txt)")
    kind, label, pieces = VOLUMES[name]
    with (tmp_path / "volume").open("w+b") as file:
        file.truncate(SIZE)
        for offset, data in pieces.items():
            os.pwrite(file.fileno(), data, offset)
        whole = blkid.probe_superblock(file.fileno(), 0, SIZE)
        copied = blkid.probe_superblock_through(
            lambda offset, length: os.pread(file.fileno(), length, offset), SIZE
        )
    assert whole is not None
    assert (whole.type, whole.label) == (kind, label)
    assert copied == whole


@pytest.mark.parametrize("length", [0, 1, 511, 1024, 1536, 3 * MIB])
def test_nothing_outside_a_volume_is_read(length: int) -> None:
    asked: list[tuple[int, int]] = []

    def read(offset: int, count: int) -> bytes:
        asked.append((offset, count))
        return b"\xff" * count

    blkid.probe_superblock_through(read, length)
    assert all(offset >= 0 and offset + count <= length for offset, count in asked)


def test_numbers_that_cannot_be_meant_cost_nothing() -> None:
    """Every byte of every field at its largest: bounded places, wherever they lie."""
    for start in (b"H+", b"HX", b"BD", b"\xde\x11\xde\x11", b"\xeb\x52\x90NTFS    ", b"\xeb\x76\x90EXFAT   "):
        places = list(superblock_places(lambda _, count, head=start: head.ljust(count, b"\xff"), SIZE))  # type: ignore[misc]
        assert len(places) < 20
        assert all(count <= 2 * MIB for _, count in places)
