"""What descriptors say and what they may not say; which files their names mean."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.containers.vmdk.descriptor import ExtentLine, parse_descriptor
from imgkit.errors import CorruptImage, ImageError, MissingSegment, UnknownFormat
from tests.containers.vmdk import make

if TYPE_CHECKING:
    from pathlib import Path

MEDIA = make.media(4096, 1, grain=1024)


def parsed(lines: list[str], **more: str) -> tuple[ExtentLine, ...]:
    return parse_descriptor(make.descriptor(lines, **more), "d.vmdk").extents


def test_lines_as_they_are_written() -> None:
    lines = [
        'RW 4192256 SPARSE "disk-s001.vmdk"',
        'RW 100 FLAT "a b.vmdk" 7',
        "RW 63 ZERO",
        '  RDONLY 5 flat "x"',
        'RW 8 FLAT "dev" 0 partitionUUID xyz',
    ]
    assert parsed(lines) == (
        ExtentLine("RW", 4192256 * 512, "SPARSE", "disk-s001.vmdk", 0),
        ExtentLine("RW", 51200, "FLAT", "a b.vmdk", 3584),
        ExtentLine("RW", 63 * 512, "ZERO", None, 0),
        ExtentLine("RDONLY", 2560, "FLAT", "x", 0),
        ExtentLine("RW", 4096, "FLAT", "dev", 0),
    )


def test_everything_else_is_kept_as_found() -> None:
    extra = ['ddb.comment = "a = b"', "CID2=5", 'changeTrackPath="d-ctk.vmdk"', "isNativeSnapshot=no"]
    found = parse_descriptor(make.descriptor(["RW 1 ZERO"], extra=extra), "d")
    assert found.facts["ddb.comment"] == "a = b"
    assert found.facts["changetrackpath"] == "d-ctk.vmdk"
    assert found.facts["isnativesnapshot"] == "no"
    assert (found.content_id, found.parent_id) == (0x12345678, None)


@pytest.mark.parametrize(
    "extra",
    [
        "ddb.x = x" + " " * 900_000 + "y",
        "ddb.x " + " " * 900_000 + "y",
        "\n" * 900_000 + "y",
        ("encoding" + " " * 40 + "\n") * 18_000,
        "encoding=" + " " * 900_000 + "!",
        " " * 900_000 + "encoding",
        "RW" + " " * 900_000 + "x",
        'RW 1 FLAT "x"' + " " * 900_000 + '"',
        "RW 1 " + "F" * 900_000,
        'x="' + '"=' * 400_000,
    ],
    ids=range(10),
)
def test_text_made_to_be_slow(extra: str) -> None:
    """A pattern that tries every way to share out white space needs hours for some of these."""
    with suppress(ImageError):
        parse_descriptor(make.descriptor(["RW 1 ZERO"], extra=[extra]), "d")


def test_quotes_of_values() -> None:
    extra = ['a="b"', "b = c d", 'c="d" e', 'd="', 'e=""', "f=", 'g = "h"', 'h"=i', "i j=k", "=l"]
    found = parse_descriptor(make.descriptor(["RW 1 ZERO"], extra=extra), "d").facts
    found = {key: value for key, value in found.items() if len(key) == 1}
    assert found == {"a": "b", "b": "c d", "c": '"d" e', "d": '"', "e": "", "f": "", "g": "h"}


def test_line_ends_marks_and_padding() -> None:
    text = make.descriptor(["RW 1 ZERO"])
    for raw in (
        text.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + text,
        text + bytes(9999),
        text + b"\0garbage\nRW 1 ZERO",
    ):
        assert parse_descriptor(raw, "d").size == 512


BAD = {
    "no extents": (make.descriptor([]), CorruptImage, "lists no extents"),
    "no type": (make.descriptor(["RW 1 ZERO"]).replace(b"createType", b"x"), CorruptImage, "no createType"),
    "no sectors": (make.descriptor(["RW 0 ZERO"]), CorruptImage, "impossible extent"),
    "2^63 sectors": (make.descriptor([f"RW {1 << 63} ZERO"]), CorruptImage, "impossible extent"),
    "a digit too many": (make.descriptor(["RW " + "9" * 400 + " ZERO"]), CorruptImage, "cannot be read"),
    "a sum of 2^63": (make.descriptor([f"RW {1 << 53} ZERO"] * 2), CorruptImage, "add up to"),
    "no name": (make.descriptor(["RW 5 FLAT"]), CorruptImage, "without a file"),
    "half a line": (make.descriptor(['RW 5 FLAT "x']), CorruptImage, "without a file"),
    "two numbers": (make.descriptor(["RW 1 ZERO"], extra=["CID=1"]), CorruptImage, "states CID twice"),
    "no number": (make.descriptor(["RW 1 ZERO"], cid="xyz"), CorruptImage, "no number"),
    "version 8": (make.descriptor(["RW 1 ZERO"]).replace(b"version=1", b"version=8"), UnknownFormat, "version 8"),
    "encrypted": (make.descriptor(["RW 1 ZERO"], extra=['encryption.keySafe = "vmware:key/x"']), UnknownFormat, "encrypted"),
    "SESPARSE": (make.descriptor(['RW 5 SESPARSE "x"']), UnknownFormat, "SESparse"),
    "VMFSRDM": (make.descriptor(['RW 5 VMFSRDM "x"']), UnknownFormat, "mapped raw device"),
    "VMFSRAW": (make.descriptor(['RW 5 VMFSRAW "x"']), UnknownFormat, "raw device"),
    "another type": (make.descriptor(['RW 5 PMEM "x"']), UnknownFormat, "of type PMEM"),
    "no access": (make.descriptor(['NOACCESS 5 FLAT "x"']), UnknownFormat, "NOACCESS"),
    "a device": (make.descriptor(['RW 5 FLAT "x"'], kind="fullDevice"), UnknownFormat, "fullDevice"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    raw, kind, words = BAD[case]
    (tmp_path / "disk.vmdk").write_bytes(raw)
    with pytest.raises(kind, match=words) as caught:
        open_image(tmp_path / "disk.vmdk")
    assert str(tmp_path / "disk.vmdk") in caught.value.message
    assert len(caught.value.message) < 800


def test_forty_thousand_extents_and_no_more() -> None:
    assert len(parsed(["RW 1 ZERO"] * 40_000)) == 40_000
    with pytest.raises(CorruptImage, match="more than 40000 extents"):
        parsed(["RW 1 ZERO"] * 40_001)


def test_a_descriptor_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "d.vmdk").write_bytes(make.descriptor(["RW 1 ZERO"]) + bytes(2 << 20))
    with pytest.raises(CorruptImage, match="begins as a VMDK descriptor and has"):
        open_image(tmp_path / "d.vmdk")


def one_flat(folder: Path, name: str) -> Path:
    path = folder / "disk.vmdk"
    line = f'RW {len(MEDIA) // 512} FLAT "{name}" 0'
    path.write_bytes(make.descriptor([line], kind="monolithicFlat", extra=['encoding="UTF-8"']))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "/etc/shadow",
        "/etc/passwd",
        "/dev/sda",
        "/dev/zero",
        "../../../../../../etc/passwd",
        "",
        ".",
        "..",
        "a/..",
        "/",
    ],
)
def test_no_file_of_the_host_becomes_media(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(one_flat(tmp_path, name))
    assert isinstance(caught.value, MissingSegment | CorruptImage)


@pytest.mark.parametrize("name", ["a.bin", "sub/a.bin", "./a.bin", "ä ö.bin", "a=b.bin", "back\\slash.bin"])
def test_a_name_below_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(MEDIA)
    with open_image(one_flat(tmp_path, name)) as image:
        assert image.read_at(0, image.size) == MEDIA
        assert image.metadata["notices"] == ()


@pytest.mark.parametrize(
    "name", ["/vmfs/volumes/5a/vm/a.bin", "C:\\VMs\\a.bin", "..\\vm\\a.bin", "../vm/a.bin", "A.BIN"]
)
def test_a_name_from_elsewhere_is_looked_for_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").write_bytes(MEDIA)
    with open_image(one_flat(tmp_path, name)) as image:
        assert image.read_at(0, image.size) == MEDIA
        notices = image.metadata["notices"]
    assert isinstance(notices, tuple)
    assert len(notices) == 1
    assert str(tmp_path / "a.bin") in notices[0]
    assert name in notices[0]


def test_two_names_that_differ_in_capitals_are_not_guessed(tmp_path: Path) -> None:
    for name in ("a.bin", "A.bin"):
        (tmp_path / name).write_bytes(MEDIA)
    with pytest.raises(MissingSegment):
        open_image(one_flat(tmp_path, "A.BIN"))


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to("nothing")
    for name in ("fifo", "device", "folder", "gone", "disk.vmdk"):
        with pytest.raises(ImageError) as caught:
            open_image(one_flat(tmp_path, name))
        assert isinstance(caught.value, MissingSegment | CorruptImage), name


def test_names_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "Prüfung.bin").write_bytes(MEDIA)
    text = make.descriptor(
        [f'RW {len(MEDIA) // 512} FLAT "Prüfung.bin" 0'], extra=['encoding="windows-1252"']
    )
    (tmp_path / "disk.vmdk").write_bytes(text.decode().encode("cp1252"))
    with open_image(tmp_path / "disk.vmdk") as image:
        assert image.read_at(0, image.size) == MEDIA


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = b"x\xff.bin"
    (tmp_path / os.fsdecode(name)).write_bytes(MEDIA)
    text = make.descriptor([f'RW {len(MEDIA) // 512} FLAT "NAME" 0']).replace(b"NAME", name)
    (tmp_path / "disk.vmdk").write_bytes(text)
    with open_image(tmp_path / "disk.vmdk") as image:
        assert image.read_at(0, image.size) == MEDIA


def test_a_sparse_extent_under_a_flat_line_and_the_other_way(tmp_path: Path) -> None:
    make.write_sparse(tmp_path / "a.bin", MEDIA)
    with pytest.raises(CorruptImage, match="is a sparse extent and"):
        open_image(one_flat(tmp_path, "a.bin"))
    (tmp_path / "disk.vmdk").write_bytes(make.descriptor(['RW 8 VMFSSPARSE "a.bin"']))
    with pytest.raises(CorruptImage, match="is of kind KDMV"):
        open_image(tmp_path / "disk.vmdk")
    (tmp_path / "disk.vmdk").write_bytes(make.descriptor(['RW 8 SPARSE "a.bin"'] * 2))
    with pytest.raises(CorruptImage, match="twice"):
        open_image(tmp_path / "disk.vmdk")


def test_an_embedded_descriptor_of_several_extents(tmp_path: Path) -> None:
    text = make.descriptor(['RW 8 SPARSE "d.vmdk"', "RW 8 ZERO"])
    make.write_sparse(tmp_path / "d.vmdk", MEDIA, text=text)
    with pytest.raises(
        CorruptImage, match="one sparse extent, and the descriptor inside of it lists SPARSE, ZERO"
    ):
        open_image(tmp_path / "d.vmdk")


def test_a_sparse_extent_of_esx_alone(tmp_path: Path) -> None:
    make.write_cowd(tmp_path / "x-delta.vmdk", MEDIA)
    with pytest.raises(UnknownFormat, match="is one extent of a VMDK"):
        open_image(tmp_path / "x-delta.vmdk")
    (tmp_path / "x-sesparse.vmdk").write_bytes(b"\xbe\xba\xfe\xca\0\0\0\0\1\0\0\0\2\0\0\0" + bytes(4096))
    with pytest.raises(UnknownFormat, match="SESparse") as caught:
        open_image(tmp_path / "x-sesparse.vmdk")
    assert caught.value.hint
