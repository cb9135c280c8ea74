"""What happens to an image while it is attached or read is told: at detach, by status, in the record, and by the exit code."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = pytest.mark.live

MIB = 1 << 20
LOOP_CHANGE_FD = 0x4C06
OTHER_BOOT = "11111111-2222-4333-8444-555555555555"
BOOTED_BEFORE = (
    "import sys, imgkit.custody.clock as clock; from imgkit.cli import main\n"
    f"clock.boot_id = lambda: {OTHER_BOOT!r}\n"
    "sys.exit(main())\n"
)


@pytest.fixture
def case(bench: Bench) -> Path:
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    return case


def events(bench: Bench, case: Path, kind: str) -> list[dict[str, Any]]:
    return bench.of_type(case, kind, "event")


def attach(bench: Bench, image: Path) -> str:
    return bench("attach", image).ended(0).out.strip()


def detached(bench: Bench, code: int, *words: str | Path) -> dict[str, Any]:
    """The device is down whatever the code says."""
    document: dict[str, list[dict[str, Any]]] = bench("detach", *words, "--json").ended(code).json
    assert bench.devices() == {}
    (entry,) = document["attachments"]
    assert entry["detached"]
    return entry


def test_a_writer_is_reported(bench: Bench, case: Path) -> None:
    """Where no lease can be had (not the owner, no CAP_LEASE) nothing keeps a writer off; it is found afterwards."""
    image = bench.image()
    os.chown(image, 12345, 12345)
    words = [os.fsdecode(word) for word in bench.arguments(("attach", image))]
    command = ["setpriv", "--bounding-set=-lease", "--inh-caps=-lease", *words]
    done = subprocess.run(
        command, env=bench.env, cwd=bench.folder, capture_output=True, text=True, check=True
    )
    assert "not guarded" in done.stderr
    device = done.stdout.strip()
    assert bench.status()[0]["guard"] == "none"
    with image.open("r+b") as file:
        file.write(b"tampered")
    ended = bench("detach", device).ended(1)
    assert f"{device}: EVIDENCE CHANGED: {image}: mtime" in ended.err
    assert "not guarded" in ended.err
    (changed,) = events(bench, case, "evidence.changed")
    assert (changed["exhibit"], changed["data"]["device"]) == ("EX1", device)
    (outcome,) = bench.of_type(case, "evidence.detached")
    assert (outcome["result"], outcome["data"]["details"]) == ("ok", changed["data"]["details"])
    assert bench.devices() == {}
    bench.verified(case)


def test_a_writer_waits(bench: Bench, case: Path) -> None:
    """The lease keeps it out for a while; that it came is seen, and nothing was changed."""
    image = bench.image()
    attach(bench, image)
    with pytest.raises(BlockingIOError):
        os.open(image, os.O_WRONLY | os.O_NONBLOCK)
    assert bench.status()[0]["guard"] == "none"
    ended = bench("detach", image).ended(0)
    assert "not guarded against writers" in ended.err
    (outcome,) = bench.of_type(case, "evidence.detached")
    assert outcome["data"]["guard"] == "none"


def test_root_cannot_write_through_the_device(bench: Bench, case: Path) -> None:
    image = bench.image()
    before = filesystems.facts(image)
    device = attach(bench, image)
    with open(device, "r+b", buffering=0) as file, pytest.raises(PermissionError):
        file.write(b"\0" * 512)
    with open(device, "r+b", buffering=0) as file, pytest.raises(PermissionError):
        fcntl.ioctl(file, 0x1277, (0).to_bytes(8, "little") + (512).to_bytes(8, "little"))  # BLKDISCARD
    subprocess.run(["blockdev", "--setrw", device], check=True)  # says yes, and changes nothing
    assert bench.status()[0]["read_only"]
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["mkfs.ext2", "-F", "-q", device], check=True, capture_output=True)
    assert detached(bench, 0, device)["proof"]["sectors_written"] == 0
    assert filesystems.facts(image) == before


def changing(image: Path) -> dict[str, Callable[[], object]]:
    other = image.with_name("other.dd")
    other.write_bytes(image.read_bytes())
    return {
        "mtime": lambda: os.utime(image, (1, 1)),
        "replaced": lambda: other.replace(image),
        "deleted": image.unlink,
    }


@pytest.mark.parametrize("how", ["mtime", "replaced", "deleted"])
@pytest.mark.parametrize("by", ["image", "device"])
def test_changed(bench: Bench, case: Path, how: str, by: str) -> None:
    """Also by its name, which leads to another file by then, or to none."""
    image = bench.image()
    device = attach(bench, image)
    changing(image)[how]()
    entry = detached(bench, 1, image if by == "image" else device)
    assert entry["changed"]
    assert not entry["touched"]
    assert len(events(bench, case, "evidence.changed")) == 1
    assert events(bench, case, "evidence.touched") == []
    assert "OPEN_ATTACHMENT" not in bench.verified(case)


@pytest.mark.parametrize("how", ["chmod", "link", "renamed"])
def test_touched(bench: Bench, case: Path, how: str) -> None:
    """The change time alone: a warning, and no more."""
    image = bench.image()
    device = attach(bench, image)
    moved = image.with_name("moved.dd")
    acts: dict[str, Callable[[], object]] = {
        "chmod": lambda: image.chmod(0o600),
        "link": lambda: os.link(image, moved),
        "renamed": lambda: image.rename(moved),
    }
    acts[how]()
    done = bench("detach", device).ended(0)
    assert f"{device}: touched: " in done.err
    assert "verify the image" in done.err
    assert (str(moved) in done.err) == (how == "renamed")
    (touched,) = events(bench, case, "evidence.touched")
    assert "only ctime differs" in touched["data"]["details"][0]
    assert events(bench, case, "evidence.changed") == []


def test_a_file_swapped_below_a_device(bench: Bench, case: Path) -> None:
    """LOOP_CHANGE_FD needs no capability; status says it, another run does not call it gone, detach exits 1."""
    image, other = bench.image(), bench.image("other.dd")
    device = attach(bench, image)
    with open(device, "rb") as loop, other.open("rb") as file:
        fcntl.ioctl(loop, LOOP_CHANGE_FD, file.fileno())
    bench("partitions", image).ended(0)
    assert events(bench, case, "evidence.gone") == []
    (shown,) = bench.status()
    assert any(text.startswith("NOT WHAT WAS ATTACHED: inode was") for text in shown["notices"])
    entry = detached(bench, 1, device)
    assert any("inode" in text for text in entry["changed"])
    assert "OPEN_ATTACHMENT" not in bench.verified(case)


@pytest.mark.parametrize("verb", ["hash", "verify"])
def test_changed_while_it_is_read(bench: Bench, case: Path, verb: str) -> None:
    image = bench.folder / "disk.dd"
    with image.open("xb") as file:
        file.truncate(768 * MIB)
    kind = "evidence.hashed" if verb == "hash" else "evidence.verified"
    with bench.popen(verb, image, "--json") as process:
        log = bench.log_of(case)
        while f'"type":"{kind}"' not in log.read_text():
            time.sleep(0.001)
        with image.open("r+b") as file:
            file.write(b"tampered")
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1, out
    (outcome,) = bench.of_type(case, kind)
    assert outcome["data"]["changed"] == [str(image)]
    (changed,) = events(bench, case, "evidence.changed")
    assert changed["data"]["during"] == outcome["seq"] - 1


def test_after_a_reboot(bench: Bench, case: Path) -> None:
    """Another boot id: the attachment is gone, whatever has its number now; an act without outcome is explained."""
    image = bench.image()
    words = [sys.executable, "-c", BOOTED_BEFORE, "attach", str(image)]
    device = subprocess.run(words, env=bench.env, check=True, capture_output=True, text=True).stdout.strip()
    assert bench.of_type(case, "evidence.attached")[0]["time"]["boot_id"] == OTHER_BOOT
    subprocess.run(["losetup", "-d", device], check=True)
    wait_until(bench.is_clean)
    assert "OPEN_ATTACHMENT" in bench.verified(case)
    bench("partitions", image).ended(0)
    (gone,) = events(bench, case, "evidence.gone")
    assert (gone["data"]["device"], gone["data"]["why"]) == (device, "the host was started anew")
    assert gone["data"]["attached_line"] == bench.of_type(case, "evidence.attached", "intent")[0]["seq"]
    assert "OPEN_ATTACHMENT" not in bench.verified(case)
    bench("partitions", image).ended(0)
    assert len(events(bench, case, "evidence.gone")) == 1


def test_taken_down_by_others(bench: Bench, case: Path) -> None:
    """By losetup -d and umount: the next runs say so, however many there are at once, and once."""
    part = bench.folder / "part"
    filesystems.make_tree(bench.folder / "tree")
    filesystems.make_clean(part, "squashfs", bench.folder / "tree")
    disk = bench.folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [part, part])
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    place = bench("mount", disk, "-p", "2").ended(0).out.strip()
    subprocess.run(["losetup", "-d", device], check=True)
    subprocess.run(["umount", place], check=True)
    os.rmdir(place)
    wait_until(bench.is_clean)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: bench("partitions", disk), range(6)))
    assert [item.code for item in done] == [0] * 6
    gone = events(bench, case, "evidence.gone")
    lines = [record["seq"] for record in bench.of_type(case, "evidence.attached", "intent")]
    assert sorted(record["data"]["attached_line"] for record in gone) == lines
    assert {record["data"]["why"] for record in gone} == {"the device is not bound to this image any more"}
    assert bench("detach", "--all").ended(0).out == ""
    assert "OPEN_ATTACHMENT" not in bench.verified(case)


def test_a_look_beside_a_detach(bench: Bench, case: Path) -> None:
    """Runs that open the case while others take down: nothing is called gone that imgkit took down."""
    image = bench.image(content=bytes(MIB))
    words = [word for n in range(8) for word in ("--offset", str(n * 512), "--length", "512")]
    for start in range(0, len(words), 4):
        bench("attach", image, *words[start : start + 4]).ended(0)
    devices = sorted(bench.devices())
    assert len(devices) == 8
    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(bench, "partitions", image) for _ in range(8)]
        downs = [pool.submit(bench, "detach", device) for device in devices]
    assert [item.result().code for item in (*looks, *downs)] == [0] * 16
    assert events(bench, case, "evidence.gone") == []
    assert len(bench.of_type(case, "evidence.detached")) == 8
    assert "OPEN_ATTACHMENT" not in bench.verified(case)
