"""The whole way by the installed command: case, verify, partitions, attach, mount, look, take down, and a log that tells it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.attachment import Attachment, list_attachments
from imgkit.examination import knowledge
from imgkit.examination.detaching import Selection, Takedown
from imgkit.examination.presence import be_present
from tests.live import filesystems
from tests.live.bench import LUKS1, RUN_FOLDER, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("whole way")]

MIB = 1 << 20
GPT_KINDS = ("ext4", "xfs", "btrfs", "squashfs", "swap", "luks", "nothing", "vfat")
DOS_KINDS = ("ext4", "squashfs", "btrfs", "ext2", "xfs")  # the last two are logical: 5 and 6
DIRTY_KINDS = ("ext4", "xfs", "btrfs")
NUMBERS = {"gpt": (1, 2, 3, 4), "dos": (1, 2, 3, 5, 6)}
MOUNTABLE = {"gpt": GPT_KINDS[:4], "dos": DOS_KINDS}


@dataclass(frozen=True, slots=True)
class Disks:
    """Made once: disks by name, and the files in their file systems."""

    folder: Path
    files: dict[str, bytes]

    def copy(self, name: str, place: Path) -> Path:
        """A disk of its own for a test, with an access time that reading would move."""
        disk = place / "disk.dd"
        subprocess.run(["cp", "--sparse=always", self.folder / f"{name}.img", disk], check=True)
        os.utime(disk, (1, 1))
        return disk


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Disks:
    folder = tmp_path_factory.mktemp("disks")
    disks = Disks(folder, filesystems.make_tree(folder / "tree"))
    for kind in {*MOUNTABLE["gpt"], *DOS_KINDS}:
        filesystems.make_clean(folder / kind, kind, folder / "tree")
    for kind in DIRTY_KINDS:
        filesystems.make_dirty(folder / f"{kind}.dirty", kind, folder / "tree")
    for kind in ("swap", "vfat"):
        (folder / kind).write_bytes(bytes(MIB))
        subprocess.run(
            [f"mk{kind}" if kind == "swap" else "mkfs.vfat", folder / kind], check=True, capture_output=True
        )
    (folder / "luks").write_bytes(LUKS1 + bytes(MIB - len(LUKS1)))
    (folder / "nothing").write_bytes(b"no file system\n" * 70_000)
    filesystems.make_disk(folder / "gpt.img", "gpt", [folder / kind for kind in GPT_KINDS])
    filesystems.make_disk(folder / "dos.img", "dos", [folder / kind for kind in DOS_KINDS])
    filesystems.make_disk(folder / "dirty.img", "gpt", [folder / f"{kind}.dirty" for kind in DIRTY_KINDS])
    return disks


@dataclass(slots=True)
class Table:
    """A bench with a disk of its own in a case of its own."""

    bench: Bench
    disk: Path
    case: Path
    files: dict[str, bytes]

    def content(self, offset: int, length: int) -> bytes:
        fd = os.open(self.disk, os.O_RDONLY | os.O_NOATIME)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def shows(self, attachment: dict[str, Any]) -> None:
        """The device gives the bytes of its extent, to the last one, and refuses to be written."""
        with open(attachment["device"], "rb") as device:
            assert device.read() == self.content(attachment["offset"], attachment["length"])
        with open(attachment["device"], "r+b", buffering=0) as device, pytest.raises(PermissionError):
            device.write(b"\0" * 512)


@pytest.fixture
def table(bench: Bench, disks: Disks, request: pytest.FixtureRequest) -> Iterator[Table]:
    """The disk that the test asks for (`gpt` unless it says); it comes out as it went in, and so does the host."""
    disk = disks.copy(getattr(request, "param", "gpt"), bench.folder)
    before = filesystems.facts(disk)
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    yield Table(bench, disk, case, disks.files)
    assert bench.is_clean()
    assert filesystems.facts(disk) == before
    codes = bench.verified(case)
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT", "LATE_OUTCOME", "TORN_TAIL"} & set(codes)


@pytest.mark.parametrize("table", ["gpt", "dos"], indirect=True)
def test_the_whole_way(table: Table, request: pytest.FixtureRequest) -> None:
    label = request.node.callspec.params["table"]
    imgkit, disk = table.bench, table.disk
    digest = filesystems.facts(disk).sha256
    (imgkit.folder / "disk.dd.sha256").write_text(f"{digest}  disk.dd\n")
    assert imgkit("verify", disk, "--json").ended(0).json["images"][0]["verdict"] == "match"
    found = imgkit("partitions", disk, "--json").ended(0).json
    assert found["table"]["scheme"] == label
    extents = {item["number"]: (item["offset"], item["length"]) for item in found["partitions"]}

    number = NUMBERS[label][-1]
    device = imgkit("attach", disk, "-p", str(number)).ended(0).out.strip()
    (shown,) = imgkit.status()
    assert (shown["device"], shown["partition"]) == (device, number)
    assert (shown["offset"], shown["length"]) == extents[number]
    table.shows(shown)
    assert imgkit("detach", device).ended(0).lines == [device]

    document = imgkit("mount", disk, "--json").ended(0 if label == "dos" else 3).json
    mounted = {item["partition"]: item for item in document["attachments"]}
    assert tuple(mounted) == NUMBERS[label]
    for kind, item in zip(MOUNTABLE[label], mounted.values(), strict=True):
        assert item["filesystem"]["type"] == kind
        assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= set(item["options"])
        assert filesystems.files_below(item["mountpoint"]) == table.files
    assert imgkit.mounts() == {item["mountpoint"]: item["device"] for item in mounted.values()}
    assert len(imgkit("unmount", "--all").ended(0).lines) == len(mounted)
    assert imgkit("verify", disk, "--json").ended(0).json["images"][0]["verdict"] == "match"


def test_records_are_complete(table: Table) -> None:
    """What was asked, what was read back, what lies below: all of kernel.md's proof, and joined by line and op."""
    imgkit = table.bench
    attachment = (
        imgkit("attach", table.disk, "-p", "1", "--reason", "search", "--json")
        .ended(0)
        .json["attachments"][0]
    )
    imgkit("detach", "--all").ended(0)
    (intent,) = imgkit.of_type(table.case, "evidence.attached", "intent")
    (attached,) = imgkit.of_type(table.case, "evidence.attached")
    (detaching,) = imgkit.of_type(table.case, "evidence.detached", "intent")
    (detached,) = imgkit.of_type(table.case, "evidence.detached")
    facts, data = os.stat(table.disk), attached["data"]
    assert (intent["op"], intent["reason"], intent["exhibit"]) == (attached["op"], "search", "EX1")
    assert (data["offset"], data["length"], data["partition"]) == (MIB, 16 * MIB, 1)
    assert (data["block_size"], data["clipped_tail"], data["guard"]) == (512, 0, "lease")
    assert data["label"] == f"imgkit:{intent['log']}:{intent['seq']}"
    assert data["device"] == attachment["device"]
    assert data["diskseq"] == attachment["diskseq"] > 0
    assert data["backing"] == {
        "path": str(table.disk),
        "dev": str(facts.st_dev),
        "ino": str(facts.st_ino),
        "bytes": facts.st_size,
        "mtime": str(facts.st_mtime_ns),
        "ctime": str(facts.st_ctime_ns),
        "kind": "file",
        "rdev": "0",
        "links": 1,
    }
    expected = {"blkroget": True, "sysfs_ro": True, "device": str(facts.st_dev), "inode": str(facts.st_ino)}
    for record, flags in ((attached, 5), (detached, 1)):  # recorded first, made to stay afterwards
        proof = record["data"]["proof"]
        assert proof["lo_flags"] == flags
        assert expected.items() <= proof.items()
        assert (proof["sectors_written"], proof["sectors_discarded"]) == (0, 0)
    assert {key: data["proof"][key] for key in ("size", "offset", "sizelimit")} == {
        "size": 16 * MIB,
        "offset": MIB,
        "sizelimit": 16 * MIB,
    }
    assert detaching["data"]["attached_line"] == detached["data"]["attached_line"] == intent["seq"]
    assert (detached["data"]["guard"], detached["data"]["compared"]) == ("lease", True)
    assert detached["data"]["backing"]["mtime"] == data["backing"]["mtime"]
    assert detached["data"]["details"] == []


def test_several_at_once(table: Table) -> None:
    imgkit = table.bench
    document = (
        imgkit("attach", table.disk, "-p", "3", "-p", "1", "-p", "4", "-p", "1", "--json").ended(0).json
    )
    assert [item["partition"] for item in document["attachments"]] == [3, 1, 4]
    assert len({item["device"] for item in document["attachments"]}) == 3
    for item in document["attachments"]:
        table.shows(item)
    first = document["attachments"][0]["device"]
    assert imgkit("detach", first).ended(0).lines == [first]
    assert first not in imgkit.devices()
    left = imgkit("detach", table.disk, "--json").ended(0).json["attachments"]
    assert [item["partition"] for item in left] == sorted(item["partition"] for item in left)
    assert {item["partition"] for item in left} == {1, 4}
    assert all(item["detached"] for item in left)


def test_all_or_none(table: Table) -> None:
    """One that does not exist: no intent, no device."""
    imgkit = table.bench
    done = imgkit("attach", table.disk, "-p", "1", "-p", "99").ended(3)
    assert "no partition 99" in done.err
    assert imgkit.devices() == {}
    assert imgkit.of_type(table.case, "evidence.attached", "intent") == []


def test_the_whole_media_and_an_extent(table: Table) -> None:
    imgkit = table.bench
    (whole,) = imgkit("attach", table.disk, "--json").ended(0).json["attachments"]
    assert (whole["partition"], whole["offset"], whole["length"]) == (None, 0, table.disk.stat().st_size)
    table.shows(whole)
    words = ("attach", table.disk, "--offset", str(MIB + 512), "--length", str(3 * 512), "--json")
    (extent,) = imgkit(*words).ended(0).json["attachments"]
    assert (extent["offset"], extent["length"]) == (MIB + 512, 3 * 512)
    table.shows(extent)
    shown = imgkit.status()
    assert {item["device"] for item in shown} == {whole["device"], extent["device"]}
    assert imgkit("attach", table.disk, "--offset", "513", "--length", "512").ended(3).err.count("hint:") == 1
    assert len(imgkit("detach", "--all").ended(0).lines) == 2


def test_status_proves_from_the_kernel(table: Table) -> None:
    imgkit = table.bench
    lines = len(imgkit.records(imgkit.log_of(table.case)))
    assert imgkit.status() == []
    imgkit("attach", table.disk, "-p", "1").ended(0)
    (shown,) = imgkit.status()
    facts = os.stat(table.disk)
    assert shown["proof"] == {
        "lo_flags": 1,
        "blkroget": True,
        "sysfs_ro": True,
        "device": str(facts.st_dev),
        "inode": str(facts.st_ino),
        "sectors_written": 0,
        "sectors_discarded": 0,
    }
    assert (shown["read_only"], shown["guard"], shown["exhibit"]) == (True, "lease", "EX1")
    assert (shown["case"], shown["examiner"]) == ("case", imgkit.env["IMGKIT_EXAMINER"])
    assert shown["image"]["path"] == str(table.disk)
    assert str(table.disk) in imgkit("status").ended(0).out
    assert len(imgkit.records(imgkit.log_of(table.case))) == lines + 6  # opened nothing, recorded nothing
    imgkit("detach", "--all").ended(0)
    assert imgkit("detach", "--all").ended(0).out == ""


def test_all_is_what_one_attached(table: Table) -> None:
    """Two examiners, two cases: --all takes one's own, with --case that case's; the record says who took it down."""
    imgkit = table.bench
    other = imgkit.case("other")
    his_words = {"IMGKIT_EXAMINER": "John Roe <john@lab.example>", "IMGKIT_CASE": str(other)}
    mine = imgkit("attach", table.disk, "-p", "1").ended(0).out.strip()
    his = imgkit("attach", table.disk, "-p", "3", env={**his_words}).ended(0).out.strip()
    done = imgkit("detach", "--all", env={"IMGKIT_CASE": None}).ended(0)
    assert done.lines == [mine]
    (line,) = [line for line in done.err.splitlines() if "attached by others" in line]
    assert his in line
    assert "of John Roe <john@lab.example>" in line
    again = imgkit("attach", table.disk, "-p", "1").ended(0).out.strip()
    assert imgkit("detach", "--all", "--case", other).ended(0).lines == [his]
    assert imgkit.devices().keys() == {again}
    (detached,) = imgkit.of_type(other, "evidence.detached")
    assert detached["actor"]["name"] == "Jane Doe"
    imgkit("detach", again).ended(0)


def test_everyone_is_named(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """--all --everyone, in this process and with nobody's devices but ours: other tests have theirs."""
    imgkit = table.bench
    his = imgkit("attach", table.disk, "-p", "3").ended(0).out.strip()
    stranger = imgkit(
        "attach", table.disk, "-p", "1", env={"XDG_STATE_HOME": str(imgkit.base / "elsewhere")}
    ).ended(0)

    def ours() -> list[Attachment]:
        return [item for item in list_attachments() if item.device in imgkit.devices()]

    monkeypatch.setattr(knowledge, "list_attachments", ours)
    said: list[str] = []
    presence = be_present(
        examiner="John Roe <john@lab.example>", argv=["imgkit", "detach"], ask=None, environ=imgkit.env
    )
    with presence.session:
        takedown = Takedown(presence, reason=None, notify=said.append)
        assert takedown.detach(Selection(everything=True)) == []
        devices = ", ".join(sorted([his, stranger.out.strip()], key=lambda name: int(name[9:])))
        assert said == [
            f"attached by others, and stays: {devices} of Jane Doe <jane@lab.example> (--everyone takes it down too)"
        ]
        done = takedown.detach(Selection(everything=True, everyone=True))
    assert {item.attached.attachment.device for item in done} == {his, stranger.out.strip()}
    assert [item.error for item in done] == [None, None]
    assert f"{his} was attached by Jane Doe <jane@lab.example>" in said
    (detached,) = [
        r for r in imgkit.of_type(table.case, "evidence.detached") if r["actor"]["name"] == "John Roe"
    ][:1]
    assert detached["result"] == "ok"


def test_mount_reports_what_it_leaves(table: Table) -> None:
    """Swap, LUKS and nothing known are no failure; a driver that this kernel lacks is one."""
    imgkit = table.bench
    document = imgkit("mount", table.disk, "--json").ended(3).json
    skipped = {item["partition"]: item for item in document["skipped"]}
    assert sorted(skipped) == [5, 6, 7, 8]
    assert "swap" in skipped[5]["reason"]
    assert "LUKS" in skipped[6]["reason"]
    assert f"imgkit attach {table.disk} -p 6, then: cryptsetup open --readonly" in skipped[6]["hint"]
    assert "no file system" in skipped[7]["reason"]
    assert "vfat" in skipped[8]["reason"]
    for item in document["attachments"]:
        assert item["mountpoint"] == f"{RUN_FOLDER}/{run_name(item)}/p{item['partition']}"
    folder = os.path.dirname(document["attachments"][0]["mountpoint"])
    assert sorted(os.listdir(folder)) == ["p1", "p2", "p3", "p4"]
    imgkit("unmount", table.disk).ended(0)
    assert not os.path.exists(folder)
    no_failure = imgkit("mount", table.disk, "-p", "1", "--json").ended(0).json
    assert no_failure["skipped"] == []
    again = imgkit("mount", table.disk, "-p", "2").ended(0).out.strip()
    assert os.path.dirname(again) == os.path.dirname(no_failure["attachments"][0]["mountpoint"])
    imgkit("unmount", "--all").ended(0)
    assert "swap" in imgkit("mount", table.disk, "-p", "5").ended(3).err


def run_name(attachment: dict[str, Any]) -> str:
    """EX1, or EX1-N where other cases' EX1 was mounted at the same time."""
    name: str = attachment["mountpoint"].split("/")[3]
    assert name.split("-", maxsplit=1)[0] == attachment["exhibit"]
    return name


@pytest.mark.parametrize("table", ["dos"], indirect=True)
def test_a_whole_image_that_holds_nothing_else(table: Table) -> None:
    """All mounted, at DIR/pN; taken down by DIR and by one of its directories."""
    imgkit, place = table.bench, table.bench.folder / "seen"
    assert imgkit("mount", table.disk, "seen").ended(0).lines == [f"{place}/p{n}" for n in NUMBERS["dos"]]
    assert len(imgkit("unmount", "seen/p5").ended(0).lines) == 1
    assert len(imgkit.mounts()) == 4
    assert len(imgkit("unmount", "seen").ended(0).lines) == 4
    assert not place.exists()


def test_a_directory_of_ones_own(table: Table) -> None:
    imgkit = table.bench
    place = imgkit.folder / "mine"
    place.mkdir()
    assert imgkit("mount", table.disk, "-p", "1", "mine").ended(0).lines == [str(place)]
    assert filesystems.files_below(str(place)) == table.files
    assert "is mounted" in imgkit("mount", table.disk, "-p", "2", "mine").ended(3).err
    busy = imgkit("detach", table.disk).ended(3)
    assert str(place) in busy.err
    imgkit("unmount", "mine").ended(0)
    assert place.is_dir()  # it was there before
    imgkit("unmount", "mine").ended(3)
    assert imgkit("unmount", "--all").ended(0).out == ""


@pytest.mark.parametrize("table", ["dirty"], indirect=True)
def test_dirty_file_systems(table: Table) -> None:
    """Shown as before the journal, and the examiner and the record are told."""
    imgkit = table.bench
    done = imgkit("mount", table.disk, "--json").ended(0)
    assert done.err.count("its journal is dirty") == 3
    for kind, item in zip(DIRTY_KINDS, done.json["attachments"], strict=True):
        assert item["filesystem"]["type"] == kind
        assert len(item["notices"]) == 1
        assert "late.txt" not in filesystems.files_below(item["mountpoint"])
    for record in imgkit.of_type(table.case, "evidence.mounted"):
        data = record["data"]
        assert (record["result"], data["view"], data["journal"]) == ("ok", "before-journal", "dirty")
        assert len(data["notices"]) == 1
        assert {"norecovery", "rescue=nologreplay", "noload"} & set(data["options_asked"])
        assert "ro" in data["options"]
    imgkit("unmount", "--all").ended(0)


def test_mounted_while_attached(table: Table) -> None:
    """What stock tools mount on an attachment is shown, and unmount takes both down."""
    imgkit, place = table.bench, table.bench.folder / "by hand"
    device = imgkit("attach", table.disk, "-p", "1").ended(0).out.strip()
    place.mkdir()
    subprocess.run(["mount", "-o", "ro", device, place], check=True)
    (shown,) = imgkit.status()
    assert shown["mountpoint"] == str(place)
    with (place / "early.txt").open("rb"):
        busy = imgkit("unmount", "by hand", "--json").ended(3).json
        assert f"pid {os.getpid()}" in busy["attachments"][0]["error"]["message"]
    assert imgkit("unmount", place).ended(0).lines == [f"{device} {place}"]
    assert place.is_dir()


def test_the_log_by_stock_tools(table: Table) -> None:
    imgkit = table.bench
    imgkit("attach", table.disk, "-p", "1").ended(0)
    imgkit("detach", "--all").ended(0)
    lines = imgkit.log_of(table.case).read_bytes().splitlines(keepends=True)
    before = "0" * 64
    for line, record in zip(lines, imgkit.records(imgkit.log_of(table.case)), strict=True):
        assert record["prev"] == before
        before = hashlib.sha256(line).hexdigest()
    subprocess.run(["sh", "verify.sh"], cwd=table.case, check=True, capture_output=True)
