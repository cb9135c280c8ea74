"""What a partition holds: libblkid's answer for every type at hand, our table where it is silent or absent."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from imgkit import blkid
from imgkit.containers.evidence_file import open_evidence
from imgkit.containers.raw import RawImage
from imgkit.filesystems.signatures import SIGNATURES, Filesystem, identify, match
from imgkit.image import Extent
from tests.conftest import need
from tests.partitions.disks import MIB, MemoryImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = "11111111-2222-3333-4444-555555555555"
# type -> command that makes it in a file of so many MiB; {} is the file.
MADE: dict[str, tuple[int, list[str]]] = {
    "ext2": (8, ["mke2fs", "-Fqt", "ext2", "-L", "label", "-U", UUID, "{}"]),
    "ext3": (8, ["mke2fs", "-Fqt", "ext3", "-L", "label", "-U", UUID, "{}"]),
    "ext4": (8, ["mke2fs", "-Fqt", "ext4", "-L", "label", "-U", UUID, "{}"]),
    "xfs": (320, ["mkfs.xfs", "-fq", "-L", "label", "-m", f"uuid={UUID}", "{}"]),
    "btrfs": (128, ["mkfs.btrfs", "-qf", "-L", "label", "-U", UUID, "{}"]),
    "vfat": (8, ["mkfs.vfat", "-n", "LABEL", "{}"]),
    "ntfs": (8, ["mkfs.ntfs", "-FQq", "-L", "label", "{}"]),
    "exfat": (8, ["mkfs.exfat", "-L", "label", "{}"]),
    "swap": (8, ["mkswap", "-L", "label", "-U", UUID, "{}"]),
    "udf": (8, ["mkudffs", "-l", "label", "{}"]),
}
USAGE = {"swap": "other"}


def raw(path: Path) -> RawImage:
    return RawImage(open_evidence(os.fspath(path)))


def make(kind: str, path: Path) -> Path:
    size, command = MADE[kind]
    need(shutil.which(command[0]) is not None, f"needs {command[0]} (packages.txt)")
    with path.open("wb") as file:
        file.truncate(size * MIB)
    subprocess.run([item.format(path) for item in command], check=True, capture_output=True)
    return path


class NoDescriptor(RawImage):
    """The same media as a container would hold it."""

    def backing_fileno(self) -> int | None:
        return None


@pytest.mark.parametrize("kind", MADE)
def test_made_by_its_own_tool(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path / "volume.img")
    before = path.stat()
    with raw(path) as image:
        whole = Extent(0, image.size)
        found = identify(image, whole)
        by_table = match(image.read_at, image.size)
    assert found is not None
    assert (found.type, (found.label or "").lower(), found.usage) == (
        kind,
        "label",
        USAGE.get(kind, "filesystem"),
    )
    assert found.uuid
    assert by_table is not None
    assert (by_table.type, by_table.usage) == (kind, found.usage)
    if by_table.uuid:
        assert (by_table.uuid, by_table.label) == (found.uuid, found.label)
    with NoDescriptor(open_evidence(os.fspath(path))) as image:
        assert identify(image, whole) == found
    after = path.stat()
    assert (before.st_atime_ns, before.st_mtime_ns) == (after.st_atime_ns, after.st_mtime_ns)


def test_inside_a_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    make("ext4", tmp_path / "volume.img")
    with path.open("wb") as disk:
        disk.truncate(3 * MIB)
        disk.seek(3 * MIB)
        disk.write((tmp_path / "volume.img").read_bytes())
    with raw(path) as image:
        found = identify(image, Extent(3 * MIB, 8 * MIB))
        assert found == Filesystem("ext4", "label", UUID)
        assert identify(image, Extent(0, 3 * MIB)) is None
        # an acquisition that ends inside the partition, and one that ends before it
        assert identify(image, Extent(3 * MIB, 1 << 50)) == found
        assert identify(image, Extent(1 << 50, 1 << 50)) is None
        assert identify(image, Extent(3 * MIB, 0)) is None


@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: f"{row.type}-{row.offset}")
def test_every_row_is_found_where_it_says(row: Any) -> None:
    """The magic alone, with what the row's own check wants beside it."""
    size = 8 * MIB
    at = row.place(size) if row.place else row.offset
    image = MemoryImage(size, {at: row.magic})
    for offset, data in BESIDE.get(row.type, {}).items():
        image.put(offset, data)
    found = match(image.read_at, size)
    assert found is not None
    assert (found.type, found.usage) == (row.type, row.usage)
    assert match(MemoryImage(size).read_at, size) is None


_EXT = {1028: struct.pack("<I", 8192), 1064: struct.pack("<I", 8192)}
_BOOT = {0: b"\xeb\x58\x90", 11: struct.pack("<H", 512), 510: b"\x55\xaa"}
BESIDE: dict[str, dict[int, bytes]] = {
    "ext2": _EXT,
    "ext3": _EXT | {1116: b"\x04"},
    "ext4": _EXT | {1116: b"\x04", 1120: b"\x42"},
    "ntfs": _BOOT,
    "vfat": _BOOT,
    "apfs": {36: struct.pack("<I", 4096)},
    "bcachefs": {4112: struct.pack("<H", 13)},
    "squashfs": {28: b"\x04"},
    "hfs": {1044: b"\0\0\2\0"},
    "nilfs2": {1024: b"\2"},
    "minix": {1024: b"\x10", 1028: b"\x03"},
}


def test_two_bytes_of_ext_alone_are_nothing() -> None:
    image = MemoryImage(8 * MIB, {1080: b"\x53\xef"})
    assert match(image.read_at, image.size) is None


def test_types_that_a_libblkid_may_not_know() -> None:
    image = MemoryImage(8 * MIB, {3: b"-FVE-FS-"})
    assert match(image.read_at, image.size, newer_only=True) == Filesystem("BitLocker", usage="crypto")
    assert identify(image, Extent(0, image.size)) == Filesystem("BitLocker", usage="crypto")
    boring = MemoryImage(8 * MIB, {65600: b"_BHRfS_M"})
    assert match(boring.read_at, boring.size, newer_only=True) is None


def test_hostile_volumes_of_any_size() -> None:
    for size in (1, 511, 4096, 1 << 62):
        noise = MemoryImage(size, {0: bytes(range(256)) * 16})
        assert identify(noise, Extent(0, size)) is None
        boot = bytearray(b"\xff" * 512)
        boot[3:11] = b"EXFAT   "
        assert identify(MemoryImage(size, {0: bytes(boot)}), Extent(0, size)) is None


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blkid, "_library", lambda: None)


@pytest.mark.usefixtures("without")
def test_without_libblkid(tmp_path: Path) -> None:
    with raw(make("btrfs", tmp_path / "volume.img")) as image:
        assert identify(image, Extent(0, image.size)) == Filesystem("btrfs", "label", UUID)


def volumes(corpus: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for line in (corpus / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        disks = entry["expected"] or []
        if len(disks) == 1 and entry["container"] in {"raw", "xz>raw", "gz>raw"}:
            yield entry, disks[0]


# What libblkid 2.38 does not know, and we do.
OURS = {"bcachefs"}


@pytest.mark.corpus
def test_volumes_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    wrong, seen = [], set()
    for entry, disk in volumes(corpus):
        if disk["media_size"] > 32 * MIB:
            continue
        source = corpus / "images" / entry["file"]
        opener: Any = {"xz>raw": lzma.open, "gz>raw": gzip.open}.get(entry["container"], open)
        path = tmp_path / "volume.img"
        with opener(source, "rb") as stream:
            path.write_bytes(stream.read())
        with raw(path) as image:
            found = identify(image, Extent(0, image.size))
        expected = (disk.get("filesystem_at_0") or {}).get("type")
        kind = found.type if found else None
        seen.add(kind)
        if kind != expected and kind not in OURS:
            wrong.append(f"{entry['file']}: {kind}, expected {expected}")
    assert wrong == []
    assert len(seen) > 40
