"""Containers attached and mounted, each served by a process: the same bytes as raw, and EIO where it or the image fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import containers, filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = pytest.mark.live

MIB = 1 << 20
ROUNDS = 20


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    return containers.make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def case(bench: Bench) -> Path:
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    return case


def make(bench: Bench, media: tuple[Path, dict[str, bytes]], kind: str) -> Path:
    folder = bench.folder / "evidence"
    folder.mkdir()
    return containers.MAKERS[kind](media[0], folder)


@pytest.fixture
def split(bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]]) -> Iterator[Path]:
    """A split set; not one of its files is changed by whatever is done."""
    image = make(bench, media, "split-raw")
    before = containers.files_of(image)
    yield image
    assert containers.files_of(image) == before


def server_of(bench: Bench) -> int:
    (pid,) = bench.exposures()
    return pid


@pytest.mark.parametrize("kind", containers.MAKERS)
def test_the_same_bytes_as_raw(
    bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]], kind: str
) -> None:
    disk, content = media
    image = make(bench, media, kind)
    before = containers.files_of(image)
    (attached,) = bench("attach", image, "--json").ended(0).json["attachments"]
    device = attached["device"]
    assert subprocess.run(["cmp", disk, device], check=False).returncode == 0
    (shown,) = bench.status()
    facts = shown["image"]
    assert (facts["path"], facts["format"], facts["size"]) == (str(image), kind, disk.stat().st_size)
    assert facts == attached["image"]
    assert shown["exposed"] == {"pid": server_of(bench), "alive": True}
    assert f"{image} ({kind}, pid {server_of(bench)})" in bench("status").ended(0).out
    assert (shown["read_only"], shown["guard"]) == (True, "lease")
    assert shown["proof"]["lo_flags"] & 16
    bench("detach", image).ended(0)
    wait_until(bench.is_clean)
    places = bench("mount", image).ended(0).lines
    assert len(places) == 2
    for place in places:
        found = filesystems.files_below(place)
        assert {name: found[name] for name in content} == content
    bench("unmount", "--all").ended(0)
    wait_until(bench.is_clean)
    assert containers.files_of(image) == before
    assert {"OPEN_ATTACHMENT", "OPEN_INTENT"} & set(bench.verified(case)) == set()


def test_one_process_for_all_devices_of_a_call(bench: Bench, split: Path) -> None:
    devices = bench("attach", split, "-p", "1", "-p", "2").ended(0).lines
    pid = server_of(bench)
    assert [item["exposed"]["pid"] for item in bench.status()] == [pid, pid]
    bench("detach", devices[0]).ended(0)
    assert server_of(bench) == pid
    bench("detach", devices[1]).ended(0)
    assert bench.exposures() == []


def test_any_of_its_files_means_the_image(bench: Bench, case: Path, split: Path) -> None:
    """Named by the second file, by a link, and opened by the second."""
    second, link = split.with_name("disk.002"), bench.folder / "link"
    os.symlink(second, link)
    for opened, named in ((split, second), (second, split), (split, link)):
        (shown,) = bench("attach", opened, "--json").ended(0).json["attachments"]
        (item,) = bench.status()
        assert item["image"] == shown["image"]
        bench("detach", named).ended(0)
        wait_until(bench.is_clean)


def test_what_is_recorded(bench: Bench, case: Path, split: Path) -> None:
    bench("attach", split).ended(0)
    pid = server_of(bench)
    bench("detach", "--all").ended(0)
    (attached,) = bench.of_type(case, "evidence.attached")
    data: dict[str, Any] = attached["data"]
    assert data["format"] == "split-raw"
    assert (data["backing"]["kind"], data["backing"]["path"]) == ("exposed", str(split))
    assert data["exposed"] == {"name": f"imgkit-{attached['log']}-{attached['seq'] - 1}", "pid": pid}
    (detached,) = bench.of_type(case, "evidence.detached")
    after = detached["data"]["files_after"]
    assert [item["path"] for item in after] == [item["path"] for item in data["files"]]
    assert [(item["ino"], item["mtime"]) for item in after] == [
        (item["ino"], item["mtime"]) for item in data["files"]
    ]
    assert detached["data"]["exposed"] == {"pid": pid, "alive": True}


# -- the process that serves dies or hangs ---------------------------------------------------------


def check_taken_down(bench: Bench, case: Path, *words: str) -> None:
    """The evidence is as it was, and it is said that its server was not there."""
    done = bench(*words).ended(0)
    assert "did not answer any more" in done.err
    wait_until(bench.is_clean)
    assert bench.of_type(case, "evidence.changed", "event") == []
    (detached,) = bench.of_type(case, "evidence.detached")
    assert detached["data"]["exposed"]["alive"] is False
    assert detached["data"]["proof"]["sectors_written"] == 0
    assert {"OPEN_ATTACHMENT", "OPEN_INTENT"} & set(bench.verified(case)) == set()


@pytest.mark.parametrize("verb", ["attach", "mount"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_process_is_killed_or_stopped(
    bench: Bench, case: Path, split: Path, verb: str, how: signal.Signals
) -> None:
    """Reads give EIO or wait, never other bytes; status answers, and everything comes down."""
    words = (verb, split) if verb == "attach" else (verb, split, "-p", "1")
    (what,) = bench(*words).ended(0).lines
    (device,) = bench.devices()
    pid = server_of(bench)
    os.kill(pid, how)
    if how == signal.SIGKILL:
        wait_until(lambda: containers.state_of(pid) == "")
        with pytest.raises(OSError, match="Input/output error"):
            read_all(device)
    began = time.monotonic()
    (shown,) = bench.status()
    assert time.monotonic() - began < 20  # the process that is stopped is not waited for
    assert shown["exposed"] == {"pid": None if how == signal.SIGKILL else pid, "alive": False}
    assert (shown["image"]["path"], shown["image"]["format"]) == (str(split), "split-raw")
    assert shown["mountpoint"] == (what if verb == "mount" else None)
    assert "attach the image again" in " ".join(shown["notices"])
    said = "split-raw, gone" if how == signal.SIGKILL else f"split-raw, pid {pid}, silent"
    assert f"{split} ({said})" in bench("status").ended(0).out
    check_taken_down(bench, case, "detach" if verb == "attach" else "unmount", what)


def read_all(device: str) -> bytes:
    """Past the page cache."""
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    with open(device, "rb", buffering=0) as file:
        return file.read()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_all_is_taken_down_while_somebody_reads(
    bench: Bench, case: Path, split: Path, how: signal.Signals
) -> None:
    """A reader that waits for a stopped process gets EIO, and lets go."""
    bench("mount", split).ended(0)
    for device in bench.devices():
        subprocess.run(["blockdev", "--flushbufs", device], check=True)
    os.kill(server_of(bench), how)
    with subprocess.Popen(["dd", f"if={device}", "of=/dev/null"], stderr=subprocess.PIPE) as reader:
        time.sleep(0.1)
        bench("unmount", "--all").ended(0)
        _, err = reader.communicate(timeout=10)
    assert b"Input/output error" in err
    wait_until(bench.is_clean)
    assert {"OPEN_ATTACHMENT", "OPEN_INTENT"} & set(bench.verified(case)) == set()


@pytest.mark.parametrize("verb", ["attach", "mount", "detach", "unmount"])
def test_the_command_is_killed_at_any_moment(bench: Bench, case: Path, split: Path, verb: str) -> None:
    """Nothing is left that status does not show and --all does not take down."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (shown where a test fails)
    moments = random.Random(seed)
    opposite = {"detach": "attach", "unmount": "mount"}
    for _ in range(ROUNDS // 4):
        words: tuple[str | Path, ...] = (verb, split)
        if verb in opposite:
            bench(opposite[verb], split).ended(0)
            words = (verb, "--all")
        with bench.popen(*words) as process:
            time.sleep(moments.uniform(0.1, 0.7))
            process.kill()
            process.communicate()
        wait_until(lambda: {item["device"] for item in bench.status()} == set(bench.devices()))
        bench("unmount", "--all").ended(0)
        bench("detach", "--all").ended(0)
        wait_until(bench.is_clean)
    bench("partitions", split).ended(0)
    bench("unmount", "--all").ended(0)
    assert {"OPEN_ATTACHMENT", "OPEN_INTENT"} & set(bench.verified(case)) == set()


def test_a_process_that_serves_no_device_is_ended(bench: Bench, case: Path, split: Path) -> None:
    """Stopped, it did not notice that its device went: status shows it, and detach --all takes it away."""
    device = bench("attach", split).ended(0).out.strip()
    pid = server_of(bench)
    os.kill(pid, signal.SIGSTOP)
    subprocess.run(["losetup", "-d", device], check=True)
    wait_until(lambda: not bench.devices())
    assert containers.state_of(pid) == "T"
    shown = bench("status", "--json").ended(0).json["exposures"]
    (item,) = [item for item in shown if item["exposed"]["pid"] == pid]
    assert (item["directory"], item["image"]["path"], item["exhibit"]) == (None, str(split), "EX1")
    assert "imgkit detach --all ends it" in bench("status").ended(0).err
    assert f"ended pid {pid}" in bench("detach", "--all").ended(0).err
    assert bench.exposures() == []
    bench("partitions", split).ended(0)
    assert len(bench.of_type(case, "evidence.gone", "event")) == 1


# -- the image ------------------------------------------------------------------------------------


def test_a_damaged_chunk_gives_eio_exactly_there(
    bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]]
) -> None:
    image = make(bench, media, "ewf")
    target = min(image.parent.glob("disk.E*"))
    content = bytearray(target.read_bytes())
    at = content.index(b"\x78", 4096)  # a compressed chunk begins
    content[at + 40] ^= 0xFF
    target.write_bytes(content)
    errors = bench("verify", image, "--json").json["images"][0]["read_errors"]
    bad = [(item["offset"], item["length"]) for item in errors]
    assert bad
    device = bench("attach", image).ended(0).out.strip()
    whole = media[0].read_bytes()
    seen, failed = containers.read_by_step(device, len(whole))
    assert failed == bad
    for start, length in bad:
        assert not any(seen[start : start + length])
        seen = seen[:start] + whole[start : start + length] + seen[start + length :]
    assert seen == whole
    bench("detach", "--all").ended(0)


@pytest.mark.parametrize("how", ["changed", "touched", "gone"])
def test_a_segment_is_not_what_it_was(
    bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]], how: str
) -> None:
    image = make(bench, media, "split-raw")
    segment = image.with_name("disk.002")
    bench("attach", image).ended(0)
    if how == "changed":
        os.utime(segment, (1, 1))
    elif how == "touched":
        segment.chmod(0o600)
    else:
        segment.unlink()
    done = bench("detach", image).ended(0 if how == "touched" else 1)
    assert str(segment) in done.err
    kind = "touched" if how == "touched" else "changed"
    assert len(bench.of_type(case, f"evidence.{kind}", "event")) == 1
    wait_until(bench.is_clean)


def test_a_writer_of_any_segment_is_refused(
    bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]]
) -> None:
    image = make(bench, media, "split-raw")
    with image.with_name("disk.002").open("r+b"):
        done = bench("attach", image).ended(3)
    assert "disk.002" in done.err
    bench("attach", image).ended(0)
    with pytest.raises(BlockingIOError):
        os.open(image.with_name("disk.002"), os.O_WRONLY | os.O_NONBLOCK)
    assert bench.status()[0]["guard"] == "none"
    bench("detach", image).ended(0)
    wait_until(bench.is_clean)


def test_a_list_of_files_that_is_withheld(
    bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]]
) -> None:
    """Or that was altered: the device comes down, and it is said that nothing was compared."""
    folder = bench.folder / "evidence"
    folder.mkdir()
    image = containers.split_into(media[0], folder, -(-media[0].stat().st_size // 120 // 512) * 512)
    bench("attach", image).ended(0)
    (attached,) = bench.of_type(case, "evidence.attached")
    enclosure = case / "enclosures" / attached["data"]["files"]["enclosure"]
    content = enclosure.read_bytes()
    enclosure.chmod(0o600)
    enclosure.write_bytes(content.replace(b"disk.003", b"disk.004"))
    (shown,) = bench.status()
    assert shown["exposed"]["alive"]
    done = bench("detach", "--all").ended(0)
    assert "was not compared" in done.err
    wait_until(bench.is_clean)
    enclosure.write_bytes(content)
    bench.verified(case)


def test_seven_hundred_segments(bench: Bench, case: Path, media: tuple[Path, dict[str, bytes]]) -> None:
    folder = bench.folder / "evidence"
    folder.mkdir()
    size = media[0].stat().st_size
    image = containers.split_into(media[0], folder, -(-size // 700 // 512) * 512)
    count = len(list(folder.iterdir()))
    assert count > 600
    device = bench("attach", image).ended(0).out.strip()
    assert subprocess.run(["cmp", media[0], device], check=False).returncode == 0
    (shown,) = bench.status()
    assert (shown["image"]["segment_count"], shown["guard"]) == (count, "lease")
    (attached,) = bench.of_type(case, "evidence.attached")
    assert attached["data"]["files"]["count"] == count
    os.utime(folder / "disk.333", (1, 1))
    done = bench("detach", image).ended(1)
    assert "disk.333: mtime" in done.err
    wait_until(bench.is_clean)
    bench.verified(case)
