"""What is stored in another format is opened or refused by name with a next step; what looks a little like one is media."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.containers.recognise import FORMATS
from imgkit.errors import CorruptImage, ImageError, UnknownFormat
from tests.conftest import ROOT
from tests.containers.sets import media, write_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def is_refused_as(path: Path, name: str) -> None:
    with pytest.raises(UnknownFormat, match=rf"is {name}, which imgkit does not read") as caught:
        open_image(path)
    assert caught.value.hint
    assert str(path) in caught.value.message


def is_opened_as(path: Path, container: str, content: bytes) -> None:
    with open_image(path) as image:
        assert (image.format, image.size) == (container, len(content))
        assert image.read_at(0, image.size) == content


def zipped(names: dict[str, bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("disk.dd")
        member.size = 4096
        archive.addfile(member, io.BytesIO(media(4096)))
    return buffer.getvalue()


CONTENT: dict[str, tuple[str, bytes]] = {
    "ex01": (r"Ex01 \(EWF 2\)", b"EVF2\x0d\x0a\x81\x00"),
    "l01": (r"L01 \(EWF logical evidence\)", b"LVF\x09\x0d\x0a\xff\x00"),
    "lx01": (r"Lx01 \(EWF 2 logical evidence\)", b"LEF2\x0d\x0a\x81\x00"),
    "aff": ("AFF", b"AFF10\x0d\x0a\x00"),
    "aff4": ("AFF4", zipped({"container.description": b"aff4://1", "information.turtle": b""})),
    "aff4-by-comment": ("AFF4", zipped({"x": media(100_000)}, comment=b"aff4://6ed1b8a8")),
    "ad1": (r"AD1 \(AccessData logical image\)", b"ADSEGMENTEDFILE\x00"),
    "ad-encrypted": (r"AD-encrypted image \(FTK Imager\)", b"ADCRYPT\x00"),
    "qcow": ("qcow", b"QFI\xfb\x00\x00\x00\x01"),
    "qcow-unknown": (
        "qcow of an unknown version",
        b"QFI\xfb\x00\x00\x00\x04" + bytes(15) + b"\x10" + bytes(80),
    ),
    "dmg": (r"DMG \(UDIF\)", media(4096) + struct.pack(">4sII", b"koly", 4, 512) + bytes(500)),
    "dmg-encrypted": ("encrypted DMG", b"encrcdsa\x00\x00\x00\x02"),
    "dmg-encrypted-v1": ("encrypted DMG", media(4096) + b"cdsaencr"),
    "sparseimage": (r"sparse image \(macOS\)", b"sprs\x00\x00\x00\x03"),
    "gzip": ("gzip", gzip.compress(media(100))),
    "xz": ("xz", lzma.compress(media(100))),
    "lzma": ("lzma", lzma.compress(media(100), lzma.FORMAT_ALONE)),
    "bzip2": ("bzip2", bz2.compress(media(100))),
    "bzip2-of-nothing": ("bzip2", bz2.compress(b"")),
    "zstd": ("zstd", b"\x28\xb5\x2f\xfd\x24\x00"),
    "zstd-skippable": ("zstd", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd\x28\xb5\x2f\xfd"),
    "lz4": ("lz4", b"\x04\x22\x4d\x18\x64"),
    "7z": ("7z", b"7z\xbc\xaf\x27\x1c\x00\x04"),
    "rar4": ("RAR", b"Rar!\x1a\x07\x00"),
    "rar5": ("RAR", b"Rar!\x1a\x07\x01\x00"),
    "zip": ("zip", zipped({"disk.dd": media(10)})),
    "empty-zip": ("zip", zipped({})),
    "tar": ("tar", tarred()),
    "android-sparse": ("Android sparse image", b"\x3a\xff\x26\xed\x01\x00"),
    "partclone": ("partclone image", b"partclone-image\x00"),
}


@pytest.mark.parametrize(("name", "content"), CONTENT.values(), ids=CONTENT)
def test_formats(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "disk.dd"
    path.write_bytes(content)
    is_refused_as(path, name)


# What begins like a format that is read, and is none: an error, never raw.
STUBS = {
    "e01": b"EVF\x09\x0d\x0a\xff\x00\x01\x01\x00",
    "qcow2": b"QFI\xfb\x00\x00\x00\x03",
    "vmdk-cowd": b"COWD\x01\x00\x00\x00",
    "vmdk-sesparse": struct.pack("<QQ", 0xCAFEBABE, 0x200000001),
    "vmdk-descriptor": b"\xef\xbb\xbf# Disk DescriptorFile\r\nversion=1\r\n",
    "vmdk-sparse": b"KDMV\x01\x00\x00\x00",
    "vhdx": b"vhdxfile",
    "vhd": b"conectix",
}


@pytest.mark.parametrize("size", [0, 600, 70_000])
@pytest.mark.parametrize("content", STUBS.values(), ids=STUBS)
def test_what_only_begins_like_a_format_that_is_read(tmp_path: Path, content: bytes, size: int) -> None:
    path = tmp_path / "disk.dd"
    path.write_bytes(content + media(size))
    with pytest.raises(ImageError) as caught:
        open_image(path)
    assert str(path) in caught.value.message


def converted(tmp_path: Path, kind: str, options: str, content: bytes) -> Path:
    source, path = tmp_path / "source", tmp_path / "disk.dd"
    source.write_bytes(content)
    command = ["qemu-img", "convert", "-f", "raw", "-O", kind, *(["-o", options] if options else [])]
    subprocess.run([*command, source, path], check=True)
    return path


QEMU_UNREAD = {"qed": ("QED", "qed"), "vdi": ("VDI", "vdi"), "parallels": ("Parallels HDD", "parallels")}


@pytest.mark.parametrize(("name", "kind"), QEMU_UNREAD.values(), ids=QEMU_UNREAD)
def test_what_qemu_img_writes_and_nobody_reads(
    tmp_path: Path, name: str, kind: str, untouched: Callable[[], None]
) -> None:
    path = converted(tmp_path, kind, "", media(1 << 20))
    untouched()
    is_refused_as(path, name)


QEMU_READ = {
    "qcow2": ("qcow2", "qcow2", ""),
    "qcow2-v2": ("qcow2", "qcow2", "compat=0.10"),
    "vhdx": ("vhdx", "vhdx", ""),
    "vhd-dynamic": ("vhd", "vpc", "subformat=dynamic,force_size=on"),
    "vhd-fixed": ("vhd", "vpc", "subformat=fixed,force_size=on"),
    "vmdk-sparse": ("vmdk", "vmdk", "subformat=monolithicSparse"),
    "vmdk-stream": ("vmdk", "vmdk", "subformat=streamOptimized"),
    "vmdk-flat": ("vmdk", "vmdk", "subformat=monolithicFlat"),
}


@pytest.mark.parametrize(("container", "kind", "options"), QEMU_READ.values(), ids=QEMU_READ)
def test_what_qemu_img_writes(
    tmp_path: Path, container: str, kind: str, options: str, untouched: Callable[[], None]
) -> None:
    """Whatever the file is called: content decides."""
    content = media(1 << 20)
    path = converted(tmp_path, kind, options, content)
    untouched()
    is_opened_as(path, container, content)


def test_what_ewfacquire_writes_through_every_segment(tmp_path: Path, untouched: Callable[[], None]) -> None:
    source = tmp_path / "source"
    source.write_bytes(media(3 << 20))
    command = ["ewfacquire", "-u", "-q", "-c", "none", "-S", "1MiB", "-t", f"{tmp_path}/disk", str(source)]
    subprocess.run(command, check=True, capture_output=True)
    segments = sorted(tmp_path.glob("disk.E*"))
    assert len(segments) > 2
    untouched()
    for path in segments:
        is_opened_as(path, "ewf", media(3 << 20))


def test_a_vhd_footer_of_511_bytes(tmp_path: Path) -> None:
    content = media(1 << 20)
    path = converted(tmp_path, "vpc", "subformat=fixed,force_size=on", content)
    os.truncate(path, path.stat().st_size - 1)
    is_opened_as(path, "vhd", content)


def test_a_container_that_was_cut_up_is_joined_by_nobody(tmp_path: Path) -> None:
    content = converted(tmp_path, "qcow2", "", media(1 << 20)).read_bytes()
    paths = write_set(tmp_path, "disk.qcow2", ["001", "002", "003"], content, len(content) // 3 + 1)
    for path in paths:
        with pytest.raises(UnknownFormat, match="qcow2") as caught:
            open_image(path)
        assert caught.value.hint


def test_a_split_archive_is_recognised_as_a_whole(tmp_path: Path) -> None:
    content = gzip.compress(media(5000))
    paths = write_set(tmp_path, "disk.gz", ["001", "002", "003"], content, len(content) // 3 + 1)
    for path in paths:
        is_refused_as(path, "gzip")
    fixed = media(4096) + struct.pack(">4sII", b"koly", 4, 512) + bytes(500)
    for path in write_set(tmp_path, "disk.dmg", ["001", "002"], fixed, 4000):
        is_refused_as(path, r"DMG \(UDIF\)")


LOOKALIKES = {
    "gz-magic-other-method": b"\x1f\x8b\x07" + media(600),
    "gz-reserved-flags": b"\x1f\x8b\x08\xe0" + media(600),
    "gz-magic-alone": b"\x1f\x8b",
    "bz2-magic-no-block": b"BZh9" + media(600),
    "zip-no-name": b"PK\x03\x04" + bytes(600),
    "pk-alone": b"PK\x03\x04",
    "conectix-in-the-last-sector": media(4096) + b"conectix" + media(504),
    "koly-in-the-last-sector": media(4096) + b"koly" + media(508),
    "qcow-version-9": b"QFI\xfb\x00\x00\x00\x09" + media(600),
    "kdmv-version-0": b"KDMV\x00\x00\x00\x00" + media(600),
    "vdi-magic-alone": bytes(64) + struct.pack("<II", 0xBEDA107F, 0xFFFFFFFF) + bytes(600),
    "ustar-wrong-checksum": media(257) + b"ustar\x0000" + media(600),
    "lzma-start": b"\x5d\x00\x00\x80\x00" + media(600),
    "java-class": b"\xca\xfe\xba\xbe" + bytes(600),
    "zstd-skippable-then-none": b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + media(600),
    "mbr": bytes(510) + b"\x55\xaa",
    "zeros": bytes(70_000),
    "noise": media(70_000),
    "one-byte": b"\x1f",
}


@pytest.mark.parametrize("content", LOOKALIKES.values(), ids=LOOKALIKES)
def test_lookalikes_are_media(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "disk.dd"
    path.write_bytes(content)
    with open_image(path) as image:
        assert image.format == "raw"
        assert image.read_at(0, len(content)) == content


def test_a_damaged_vhd_footer_that_still_states_the_size(tmp_path: Path) -> None:
    """Better refused than 512 bytes of footer read as media."""
    path = tmp_path / "disk.dd"
    footer = bytearray(512)
    footer[:8] = b"conectix"
    struct.pack_into(">Q", footer, 48, 4096)
    path.write_bytes(media(4096) + footer)
    with pytest.raises(CorruptImage, match=str(path)):
        open_image(path)


def test_every_row_has_a_name_of_its_own_and_a_hint() -> None:
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    assert all(row.hint for row in FORMATS)


def test_every_format_that_is_read_has_a_page_and_the_others_a_line() -> None:
    index = (ROOT / "docs/containers/index.md").read_text()
    for row in FORMATS:
        assert f"| {row.name} |" in index, row.name
        assert row.hint in index or row.reader, row.name
    for reader in {row.reader for row in FORMATS} - {""}:
        assert f"`containers/{reader}/`" in index
