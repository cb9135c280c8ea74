"""Whose an attachment is where its label names a line that the log lost, or gave to another act since."""

from __future__ import annotations

import fcntl
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.attachment import list_attachments
from tests.live import filesystems

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("origins")]

LOOP_CHANGE_FD = 0x4C06


@pytest.fixture
def disk(bench: Bench) -> Path:
    """Three partitions without a file system."""
    part = bench.base / "part"
    part.write_bytes(b"no file system\n" * 70_000)
    disk = bench.folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [part, part, part])
    return disk


@pytest.fixture
def case(bench: Bench, disk: Path) -> Path:
    """A case that knows the disk, and a copy of its log from then."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    bench("partitions", disk).ended(0)
    shutil.copyfile(bench.log_of(case), bench.base / "copy.jsonl")
    return case


def put_back(bench: Bench, case: Path) -> None:
    """The log as it was before anything was attached."""
    shutil.copyfile(bench.base / "copy.jsonl", bench.log_of(case))


def by_device(bench: Bench) -> dict[str, dict[str, Any]]:
    return {item["device"]: item for item in bench.status()}


def test_a_line_that_the_log_gave_out_again(bench: Bench, disk: Path, case: Path) -> None:
    """The new attach at that line is none of the old device: nothing false is shown, compared or recorded."""
    before = filesystems.facts(disk)
    old = bench("attach", disk, "-p", "1", "-p", "2").ended(0).lines
    put_back(bench, case)
    bench("log", "accept-rollback", case, "--reason", "put back from a copy").ended(0)
    new = bench("attach", disk, "-p", "3").ended(0).out.strip()
    shown = by_device(bench)
    labels = {item.device: item.seq for item in list_attachments() if item.device in shown}
    assert labels[new] in {labels[device] for device in old}  # else the test shows nothing
    assert [shown[device]["partition"] for device in (*old, new)] == [None, None, 3]
    for device in old:
        (notice,) = shown[device]["notices"]
        assert "which tells of something else at line" in notice
    assert shown[new]["notices"] == []
    done = bench("detach", "--all", "--json").ended(0)
    assert {item["device"]: item["compared"] for item in done.json["attachments"]} == {
        **dict.fromkeys(old, False),
        new: True,
    }
    assert "EVIDENCE CHANGED" not in done.err
    assert (
        f"for log {done.json['records']['log']} at {bench.log_of(case)}, which tells of something else at line"
        in done.err
    )
    assert bench.of_type(case, "evidence.changed", "event") == []
    lines = [record["data"].get("attached_line") for record in bench.of_type(case, "evidence.detached")]
    assert sorted(lines, key=str) == [labels[new], None, None]
    assert "OPEN_ATTACHMENT" not in bench.verified(case)
    assert filesystems.facts(disk) == before


def test_a_file_swapped_below_is_still_a_change(bench: Bench, disk: Path, case: Path) -> None:
    """LOOP_CHANGE_FD raises the device's number and leaves the rest: the record tells of it, and it differs."""
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    other = bench.folder / "other.dd"
    other.write_bytes(filesystems.read_untouched(disk))
    with other.open("rb") as file, open(device, "rb") as node:
        fcntl.ioctl(node, LOOP_CHANGE_FD, file.fileno())
    (shown,) = bench.status()
    assert shown["partition"] == 1
    assert any("NOT WHAT WAS ATTACHED: inode" in text for text in shown["notices"])
    bench("detach", device).ended(1)
    (changed,) = bench.of_type(case, "evidence.changed", "event")
    assert any("file" in text for text in changed["data"]["details"])


def test_a_log_that_lost_the_lines(bench: Bench, disk: Path, case: Path) -> None:
    """The device is still this user's: taken down, said of which log it is, and kept for that log."""
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    put_back(bench, case)
    done = bench("detach", "--all", "--json").ended(3)
    assert [item["device"] for item in done.json["attachments"]] == [device]
    assert f"at {bench.log_of(case)}, which no longer has line" in done.err
    assert bench.is_clean()


def test_a_log_that_is_gone(bench: Bench, disk: Path, case: Path) -> None:
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    bench.log_of(case).rename(bench.base / "away.jsonl")
    done = bench("detach", "--all", env={"IMGKIT_CASE": None}).ended(3)
    assert done.lines == [device]
    assert f"at {bench.log_of(case)}, which cannot be read" in done.err
    (bench.base / "away.jsonl").rename(bench.log_of(case))
    bench("partitions", disk).ended(0)
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


@pytest.mark.parametrize("line", [b"{}", b'{"log":7}', b"{LOG}", b"{ATTACH}"])
def test_a_line_that_is_no_record(bench: Bench, disk: Path, case: Path, line: bytes) -> None:
    """JSON as imgkit writes it, and no record: status shows the device, and it comes down."""
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    log = bench.log_of(case)
    last = json.loads(log.read_bytes().splitlines()[-1])
    assert last["type"] == "evidence.attached"
    told = {b"{LOG}": {"log": last["log"]}, b"{ATTACH}": last | {"data": {}, "time": {}}}.get(line)
    with log.open("ab") as file:
        file.write(
            (json.dumps(told, sort_keys=True, separators=(",", ":")).encode() if told else line) + b"\n"
        )
    assert by_device(bench).keys() == {device}
    done = bench("detach", "--all")
    assert "internal error" not in done.err
    assert done.lines == [device]
    assert bench.is_clean()


def test_records_of_each_device_and_of_all(bench: Bench, disk: Path, case: Path) -> None:
    """Each with its own lines; one object for one log, a list for several."""
    bench("attach", disk, "-p", "1", "-p", "2").ended(0)
    document = bench("detach", disk, "--json").ended(0).json
    ranges = [item["records"]["seq"] for item in document["attachments"]]
    assert [last - first for first, last in ranges] == [1, 1]
    assert ranges[0][1] < ranges[1][0]
    log = document["attachments"][0]["records"]["log"]
    assert document["records"] == {"log": log, "seq": [ranges[0][0], ranges[1][1]]}

    other = bench.case("other")
    bench("attach", disk, "-p", "1").ended(0)
    bench("attach", disk, "-p", "2", "--case", other).ended(0)
    document = bench("detach", disk, "--json").ended(0).json
    assert sorted(document["records"], key=str) == sorted(
        (item["records"] for item in document["attachments"]), key=str
    )
    assert len({entry["log"] for entry in document["records"]}) == 2
    assert bench("detach", "--all", "--json").ended(0).json["records"] is None


def test_what_a_detach_and_an_unmount_record(bench: Bench, case: Path) -> None:
    part = bench.base / "ext4"
    filesystems.make_tree(bench.base / "tree")
    filesystems.make_clean(part, "ext4", bench.base / "tree")
    disk = bench.folder / "mountable.dd"
    filesystems.make_disk(disk, "gpt", [part])
    bench("mount", disk, "-p", "1", "seen").ended(0)
    bench("unmount", "--all").ended(0)
    (attached,) = bench.of_type(case, "evidence.attached")
    (mounted,) = bench.of_type(case, "evidence.mounted")
    (unmounted,) = bench.of_type(case, "evidence.unmounted")
    (detached,) = bench.of_type(case, "evidence.detached")
    was, now = attached["data"], detached["data"]
    for key in (
        "device",
        "diskseq",
        "offset",
        "length",
        "block_size",
        "clipped_tail",
        "read_only",
        "label",
        "backing",
    ):
        assert now[key] == was[key]
    for key in ("offset", "size", "sizelimit", "block_size", "diskseq", "read_only", "device", "inode"):
        assert now["proof"][key] == was["proof"][key]
    for key in ("target", "driver", "options", "view", "journal"):
        assert unmounted["data"][key] == mounted["data"][key]
    assert (unmounted["data"]["view"], unmounted["data"]["journal"]) == ("current", "clean")
