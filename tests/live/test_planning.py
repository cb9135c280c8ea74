"""What attach and mount find out before they bind a device: on record, told in one line, and with nothing attached."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import filesystems
from tests.partitions.disks import LINUX, GptDisk, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Done
    from tests.live.bench import Bench

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("planning")]

MIB = 1 << 20
EXT4, SWAP, APFS = 1, 2, 3
UUID = "6f1c1f3e-2a5b-4a53-9d25-0f7d4f2f7f10"


@pytest.fixture
def disk(bench: Bench) -> Path:
    """An ext4 with label and UUID, swap space, and a file system that Linux has no driver for."""
    folder = bench.base
    filesystems.make_tree(folder / "tree")
    (folder / "ext4").write_bytes(bytes(16 * MIB))
    made = ("mkfs.ext4", "-q", "-L", "EVIDENCE", "-U", UUID, "-d", folder / "tree", folder / "ext4")
    subprocess.run(made, check=True, capture_output=True)
    (folder / "swap").write_bytes(bytes(MIB))
    subprocess.run(["mkswap", folder / "swap"], check=True, capture_output=True)
    apfs = bytes(32) + b"NXSB" + (4096).to_bytes(4, "little")
    (folder / "apfs").write_bytes(apfs.ljust(MIB, b"\0"))
    disk = bench.folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [folder / name for name in ("ext4", "swap", "apfs")])
    return disk


@pytest.fixture
def case(bench: Bench, disk: Path) -> Path:
    """A case that knows the disk already."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    bench("partitions", disk).ended(0)
    return case


class Written:
    """The records that come after this moment."""

    def __init__(self, bench: Bench, case: Path) -> None:
        self._bench, self._log = bench, bench.log_of(case)
        self._before = len(bench.records(self._log))

    def records(self) -> list[dict[str, Any]]:
        return self._bench.records(self._log)[self._before :]

    def story(self) -> list[tuple[str, str]]:
        return [(record["type"], record.get("result", record["phase"])) for record in self.records()]


def has_case_line(done: Done) -> bool:
    return any(
        line.startswith("case case, as Jane Doe <jane@lab.example>, line ") for line in done.err.splitlines()
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("attach -p 9", "has no partition 9"),
        ("mount -p 9", "has no partition 9"),
        ("attach --offset 999999488 --length 512", "the media ends at"),
        ("attach --offset 5 --length 512", "starts on a multiple"),
        ("attach --offset 0 --length 999999999999999999999999999488", "past the media's end"),
    ],
)
def test_what_cannot_be_done_is_on_record(
    bench: Bench, disk: Path, case: Path, command: str, said: str
) -> None:
    """The evidence was opened for it: intent, outcome, and the line that says in whose name."""
    written = Written(bench, case)
    words = command.split()
    kind = "evidence.attached" if "--offset" in words else "evidence.inspected"
    done = bench(*words, disk).ended(3)
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert has_case_line(done)
    assert written.story() == [(kind, "intent"), (kind, "failed")]
    assert said in written.records()[1]["error"]["text"]
    assert bench.is_clean()


def test_options_that_contradict_each_other_open_nothing(bench: Bench, disk: Path, case: Path) -> None:
    written = Written(bench, case)
    for words in (("--offset", "0"), ("--length", "512"), ("-p", "1", "--offset", "0", "--length", "512")):
        assert not has_case_line(bench("attach", disk, *words).ended(2))
    assert written.story() == []


def test_a_table_is_read_on_record(bench: Bench, disk: Path, case: Path) -> None:
    written = Written(bench, case)
    bench("attach", disk, "-p", "1").ended(0)
    assert written.story() == [
        ("evidence.inspected", "intent"),
        ("evidence.inspected", "ok"),
        ("evidence.attached", "intent"),
        ("evidence.attached", "ok"),
    ]
    intent, inspected, *_ = written.records()
    assert (intent["data"]["what"], intent["data"]["asked"]) == ("attach", [1])
    assert (intent["data"]["format"], len(intent["data"]["files"])) == ("raw", 1)
    assert [item["number"] for item in inspected["data"]["partitions"]] == [1, 2, 3]
    written = Written(bench, case)
    bench("attach", disk, "--offset", "0", "--length", "512").ended(0)  # no table is needed for that
    assert written.story() == [("evidence.attached", "intent"), ("evidence.attached", "ok")]
    bench("detach", "--all").ended(0)


def test_swap_is_named_and_its_hint_is_no_command(bench: Bench, disk: Path, case: Path) -> None:
    written = Written(bench, case)
    done = bench("mount", disk, "-p", str(SWAP)).ended(3)
    assert "imgkit: error: partition 2 is not mounted: it holds swap space, no file system" in done.err
    assert ", then:" not in done.err
    assert f"the device that `imgkit attach {disk} -p 2` makes" in done.err
    assert has_case_line(done)
    assert written.story() == [("evidence.inspected", "intent"), ("evidence.inspected", "ok")]
    (skipped,) = written.records()[1]["data"]["skipped"]
    assert skipped == {"partition": 2, "reason": "it holds swap space, no file system"}


def test_a_driver_that_is_not_there(bench: Bench, disk: Path, case: Path) -> None:
    """Found out before a device is bound; the hint has the whole way, and no device that is gone again."""
    written = Written(bench, case)
    done = bench("mount", disk, "-p", str(APFS), "--json").ended(3)
    (skipped,) = done.json["skipped"]
    assert skipped["reason"] == "Linux has no driver for apfs"
    assert skipped["hint"] == f"imgkit attach {disk} -p 3, then: apfs-fuse /dev/loopN DIR"
    assert written.story() == [("evidence.inspected", "intent"), ("evidence.inspected", "ok")]


def test_a_directory_that_will_not_do(bench: Bench, disk: Path, case: Path) -> None:
    (bench.folder / "full").mkdir()
    (bench.folder / "full" / "file").write_bytes(b"")
    (bench.folder / "link").symlink_to("full")
    written = Written(bench, case)
    for place, why in (
        ("full", "it is not empty"),
        ("link", "it is a symbolic link"),
        ("full/file", "it is no directory"),
        ("full/file/below", "it is no directory"),
    ):
        assert why in bench("mount", disk, "-p", "1", place).ended(3).err
    assert {kind for kind, _ in written.story()} == {"evidence.inspected"}
    assert sorted(path.name for path in bench.folder.iterdir() if path.name != "case") == [
        "disk.dd",
        "full",
        "link",
    ]


def many(path: Path, count: int) -> Path:
    """A GPT with partitions of one sector, in which nothing is recognised."""
    disk = GptDisk(4 * MIB, count=max(128, count))
    first = disk.first_usable
    disk.rows = {slot: (LINUX, first + slot, first + slot, "", 0) for slot in range(count)}
    return write_image(path, disk.image())


def test_more_than_anybody_wants_mounted(bench: Bench, case: Path) -> None:
    """Refused at once; with -p it goes on."""
    image = many(bench.folder / "many.dd", 129)
    done = bench("mount", image).ended(3)
    assert done.errors == [
        f"imgkit: error: {image} has 129 partitions, more than the 128 that are mounted at once unasked"
    ]
    assert f"hint: imgkit partitions {image} shows them; name those to mount with -p" in done.err
    assert "partition 129 is not mounted: no file system" in bench("mount", image, "-p", "129").ended(3).err


def test_many_that_are_left_out_are_told_in_few_lines(bench: Bench, case: Path) -> None:
    image = many(bench.folder / "many.dd", 100)
    done = bench("mount", image, "--json").ended(0)
    assert [item["partition"] for item in done.json["skipped"]] == list(range(1, 101))
    told = [line for line in done.err.splitlines() if "not mounted" in line]
    assert told == ["partitions 1-100 are not mounted: no file system was recognised"]


def test_file_systems_are_shown_wherever_they_are_attached(bench: Bench, disk: Path, case: Path) -> None:
    """In attach, mount and status alike, from one record."""
    expected = {"type": "ext4", "label": "EVIDENCE", "uuid": UUID}
    (attached,) = bench("attach", disk, "-p", "1", "--json").ended(0).json["attachments"]
    (shown,) = bench.status()
    assert attached["filesystem"] == shown["filesystem"] == expected
    assert (attached["view"], attached["journal"]) == (shown["view"], shown["journal"]) == (None, None)
    bench("detach", "--all").ended(0)
    (attached,) = (
        bench("attach", disk, "--offset", str(MIB), "--length", str(16 * MIB), "--json")
        .ended(0)
        .json["attachments"]
    )
    assert attached["filesystem"] == expected
    bench("detach", "--all").ended(0)
    (mounted,) = bench("mount", disk, "-p", "1", "--json").ended(0).json["attachments"]
    (shown,) = bench.status()
    assert mounted["filesystem"] == shown["filesystem"] == expected
    assert (mounted["view"], mounted["journal"]) == (shown["view"], shown["journal"]) == ("current", "clean")
    bench("unmount", "--all").ended(0)
    (attached,) = bench("attach", disk, "-p", str(SWAP), "--json").ended(0).json["attachments"]
    assert attached["filesystem"]["type"] == "swap"
    bench("detach", "--all").ended(0)


def test_a_directory_in_any_bytes(bench: Bench, disk: Path, case: Path) -> None:
    """d=$(imgkit mount …) has the directory, whatever its name is."""
    name = b"seen-\xff\xfe-\xc3\xbc"
    done = bench("mount", disk, "-p", "1", name).ended(0)
    assert os.fsencode(done.out) == os.path.join(os.fsencode(bench.folder), name) + b"\n"
    assert os.path.isfile(os.path.join(done.out.rstrip("\n"), "early.txt"))
    bench("unmount", name).ended(0)


def test_a_tail_that_the_device_does_not_show(bench: Bench, case: Path) -> None:
    """Told at attach, and status says the same as attach; an extent that happens to be the shown part has no tail."""
    image = bench.folder / "odd.dd"
    image.write_bytes(b"x" * 513)
    done = bench("attach", image, "--json").ended(0)
    (attached,) = done.json["attachments"]
    (shown,) = bench.status()
    keys = ("offset", "length", "clipped_tail", "notices")
    assert {key: attached[key] for key in keys} == {key: shown[key] for key in keys}
    assert (attached["length"], attached["clipped_tail"]) == (513, 1)
    assert "the last byte is not on the device" in done.err
    bench("detach", "--all").ended(0)
    done = bench("attach", image, "--offset", "0", "--length", "512", "--json").ended(0)
    (attached,) = done.json["attachments"]
    (shown,) = bench.status()
    assert {key: attached[key] for key in keys} == {key: shown[key] for key in keys}
    assert (shown["length"], shown["clipped_tail"], shown["notices"]) == (512, 0, [])
    bench("detach", "--all").ended(0)
