"""What changes while it is read: no digest of it is a digest; disks are watched by their number and their counters."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.examination import Examination
from imgkit.examination.devices import device_changes, device_notices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOP_CHANGE_FD = 0x4C06
MIB = 1 << 20


class Bench:
    """An examiner of no case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.environ = {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}

    def examination(self) -> Examination:
        return Examination.open(
            examiner="Jane Doe <jane@lab.example>", environ=self.environ, notify=self.told.append
        )

    def hash(self, path: str, during: Callable[[], object] = bool) -> Any:
        """Digests of an image to which something happens once the read has begun."""
        steps: list[int] = []

        def progress(done: int, _total: int) -> None:
            if not steps:
                during()
            steps.append(done)

        with self.examination() as examination, examination.evidence(path) as evidence:
            result = examination.hash(evidence, algorithms=["md5"], progress=progress)
        assert steps
        return result

    def records(self, kind: str) -> list[dict[str, Any]]:
        text = (self.folder / "state" / "imgkit" / "custody.jsonl").read_text(encoding="utf-8")
        return [item for item in map(json.loads, text.splitlines()) if item["type"] == kind]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Bench(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.dd"
    path.write_bytes(os.urandom(MIB))
    return path


def test_a_file_that_changes_during_the_read_has_no_digest(
    bench: Bench, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from imgkit.cli.digests import _code, _print_hashes

    result = bench.hash(str(image), lambda: os.utime(image, ns=(1, 1)))
    (part,) = result.parts
    assert part.changed == [str(image)]
    assert len(part.changes.details) == 1
    assert f"{image}: mtime " in part.changes.details[0]
    _print_hashes(result)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"of no state that ever was: MD5 ({image}) = {part.digests[0].value}" in err
    assert _code(result) == 1
    outcome = bench.records("evidence.hashed")[-1]["data"]
    assert (outcome["verdict"], outcome["changed"]) == ("mismatch", [str(image)])
    (event,) = bench.records("evidence.changed")
    assert event["data"]["details"] == list(part.changes.details)
    with bench.examination() as examination, examination.evidence(str(image)) as evidence:
        assert not examination.has_own(evidence, "media", "md5")
        assert examination.verify(evidence).verdict == "no-reference"


def test_a_file_whose_ctime_alone_changes_keeps_its_digest(bench: Bench, image: Path) -> None:
    result = bench.hash(str(image), lambda: image.chmod(0o600))
    (part,) = result.parts
    assert (part.changed, part.changes.touched) == ([], (str(image),))
    outcome = bench.records("evidence.hashed")[-1]["data"]
    assert "verdict" not in outcome
    assert "only ctime differs" in outcome["details"][0]


def test_what_of_a_device_counts_as_a_change() -> None:
    then = {"name": "sdb", "size": 1, "diskseq": 4, "sectors_written": 0, "read_only": True}
    assert device_changes("/dev/sdb", then, then | {"name": "sdc", "read_only": False}) == []
    assert device_changes("/dev/sdb", then, then | {"diskseq": 5}) == [
        "/dev/sdb: diskseq 4 before the read, 5 after it"
    ]
    assert device_changes("/dev/sdb", then, then | {"sectors_written": 8})


# -- on a real kernel ------------------------------------------------------------------------------


def losetup(*words: str | Path) -> str:
    done = subprocess.run(["losetup", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def disk(live: None, image: Path) -> Iterator[str]:
    """A writable disk, as an examiner without a write blocker has it."""
    device = losetup("--find", "--show", image)
    try:
        yield device
    finally:
        losetup("--detach", device)


@pytest.fixture
def blocked_disk(live: None, image: Path) -> Iterator[str]:
    """The same behind a write blocker."""
    device = losetup("--find", "--show", "--read-only", image)
    try:
        yield device
    finally:
        losetup("--detach", device)


@pytest.mark.live
def test_a_disk_without_a_write_blocker_is_told_and_recorded(bench: Bench, disk: str) -> None:
    bench.hash(disk)
    assert any("no write blocker seen" in text for text in bench.told)
    intent, outcome = bench.records("evidence.hashed")
    assert "no write blocker seen" in intent["data"]["notices"][0]
    before, after = intent["data"]["files"][0]["source"], outcome["data"]["files_after"][0]["source"]
    assert before == after
    assert before["read_only"] is False
    assert {"diskseq", "sectors_written", "boot_id", "size"} <= before.keys()
    added = bench.records("evidence.added")[0]["data"]["files"][0]
    assert added["source"]["diskseq"] == before["diskseq"]
    assert "mtime" not in added


@pytest.mark.live
def test_a_blocked_disk_that_nobody_uses_needs_no_word(bench: Bench, blocked_disk: str) -> None:
    bench.hash(blocked_disk)
    assert not [text for text in bench.told if blocked_disk in text]


@pytest.mark.live
def test_a_disk_that_is_mounted_is_told_with_its_mount(bench: Bench, disk: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True, capture_output=True)
    target = tmp_path / "mnt"
    target.mkdir()
    subprocess.run(["mount", disk, target], check=True)
    try:
        with open_image(disk) as image:
            told = " ".join(device_notices(image))
        assert f"{disk} is in use" in told
        assert f"mounted at {target}" in told
        with bench.examination() as examination, examination.evidence(disk) as evidence:
            assert any("is in use" in text for text in examination.info(evidence)["notices"])
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.mark.live
def test_a_write_to_a_disk_during_the_read_is_a_change(bench: Bench, disk: str) -> None:
    def write() -> None:
        with open(disk, "r+b", buffering=0) as file:
            file.write(os.urandom(4096))
            os.fsync(file.fileno())

    (part,) = bench.hash(disk, write).parts
    assert part.changed == [disk]
    assert any("sectors_written" in text for text in part.changes.details)
    assert bench.records("evidence.changed")


def swap(device: str, path: Path) -> None:
    """Put another disk where one was; the name stays, and nobody can take it in between."""
    with open(device, "rb") as node, open(path, "rb") as file:
        fcntl.ioctl(node, LOOP_CHANGE_FD, file.fileno())


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.dd"
    path.write_bytes(os.urandom(MIB))
    return path


@pytest.mark.live
def test_a_disk_that_becomes_another_during_the_read_is_a_change(
    bench: Bench, blocked_disk: str, other: Path
) -> None:
    (part,) = bench.hash(blocked_disk, lambda: swap(blocked_disk, other)).parts
    assert any("diskseq" in text for text in part.changes.details)


@pytest.mark.live
def test_another_disk_of_that_name_is_another_exhibit(
    bench: Bench, blocked_disk: str, other: Path, image: Path
) -> None:
    names = []
    for path in (other, image):
        with bench.examination() as examination:
            for _ in range(2):
                with examination.evidence(blocked_disk) as evidence:
                    names.append(evidence.exhibit)
        swap(blocked_disk, path)
    with bench.examination() as examination, examination.evidence(blocked_disk) as evidence:
        names.append(evidence.exhibit)
    assert names == ["EX1", "EX1", "EX2", "EX2", "EX3"]  # no serial: the number of this use is all there is
