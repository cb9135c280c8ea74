"""SIGINT and SIGTERM in the middle of things: what was begun is undone and recorded, and one document says so."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = pytest.mark.live

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
MOMENTS = 12  # of attach and of mount, for each signal
GIB = 1 << 30


@pytest.fixture
def case(bench: Bench) -> Iterator[Path]:
    """A case whose log comes out with every act ended and nothing attached."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    yield case
    wait_until(bench.is_clean)
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT", "LATE_OUTCOME"} & set(bench.verified(case))


def start(bench: Bench, *words: str) -> subprocess.Popen[bytes]:
    return bench.popen(*words, "--json")


def end(process: subprocess.Popen[bytes]) -> tuple[int, Any, str]:
    """Exit code, the one document, and what was said beside it."""
    out, err = process.communicate(timeout=30)
    assert b"Traceback" not in err
    return process.returncode, json.loads(out), os.fsdecode(err)


def wait_for_record(bench: Bench, case: Path, kind: str, process: subprocess.Popen[bytes]) -> None:
    log = bench.log_of(case)
    while f'"type":"{kind}"' not in log.read_text() and process.poll() is None:
        time.sleep(0.0005)


def wait_for_growth(bench: Bench, case: Path, process: subprocess.Popen[bytes]) -> None:
    log = bench.log_of(case)
    size = log.stat().st_size
    while log.stat().st_size == size and process.poll() is None:
        time.sleep(0.0005)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("verb", ["hash", "verify"])
def test_reading(bench: Bench, case: Path, verb: str, number: signal.Signals) -> None:
    """A hole of a tebibyte takes minutes to hash; the signal ends it at once."""
    image = bench.folder / "big.dd"
    with image.open("xb") as file:
        file.truncate(1024 * GIB)
    kind = "evidence.hashed" if verb == "hash" else "evidence.verified"
    with start(bench, verb, str(image)) as process:
        wait_for_record(bench, case, kind, process)
        time.sleep(0.2)
        process.send_signal(number)
        code, document, said = end(process)  # within its half minute
    assert code == CODES[number]
    assert document["schema"] == "imgkit.error.v1"
    assert document["error"]["kind"] == ("interrupted" if number == signal.SIGINT else "terminated")
    assert number.name in said
    (outcome,) = bench.of_type(case, kind)
    assert outcome["result"] == "interrupted"
    assert "digests" not in outcome["data"]


@pytest.fixture(scope="module")
def disk_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    filesystems.make_tree(folder / "tree")
    filesystems.make_clean(folder / "part", "squashfs", folder / "tree")
    filesystems.make_disk(folder / "disk.dd", "gpt", [folder / "part"] * 3)
    return folder / "disk.dd"


@pytest.mark.parametrize("number", CODES)
def test_starting(bench: Bench, case: Path, disk_made: Path, number: signal.Signals) -> None:
    """Before the first record: nothing is begun. What Python itself says until it has loaded imgkit is not ours."""
    lines = len(bench.records(bench.log_of(case)))
    for delay in (0.02, 0.05, 0.08, 0.11):
        with start(bench, "attach", str(disk_made)) as process:
            time.sleep(delay)
            process.send_signal(number)
            process.communicate(timeout=30)
        if len(bench.records(bench.log_of(case))) > lines:
            break  # this host is faster than that
        assert process.returncode != 0
        assert bench.devices() == {}
    bench("detach", "--all").ended(0)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("verb", ["attach", "mount"])
def test_making(bench: Bench, case: Path, disk_made: Path, verb: str, number: signal.Signals) -> None:
    """At any moment: done as if nothing had come, or undone, recorded, and told by one document and the exit code."""
    disk = bench.folder / "disk.dd"
    disk.write_bytes(disk_made.read_bytes())
    words = (verb, str(disk), *(("-p", "1", "-p", "3") if verb == "attach" else ()))
    whole = 0.0
    for _ in range(2):  # the first also makes the exhibit; the second is like those that follow
        with start(bench, *words) as process:
            wait_for_growth(bench, case, process)
            began = time.monotonic()
            assert end(process)[0] == 0
            whole = time.monotonic() - began
        bench("unmount" if verb == "mount" else "detach", "--all").ended(0)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (shown where the test fails)
    moments = random.Random(seed)
    codes: list[int] = []
    for _ in range(MOMENTS):
        with start(bench, *words) as process:
            wait_for_growth(bench, case, process)
            sooner = 0.7 ** codes.count(0)  # where it ended first, the host is less busy than it was
            time.sleep(moments.uniform(0, whole) * sooner)
            process.send_signal(number)
            code, document, _ = end(process)
        codes.append(code)
        if code == 0:
            assert document["schema"] == f"imgkit.{verb}.v1"
            assert set(bench.devices()) == {item["device"] for item in document["attachments"]}
            bench("unmount" if verb == "mount" else "detach", "--all").ended(0)
            continue
        assert code == CODES[number], document
        assert document["schema"] == "imgkit.error.v1"
        wait_until(bench.is_clean)
        assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))
    assert CODES[number] in codes


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("verb", ["detach", "unmount"])
def test_taking_down(bench: Bench, case: Path, disk_made: Path, verb: str, number: signal.Signals) -> None:
    """Each device is down and told of, or as it was: nothing is between."""
    disk = bench.folder / "disk.dd"
    disk.write_bytes(disk_made.read_bytes())
    words = ("-p", "1", "-p", "2", "-p", "3")
    for delay in (0.0, 0.02, 0.04):
        made = bench("attach" if verb == "detach" else "mount", disk, *words).ended(0).lines
        with start(bench, verb, "--all") as process:
            wait_for_growth(bench, case, process)
            time.sleep(delay)
            process.send_signal(number)
            code, document, _ = end(process)
        assert code in {0, CODES[number]}
        assert document["schema"] == ("imgkit.error.v1" if code else f"imgkit.{verb}.v1")
        left = bench.status()
        assert {item["device"] for item in left} == bench.devices().keys()
        assert all(item["mountpoint"] in made for item in left if verb == "unmount")
        gone = [record for record in bench.of_type(case, "evidence.detached") if record["result"] == "ok"]
        assert len(gone) % len(made) == (len(made) - len(left)) % len(made)
        assert "OPEN_INTENT" not in bench.verified(case)
        bench(verb, "--all").ended(0)


@pytest.mark.parametrize("verb", ["attach", "mount"])
def test_nobody_reads_the_result(bench: Bench, case: Path, disk_made: Path, verb: str) -> None:
    """A reader that went away: nobody knows the device, so it does not stay."""
    disk = bench.folder / "disk.dd"
    disk.write_bytes(disk_made.read_bytes())
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = bench(verb, disk, "-p", "1", stdout=writing).ended(141)
    finally:
        os.close(writing)
    assert "was taken down again" in done.err
    assert bench.is_clean()
    assert [record["result"] for record in bench.of_type(case, "evidence.detached")] == ["ok"]
