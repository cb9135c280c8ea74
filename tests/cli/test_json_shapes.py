"""The shapes of docs/cli.md: fields may be added, none renamed or left out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import unpacked
from tests.conftest import need

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

IMAGE = {"path", "format", "size", "sector_size", "segments"}
ATTACHMENT = {
    *("device", "diskseq", "partition", "offset", "length", "block_size", "clipped_tail", "read_only"),
    *("guard", "proof", "exposed", "image", "exhibit", "mountpoint", "filesystem", "options"),
}
PROOF = {"lo_flags", "blkroget", "sysfs_ro", "device", "inode", "sectors_written", "sectors_discarded"}


def check_image(image: dict[str, Any]) -> None:
    assert set(image) >= IMAGE
    assert os.path.isabs(image["path"])
    for segment in image["segments"]:
        assert set(segment) >= {"path", "size"}


def check_records(document: dict[str, Any]) -> None:
    assert set(document["records"]) == {"log", "seq"}
    first, last = document["records"]["seq"]
    assert 1 <= first <= last


def test_info(imgkit: Imgkit, gpt_disk: str) -> None:
    document = imgkit("info", gpt_disk, "--json").ended(0).json
    check_image(document["image"])
    check_records(document)
    assert set(document) >= {"exhibit", "stored_digests", "metadata", "complete", "sparse", "table"}


def test_partitions(imgkit: Imgkit) -> None:
    disk = unpacked(imgkit, "mbr_logicals.img.gz")
    document = imgkit("partitions", disk, "--json").ended(0).json
    check_image(document["image"])
    check_records(document)
    assert set(document["table"]) >= {"scheme", "sector_size", "id"}
    wanted = {
        *("number", "slot", "offset", "length", "start_sector", "sectors", "type", "type_name", "name"),
        *("guid", "attributes", "bootable", "logical", "filesystem"),
    }
    for item in document["partitions"]:
        assert set(item) >= wanted
        assert item["offset"] == item["start_sector"] * 512
        assert item["filesystem"] is None or set(item["filesystem"]) == {"type", "label", "uuid"}
    assert [item["number"] for item in document["partitions"]] == [1, 5, 6]
    assert [item["logical"] for item in document["partitions"]] == [False, True, True]
    assert {tuple(sorted(item)) for item in document["containers"]} == {("length", "offset", "slot", "type")}
    ranges = [(item["offset"], item["length"]) for item in (*document["partitions"], *document["gaps"])]
    at = 0
    for offset, length in sorted(ranges):
        assert offset == at
        at += length
    assert at == document["image"]["size"]
    for finding in document["findings"]:
        assert set(finding) >= {"code", "severity", "message"}
        assert finding["severity"] in {"info", "warning", "error"}


def test_hash_and_verify(imgkit: Imgkit) -> None:
    imgkit.image()
    hashed = imgkit("hash", "disk.dd", "--json").ended(0).json
    verified = imgkit("verify", "disk.dd", "--json").ended(0).json
    for document in (hashed, verified):
        check_records(document)
        (entry,) = document["images"]
        check_image(entry["image"])
        assert set(entry) >= {"image", "of", "digests", "read_errors", "seconds"}
    (entry,) = verified["images"]
    assert set(entry) >= {"comparisons", "verdict"}
    for comparison in entry["comparisons"]:
        assert set(comparison) >= {"algorithm", "expected", "actual", "matches", "source"}
        assert set(comparison["source"]) >= {"kind", "origin", "protection"}


def test_a_set_of_more_than_a_hundred_segments_is_told_by_number_and_digest(imgkit: Imgkit) -> None:
    for number in range(1, 121):
        imgkit.image(f"set.{number:03}", b"%03d" % number * 512)
    image = imgkit("info", "set.001", "--json").ended(0).json["image"]
    assert (image["segment_count"], len(image["segments_sha256"]), image["segments"]) == (120, 64, [])
    imgkit("verify", "set.050", "--json").ended(3)
    imgkit("log", "verify").ended(0)


@pytest.mark.live
def test_attach_status_detach_and_mount(imgkit: Imgkit, live: None) -> None:
    disk = unpacked(imgkit, "gpt_ok.img.gz")
    document = imgkit("attach", disk, "-p", "2", "-p", "1", "--json").ended(0).json
    check_records(document)
    assert document["skipped"] == []
    assert [item["partition"] for item in document["attachments"]] == [2, 1]
    devices = [item["device"] for item in document["attachments"]]
    shown = imgkit("status", "--json").ended(0).json["attachments"]
    mine = [item for item in shown if item["device"] in devices]
    gone = imgkit("detach", disk, "--json").ended(0).json["attachments"]
    for item in (*document["attachments"], *mine, *gone):
        assert set(item) >= ATTACHMENT
        assert set(item["proof"]) >= PROOF
        assert item["read_only"] is True
        check_image(item["image"])
    assert len(mine) == len(gone) == 2
    assert {item["exhibit"] for item in mine} == {"EX1"}
    place = imgkit.folder / "mnt"
    document = imgkit("mount", disk, "-p", "1", place, "--json").ended(0).json
    try:
        (item,) = document["attachments"]
        assert set(item) >= ATTACHMENT
        assert (item["mountpoint"], item["filesystem"]["type"]) == (str(place), "ext2")
        assert "ro" in item["options"]
    finally:
        taken = imgkit("unmount", place, "--json")
    assert taken.ended(0).json["schema"] == "imgkit.unmount.v1"
    need(not place.exists() or not os.listdir(place), "the mount is gone")


def test_nothing_there_to_take_down_is_no_failure(imgkit: Imgkit, live: None) -> None:
    for command in ("detach", "unmount"):
        document = imgkit(command, "--all", "--json").ended(0).json
        assert document["attachments"] == []
        assert imgkit(command, "--all").ended(0).out == ""


def test_log_and_case(imgkit: Imgkit) -> None:
    case = imgkit.case("case", "--number", "7")
    imgkit("hash", imgkit.image(), "--case", case)
    document = imgkit("log", "show", case, "--json").ended(0).json
    assert document["entries"] == imgkit.records(case / "custody.jsonl")
    assert document["lines"] == len(document["entries"])
    document = imgkit("log", "verify", case, "--json").ended(0).json
    assert set(document) >= {"log", "lines", "bytes", "head", "ok", "findings", "proved", "not_proved"}
    document = imgkit("case", "show", case, "--json").ended(0).json
    assert document["case"] == {"number": "7"}
    assert [item["exhibit"] for item in document["exhibits"]] == ["EX1"]


def test_a_partition_that_is_not_there_any_more_is_a_mismatch(imgkit: Imgkit, gpt_disk: str) -> None:
    imgkit("hash", gpt_disk, "-p", "1").ended(0)
    (imgkit.folder / gpt_disk).write_bytes(bytes(4 << 20))
    (_, part) = imgkit("verify", gpt_disk, "--json").ended(1).json["images"]
    assert (part["of"], part["verdict"]) == ("partition:1", "mismatch")
