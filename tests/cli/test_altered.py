"""An image that was altered is a mismatch whatever was altered: its table, its length, the place of a partition."""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

MIB = 1 << 20
SECTOR = 512


def dos_disk(*partitions: tuple[int, int], length: int = 4 * MIB) -> bytes:
    """A disk of bytes that are all different from place to place, and an MBR; partitions as (offset, length)."""
    rows = b"".join(
        bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + struct.pack("<II", offset // SECTOR, size // SECTOR)
        for offset, size in partitions
    )
    mbr = bytes(446) + rows.ljust(64, b"\0") + b"\x55\xaa"
    filling = b"".join(b"%016d" % number for number in range(length // 16))
    return mbr + filling[len(mbr) :]


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def wipe_both_tables(path: Path) -> None:
    overwrite(path, SECTOR, bytes(33 * SECTOR))
    overwrite(path, path.stat().st_size - 33 * SECTOR, bytes(33 * SECTOR))


def entries(imgkit: Imgkit, *words: str | Path, code: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = imgkit("verify", *words, "--json").ended(code).json["images"]
    return found


def overall(imgkit: Imgkit) -> str:
    """What the log's last line says of the whole image."""
    return str(imgkit.records()[-1]["data"]["overall"])


def test_a_table_that_was_wiped_is_a_mismatch(imgkit: Imgkit, gpt_disk: str) -> None:
    imgkit("hash", gpt_disk, "-p", "1").ended(0)
    imgkit("hash", gpt_disk).ended(0)
    wipe_both_tables(imgkit.folder / gpt_disk)
    media, partition = entries(imgkit, gpt_disk, code=1)
    assert (media["of"], media["verdict"]) == ("media", "mismatch")
    assert [item["matches"] for item in media["comparisons"]] == [False, False]
    assert (partition["of"], partition["offset"], partition["length"]) == ("partition:1", MIB, MIB)
    assert [item["matches"] for item in partition["comparisons"]] == [
        True,
        True,
    ]  # the bytes of then are there
    assert "the table has none of that number now" in partition["differences"][0]
    assert overall(imgkit) == "mismatch"
    done = imgkit("verify", gpt_disk).ended(1)
    assert f"  BAD  partition 1 was at byte {MIB}, {MIB} bytes long" in done.out


def test_another_image_put_for_an_exhibit_is_a_mismatch(imgkit: Imgkit, gpt_disk: str) -> None:
    imgkit("hash", gpt_disk, "-p", "2").ended(0)
    imgkit("hash", gpt_disk).ended(0)
    other = imgkit.image("other.dd", b"no table at all\n" * 128)
    media, partition = entries(imgkit, other, "--exhibit", "EX1", code=1)
    assert media["verdict"] == partition["verdict"] == "mismatch"
    assert [item["matches"] for item in partition["comparisons"]] == [False, False]
    assert "ends at byte 3145728, the media already at 2048" in " ".join(partition["differences"])


def test_a_partition_that_moved_is_a_difference_of_its_own(imgkit: Imgkit) -> None:
    image = imgkit.image("disk.dd", dos_disk((MIB, MIB), (2 * MIB, MIB)))
    imgkit("hash", image, "-p", "1").ended(0)
    moved = dos_disk((MIB + SECTOR, MIB - SECTOR), (2 * MIB, MIB))
    image.write_bytes(moved)
    digest = hashlib.sha256(moved).hexdigest()
    media, partition = entries(imgkit, image, "--expect", f"sha256:{digest}", code=1)
    assert [item["matches"] for item in media["comparisons"]] == [True]
    assert media["verdict"] == "mismatch"  # of the image as a whole
    assert (partition["offset"], partition["length"]) == (MIB, MIB)
    assert [item["matches"] for item in partition["comparisons"]] == [True, True]
    then, now = f"byte {MIB}, {MIB} bytes long", f"byte {MIB + SECTOR}, {MIB - SECTOR} bytes long"
    where = f"{imgkit.own_log} line 5"
    assert partition["differences"] == [f"partition 1 was at {then} ({where}): the table has it at {now} now"]


def test_renumbered_partitions_are_not_held_against_each_other(imgkit: Imgkit) -> None:
    image = imgkit.image("disk.dd", dos_disk((MIB, MIB), (2 * MIB, MIB)))
    imgkit("hash", image, "-p", "1", "-a", "sha256").ended(0)
    image.write_bytes(dos_disk((2 * MIB, MIB), (MIB, MIB)))
    _, partition = entries(imgkit, image, code=1)
    assert [item["matches"] for item in partition["comparisons"]] == [True]
    assert f"the table has it at byte {2 * MIB}" in partition["differences"][0]


def test_a_cut_image_is_a_mismatch(imgkit: Imgkit) -> None:
    image = imgkit.image("disk.dd", dos_disk((MIB, MIB), (2 * MIB, 2 * MIB)))
    imgkit("hash", image, "-p", "2", "-a", "sha256").ended(0)
    os.truncate(image, 3 * MIB)
    media, partition = entries(imgkit, image, code=1)
    assert (media["of"], media["verdict"]) == ("media", "mismatch")
    assert [item["matches"] for item in partition["comparisons"]] == [False]
    assert partition["read_errors"] == []
    assert partition["differences"] == [f"partition 2 ends at byte {4 * MIB}, the media already at {3 * MIB}"]


def test_a_partition_is_looked_for_as_it_was_read_then(imgkit: Imgkit) -> None:
    image = imgkit.image("disk.dd", dos_disk((MIB, MIB), length=16 * MIB))
    imgkit("hash", image, "-p", "1", "--sector-size", "4096").ended(0)
    (record,) = [
        item for item in imgkit.records() if item["type"] == "evidence.hashed" and item["phase"] == "outcome"
    ]
    assert (record["data"]["offset"], record["data"]["sector_size"]) == (8 * MIB, 4096)
    _, partition = entries(imgkit, image, code=3)  # nothing states a digest of the media
    assert (partition["verdict"], partition["differences"]) == ("unchanged", [])


# -- what the case says of it afterwards -----------------------------------------------------------


def shown(imgkit: Imgkit) -> str:
    (exhibit,) = imgkit("case", "show", imgkit.own_log.parent, "--json").ended(0).json["exhibits"]
    return str(exhibit["verdict"])


def test_a_mismatch_of_a_partition_is_the_last_word(imgkit: Imgkit) -> None:
    image = imgkit.image("disk.dd", dos_disk((MIB, MIB)))
    imgkit("hash", image, "-p", "1").ended(0)
    moved = dos_disk((2 * MIB, MIB))
    image.write_bytes(moved)
    entries(imgkit, image, "--expect", f"sha256:{hashlib.sha256(moved).hexdigest()}", code=1)
    assert shown(imgkit) == "mismatch"


def test_segments_that_all_match_are_a_match(imgkit: Imgkit) -> None:
    parts = [b"%d" % number * 1024 for number in range(3)]
    lines = []
    for number, part in enumerate(parts, start=1):
        imgkit.image(f"set.00{number}", part)
        lines.append(f"{hashlib.sha256(part).hexdigest()}  set.00{number}\n")
    (imgkit.folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    entries(imgkit, "set.001", code=0)
    assert shown(imgkit) == "match"


def test_hash_tells_of_a_digest_that_differs_from_an_earlier_one(imgkit: Imgkit) -> None:
    image = imgkit.image()
    done = imgkit("hash", image, "-a", "md5").ended(0)
    assert "differs" not in done.err
    first = next(item["seq"] for item in imgkit.records() if item["data"].get("digests"))
    assert "differs" not in imgkit("hash", image, "-a", "md5").ended(0).err
    image.write_bytes(b"other")
    done = imgkit("hash", image, "-a", "md5", "--json").ended(0)
    assert f"EX1: md5 of media differs from line {first} of this log" in done.err
    assert "differs from line" in done.json["images"][0]["notices"][0]


def test_the_files_as_they_lie_are_the_media_of_a_raw_image(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image, "--container").ended(0)
    (media,) = entries(imgkit, image, code=0)
    assert (media["verdict"], media["of"]) == ("unchanged", "media")


# -- the table that says where a partition is ------------------------------------------------------


def test_what_is_wrong_with_the_table_is_told_where_a_partition_is_hashed(imgkit: Imgkit) -> None:
    from tests.cli.conftest import unpacked

    disk = unpacked(imgkit, "gpt_header_crc.img.gz")
    done = imgkit("hash", disk, "-p", "1", "--json").ended(0)
    assert "[gpt.header-crc]" in done.err
    assert "[gpt.header-crc]" in " ".join(done.json["images"][0]["notices"])
    assert "gpt." not in imgkit("hash", disk).ended(0).err


@pytest.mark.parametrize("command", ["hash", "verify"])
def test_a_sector_size_that_is_none_is_wrong_usage(imgkit: Imgkit, command: str) -> None:
    imgkit(command, imgkit.image(), "--sector-size", "513").ended(2)


def test_the_stated_sector_size_is_recorded(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image, "--sector-size", "4096").ended(0)
    imgkit("verify", image, "--sector-size", "2048").ended(0)
    acts = [item for item in imgkit.records() if item["type"] in ("evidence.hashed", "evidence.verified")]
    assert [item["data"]["sector_size"] for item in acts] == [4096, 4096, 2048, 2048]
