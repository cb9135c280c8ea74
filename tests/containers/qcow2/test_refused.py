"""What cannot be read truly is refused at open, by name, with the next step; a header that lies is found out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, ImageError, UnknownFormat
from tests.containers.qcow2.qemu import MIB, convert, create, io, mixed_media, peek, poke, run

if TYPE_CHECKING:
    from pathlib import Path

U32, U64 = ">I", ">Q"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    source = tmp_path / "source.raw"
    source.write_bytes(mixed_media(2 * MIB))
    path = convert(source, tmp_path / "disk.qcow2")
    run("qemu-img", "snapshot", "-c", "one", path)
    return path


def refused(path: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(path).close()
    assert caught.value.message.startswith(str(path))
    assert caught.value.hint
    return caught.value


def test_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "d.qcow2"
    key = ("--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s")
    run("qemu-img", "create", "-q", "-f", "qcow2", *key, path, "1M")
    error = refused(path)
    assert isinstance(error, UnknownFormat)
    assert "is an encrypted qcow2 (AES)" in error.message


@pytest.mark.parametrize(("method", "name"), [(1, "AES"), (2, "LUKS"), (9, "method 9")])
def test_encryption_methods(disk: Path, method: int, name: str) -> None:
    poke(disk, 32, struct.pack(U32, method))
    error = refused(disk)
    assert isinstance(error, UnknownFormat)
    assert f"is an encrypted qcow2 ({name})" in error.message


def test_external_data_file(tmp_path: Path) -> None:
    path = create(tmp_path / "d.qcow2", "1M", "-o", f"data_file={tmp_path}/data.raw")
    error = refused(path)
    assert isinstance(error, UnknownFormat)
    assert "external data file" in error.message


def test_dirty(disk: Path) -> None:
    poke(disk, 72, struct.pack(U64, 1))
    error = refused(disk)
    assert isinstance(error, CorruptImage)
    assert "marked as dirty" in error.message
    assert error.hint is not None
    assert "qemu-img check -r all COPY" in error.hint


def test_corrupt(disk: Path) -> None:
    poke(disk, 72, struct.pack(U64, 2))
    error = refused(disk)
    assert isinstance(error, CorruptImage)
    assert "marked as corrupt" in error.message


def test_unknown_features_are_named_as_the_file_names_them(disk: Path) -> None:
    names = peek(disk, 104 + 8, U32)  # the feature name table is the first extension that qemu-img writes
    assert names == 0x6803F857
    length = peek(disk, 104 + 8 + 4, U32)
    assert length >= 48
    poke(disk, 104 + 16, struct.pack(">BB46s", 0, 40, b"quantum clusters"))
    poke(disk, 72, struct.pack(U64, 1 << 40 | 1 << 63))
    error = refused(disk)
    assert isinstance(error, UnknownFormat)
    assert error.message.endswith("bit 40 (quantum clusters), bit 63")


def test_version_1_is_refused_as_before(tmp_path: Path) -> None:
    path = tmp_path / "d.qcow"
    run("qemu-img", "create", "-q", "-f", "qcow", path, "1M")
    assert isinstance(refused(path), UnknownFormat)


HEADERS = {
    "cluster_bits 8": (20, U32, 8),
    "cluster_bits 22": (20, U32, 22),
    "cluster_bits huge": (20, U32, 0xFFFFFFFF),
    "size beyond the L1 table": (24, U64, 1 << 40),
    "size negative": (24, U64, 1 << 63),
    "size all ones": (24, U64, (1 << 64) - 1),
    "L1 table of 32 GiB": (36, U32, 0xFFFFFFFF),
    "L1 table too small": (36, U32, 0),
    "L1 table unaligned": (40, U64, 0x30200),
    "L1 table at the header": (40, U64, 0),
    "L1 table beyond the end": (40, U64, 1 << 40),
    "L1 table at 2^63": (40, U64, 1 << 63),
    "refcount table unaligned": (48, U64, 0x10001),
    "refcount table beyond the end": (48, U64, 1 << 50),
    "refcount table at the header": (48, U64, 0),
    "no refcount table": (56, U32, 0),
    "refcount table too large": (56, U32, 0xFFFF),
    "snapshots without end": (60, U32, 0xFFFFFFFF),
    "more snapshots than there are": (60, U32, 60000),
    "snapshot table unaligned": (64, U64, 0x50001),
    "snapshot table beyond the end": (64, U64, 1 << 45),
    "refcount_order 7": (96, U32, 7),
    "header_length 96": (100, U32, 96),
    "header_length 105": (100, U32, 105),
    "header_length huge": (100, U32, 0xFFFFFFF8),
    "compression bit without a type": (72, U64, 8),
    "compression type without its bit": (104, "B", 1),
    "backing file name too long": (8, ">QI", (300, 1024)),
    "backing file name empty": (8, ">QI", (300, 0)),
    "backing file name in the header": (8, ">QI", (80, 4)),
    "backing file name outside the cluster": (8, ">QI", (65530, 10)),
    "backing file name at 2^63": (8, ">QI", (1 << 63, 10)),
    "backing file name with zero bytes": (8, ">QI", (4096, 10)),
    "raw external data without an external file": (88, U64, 2),
    "extension too long": (116, U32, 0x7FFFFFFF),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_that_contradicts_itself(disk: Path, name: str) -> None:
    offset, layout, value = HEADERS[name]
    poke(disk, offset, struct.pack(layout, *(value if isinstance(value, tuple) else (value,))))
    assert isinstance(refused(disk), CorruptImage)


def test_compression_type_that_nobody_knows(disk: Path) -> None:
    poke(disk, 72, struct.pack(U64, 8))
    poke(disk, 104, b"\x07")
    error = refused(disk)
    assert isinstance(error, UnknownFormat)
    assert "compression type 7" in error.message


def test_subclusters_need_clusters_of_16_kib(tmp_path: Path) -> None:
    path = create(tmp_path / "d.qcow2", "1M", "-o", "cluster_size=4k")
    poke(path, 72, struct.pack(U64, 16))
    assert "below 14" in refused(path).message


@pytest.mark.parametrize("length", [8, 71, 72, 100, 103, 104, 500, 65536, 3 * 65536])
def test_cut_off_in_the_header_or_before_the_l1_table(disk: Path, length: int) -> None:
    with disk.open("r+b") as file:
        file.truncate(length)
    assert isinstance(refused(disk), CorruptImage)


@pytest.mark.parametrize("field", [12, 14, 36])
def test_snapshot_entry_that_runs_out_of_the_file(disk: Path, field: int) -> None:
    table = peek(disk, 64, U64)
    with disk.open("r+b") as file:
        file.truncate(table + 80)
    poke(disk, table + field, b"\xff\xff\xff\xff" if field == 36 else b"\xff\xff")
    assert "entry 0 of its snapshot table" in refused(disk).message


def test_same_extension_twice(tmp_path: Path) -> None:
    path = create(tmp_path / "d.qcow2", "1M")
    extension = struct.pack(">II8s", 0xE2792ACA, 3, b"raw")
    poke(path, 112, extension * 2 + bytes(8))
    assert "is there twice" in refused(path).message
    poke(path, 112, struct.pack(">II", 1, 0) * 1000)
    assert "header extensions" in refused(path).message


def test_pieces_of_one_file_are_not_joined(tmp_path: Path) -> None:
    whole = io(create(tmp_path / "d.qcow2", "1M"), "write -P 1 0 1M").read_bytes()
    half = len(whole) // 2
    (tmp_path / "cut.001").write_bytes(whole[:half])
    (tmp_path / "cut.002").write_bytes(whole[half:])
    assert "cut up" in refused(tmp_path / "cut.001").message
