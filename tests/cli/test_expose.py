"""expose and unexpose: the media as a file for any tool, without root; recorded, compared, and gone when it is said to be."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import unpacked
from tests.cli.test_ordinary_user import account, own_log, person
from tests.conftest import exposures, mounted, need
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.running import Imgkit

__all__ = ["account", "person"]  # fixtures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("ordinary-user")]


@pytest.fixture
def split(person: Imgkit) -> Iterator[tuple[Path, Path]]:
    """A raw disk, and the first file of the same in two; whatever a failed test left exposed is taken away."""
    need(shutil.which("fusermount3") is not None, "needs fuse3")
    disk = person.folder / unpacked(person, "mbr_logicals.img.gz")
    content = disk.read_bytes()
    half = len(content) // 1024 * 512
    first = person.image("disk.001", content[:half])
    person.image("disk.002", content[half:])
    yield disk, first
    for target in sorted(mounted()):
        if target.startswith(f"{person.base}/"):
            subprocess.run(["umount", "-l", target], check=True)


def served(person: Imgkit) -> list[int]:
    return [pid for pid, image in exposures().items() if image.startswith(f"{person.base}/")]


def records(person: Imgkit, kind: str) -> list[dict[str, Any]]:
    found = person.records(own_log(person))
    return [record for record in found if record["type"] == kind and record["phase"] != "intent"]


def is_settled(person: Imgkit, place: str) -> bool:
    """Whether status and the kernel agree: what a killed command began may still be coming or going."""
    shown = person("status", "--json").ended(0).json["exposures"]
    return (place in {item["directory"] for item in shown}) == (place in mounted())


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


def as_user(person: Imgkit, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    assert person.user is not None
    options: dict[str, Any] = {"user": person.user.uid, "group": person.user.gid, "extra_groups": []}
    return subprocess.run(words, capture_output=True, check=False, env=person.env, **options)


def test_a_stock_tool_reads_it(person: Imgkit, split: tuple[Path, Path]) -> None:
    disk, first = split
    before = [first.stat(), first.with_name("disk.002").stat()]
    place = person.folder / "seen"
    done = person("expose", first, place).ended(0)
    assert done.out == f"{place}/disk.raw\n"
    assert as_user(person, "cmp", disk, place / "disk.raw").returncode == 0
    assert as_user(person, "mmls", place / "disk.raw").stdout == as_user(person, "mmls", disk).stdout != b""
    assert as_user(person, "sh", "-c", f"echo x > {place}/disk.raw").returncode != 0
    (exposed,) = records(person, "evidence.exposed")
    assert exposed["result"] == "ok"
    assert [item["path"] for item in exposed["data"]["files"]] == [str(first), f"{first.parent}/disk.002"]
    assert person("unexpose", place).ended(0).out == f"{place}\n"
    assert not place.exists()
    assert served(person) == []
    (unexposed,) = records(person, "evidence.unexposed")
    assert unexposed["data"]["exposed_line"] == exposed["seq"] - 1
    assert unexposed["data"]["compared"] is True
    after = [first.stat(), first.with_name("disk.002").stat()]
    for one, other in zip(before, after, strict=True):
        assert (one.st_atime_ns, one.st_mtime_ns, one.st_ctime_ns) == (
            other.st_atime_ns,
            other.st_mtime_ns,
            other.st_ctime_ns,
        )
    person("log", "verify").ended(0)


def test_documents_and_status(person: Imgkit, split: tuple[Path, Path]) -> None:
    place = person.folder / "seen"
    place.mkdir()
    assert person.user is not None
    os.chown(place, person.user.uid, person.user.gid)
    document = person("expose", split[1], place, "--json").ended(0).json
    assert document["schema"] == "imgkit.expose.v1"
    (pid,) = served(person)
    assert document["exposed"] == {"pid": pid, "alive": True}
    assert (document["directory"], document["file"]) == (str(place), f"{place}/disk.raw")
    assert (document["image"]["format"], document["guard"]) == ("split-raw", "lease")
    for shown in (person("status", "--json"), person.sudo("status", "--json")):
        (item,) = [i for i in shown.ended(0).json["exposures"] if i["directory"] == str(place)]
        same = ("exhibit", "directory", "file", "size", "guard", "exposed")
        assert {key: item[key] for key in same} == {key: document[key] for key in same}
        assert item["examiner"].startswith(person.user.name)
    assert f"{place}/disk.raw" in person("status").ended(0).out
    for words in (("unmount", place), ("detach", place)):
        assert f"hint: imgkit unexpose {place}" in person.sudo(*words).ended(3).err
    assert f"{place} (imgkit unexpose {place})" in person.sudo("detach", "--all").ended(0).err
    gone = person("unexpose", place, "--json").ended(0).json
    (entry,) = gone["exposures"]
    assert (entry["unexposed"], entry["compared"], entry["exhibit"]) == (True, True, "EX1")
    assert place.exists()  # it was there before
    assert os.listdir(place) == []


def test_a_file_that_changed_is_told(person: Imgkit, split: tuple[Path, Path]) -> None:
    person("expose", split[1], "seen").ended(0)
    os.utime(split[1].with_name("disk.002"), (1, 1))
    done = person("unexpose", "seen").ended(1)
    assert "EVIDENCE CHANGED" in done.err
    assert len(records(person, "evidence.changed")) == 1
    assert served(person) == []


def test_its_process_was_killed(person: Imgkit, split: tuple[Path, Path]) -> None:
    """The mount stays, and fails; status says so, and unexpose takes it away."""
    person("expose", split[1], "seen").ended(0)
    (pid,) = served(person)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert as_user(person, "cat", person.folder / "seen/disk.raw").returncode != 0
    (item,) = person("status", "--json").ended(0).json["exposures"]
    assert item["exposed"] == {"pid": None, "alive": False}
    person("unexpose", "seen").ended(0)
    assert not (person.folder / "seen").exists()
    (unexposed,) = records(person, "evidence.unexposed")
    assert unexposed["data"]["compared"] is True


def test_what_cannot_be_shown_is_taken_down(person: Imgkit, split: tuple[Path, Path]) -> None:
    with open("/dev/full", "wb") as full:
        done = person("expose", split[1], "seen", stdout=full)
    assert done.code == 3
    assert "taken down again" in done.err
    assert not (person.folder / "seen").exists()
    assert served(person) == []
    assert len(records(person, "evidence.unexposed")) == 1


def test_the_command_is_killed_at_any_moment(person: Imgkit, split: tuple[Path, Path]) -> None:
    """What is left is shown and can be taken down; the log verifies and explains it."""
    moments = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")  # noqa: T201  (shown where a test fails)
    for _ in range(6):
        place = person.folder / "seen"
        with person.popen("expose", split[1], place) as process:
            time.sleep(moments.uniform(0.1, 0.6))
            process.kill()
            process.communicate()
        wait_until(partial(is_settled, person, str(place)))
        if str(place) in mounted():
            person("unexpose", place).ended(0)
        assert str(place) not in mounted()
        for pid in served(person):
            wait_until_gone(pid)
        if place.exists():
            place.rmdir()  # made before it was killed
    person("info", split[1]).ended(0)
    codes = {item["code"] for item in person("log", "verify", "--json").ended(0).json["findings"]}
    assert "OPEN_INTENT" not in codes


def test_places_that_will_not_do(person: Imgkit, split: tuple[Path, Path]) -> None:
    for words, said in (
        (("expose", split[1], person.folder), "not empty"),
        (("expose", split[1], split[1]), "no directory"),
        (("expose", split[1], "/proc/nowhere"), "/proc/nowhere"),
        (("expose", split[1], "/root/nowhere"), "/root/nowhere"),
        (("unexpose", person.folder), "exposed no image there"),
    ):
        done = person(*words).ended(3)
        assert len(done.errors) == 1
        assert said in done.errors[0]
    assert served(person) == []


def test_root_exposes_too(person: Imgkit, split: tuple[Path, Path]) -> None:
    disk, first = split
    place = person.folder / "seen"
    person.sudo("expose", first, place).ended(0)
    assert subprocess.run(["cmp", disk, place / "disk.raw"], check=False).returncode == 0
    person.sudo("unexpose", place).ended(0)
    assert not place.exists()
    assert served(person) == []
