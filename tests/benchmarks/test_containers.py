"""Containers against the tools that read them: ewfverify, ewfmount; and what must not grow with a set."""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.measuring import IMGKIT, RUNS, Sample, Table, in_turn, median, ms, once, ratio
from tests.benchmarks.test_attach import read_through
from tests.benchmarks.test_start import sparse_image
from tests.containers.ewf_sparse import write_sparse_ewf
from tests.containers.ewf_writer import Recipe, write_ewf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.bench
MIB, GIB, TIB, TB = 1 << 20, 1 << 30, 1 << 40, 10**12
COLUMNS = ("command", "time", "peak memory", "imgkit / it")


@pytest.fixture(scope="module")
def compressible(work: Path) -> Path:
    """1 GiB that deflate halves: words in an order that is nowhere the same, and noise."""
    rng = random.Random(1)
    words = [
        bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randrange(2, 12))) + b" " for _ in range(4000)
    ]
    text = b"".join(rng.choices(words, k=3_000_000))[: 16 * MIB]
    path = work / "compressible.dd"
    with path.open("wb") as file:
        for _ in range(GIB // MIB):
            at = rng.randrange(len(text) - 700 * 1024)
            file.write(text[at : at + 700 * 1024] + rng.randbytes(324 * 1024))
    return path


@pytest.fixture(scope="module")
def e01(work: Path, compressible: Path) -> Path:
    """Fast compression, MD5 and SHA-1 stored, one segment."""
    argv = [
        "ewfacquire",
        "-u",
        "-q",
        "-c",
        "fast",
        "-S",
        "1900MiB",
        "-d",
        "sha1",
        "-t",
        str(work / "bench"),
        str(compressible),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return work / "bench.E01"


def add(table: Table, found: dict[str, Sample], own: Sequence[str]) -> None:
    """Every row with the ratio of imgkit's (the one of its block) to it."""
    first = found[own[0]]
    for name, sample in found.items():
        first = sample if name in own else first
        memory = f"{sample.peak_mib:.0f} MiB" if sample.peak_mib else ""
        table.add(name, ms(sample), memory, ratio(first, sample))


def test_e01_against_ewfverify(e01: Path, variables: dict[str, str], tables: list[Table]) -> None:
    image = str(e01)
    once(
        (IMGKIT, "hash", "-a", "sha256", image), variables
    )  # then the log has it, and verify needs what ewfverify needs
    commands = {
        "imgkit verify (MD5, SHA-1, and SHA-256 of its own log)": (IMGKIT, "verify", image),
        "imgkit hash -a md5 -a sha1": (IMGKIT, "hash", "-a", "md5", "-a", "sha1", image),
        "imgkit hash -a blake3": (IMGKIT, "hash", "-a", "blake3", image),
        "ewfverify -d sha1": ("ewfverify", "-q", "-d", "sha1", image),
    }
    found = in_turn(commands, variables)
    table = Table(
        "E01 of 1 GiB, compressible, fast compression", ("command", "time", "peak memory", "it / ewfverify")
    )
    for name, sample in found.items():
        table.add(name, ms(sample), f"{sample.peak_mib:.0f} MiB", ratio(sample, found["ewfverify -d sha1"]))
    tables.append(table)
    assert len(table.rows) == len(commands)


def test_what_a_set_costs_to_look_at(work: Path, variables: dict[str, str], tables: list[Table]) -> None:
    folder = work / "many"
    folder.mkdir()
    many = write_ewf(folder, random.Random(1).randbytes(500 * 32768), Recipe(chunks_per_segment=1)).paths
    assert len(many) == 500
    (work / "huge").mkdir()
    huge = write_sparse_ewf(work / "huge", 20 * TB, 2000)
    found = in_turn(
        {
            "info, E01 of 500 segments": (IMGKIT, "info", str(many[0])),
            "info, E01 of 500 segments, through the last": (IMGKIT, "info", str(many[-1])),
            f"info, E01 of 20 TB in {len(huge)} segments": (IMGKIT, "info", str(huge[0])),
        },
        variables,
        allowed=(0, 3),
    )
    table = Table("What a set costs to look at", ("command", "time", "peak memory"))
    for name, sample in found.items():
        table.add(name, ms(sample), f"{sample.peak_mib:.0f} MiB")
    tables.append(table)
    assert len(table.rows) == len(found)


def converted(source: Path, kind: str) -> Path:
    path = source.with_suffix(f".{kind}")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, source, path], check=True)
    return path


def test_sparse_containers(work: Path, variables: dict[str, str], tables: list[Table]) -> None:
    table = Table(
        "Sparse containers", ("command", "64 MiB", "2 TiB with 1 GiB of data", "ratio", "peak memory")
    )
    small, large = sparse_image(work / "little.dd", 64 * MIB, 0), sparse_image(work / "much.dd", 2 * TIB, GIB)
    for kind in ("qcow2", "vhdx", "vmdk"):
        paths = [converted(small, kind), converted(large, kind)]
        for command in ("info", "partitions"):
            found = in_turn({str(path): (IMGKIT, command, str(path)) for path in paths}, variables)
            one, other = found.values()
            row = f"imgkit {command} {kind}"
            table.add(row, ms(one), ms(other), ratio(other, one), f"{other.peak_mib:.0f} MiB")
        paths[1].unlink()
    large.unlink()
    tables.append(table)
    assert len(table.rows) == 6


def test_memory_of_containers(
    compressible: Path, e01: Path, variables: dict[str, str], tables: list[Table]
) -> None:
    table = Table("Peak memory, containers of 1 GiB", ("image", "info", "partitions", "hash", "verify"))
    images = [e01, *(converted(compressible, kind) for kind in ("qcow2", "vmdk", "vhdx"))]
    for path in images:
        found = in_turn(
            {command: (IMGKIT, command, str(path)) for command in ("info", "partitions", "hash", "verify")},
            variables,
            runs=1,
        )
        table.add(path.suffix[1:], *(f"{sample.peak_mib:.0f} MiB" for sample in found.values()))
    tables.append(table)
    assert len(table.rows) == len(images)


@contextmanager
def ewfmounted(image: Path, folder: Path) -> Iterator[str]:
    """A loop device over the file that ewfmount shows."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["ewfmount", image, folder], check=True, capture_output=True)
    try:
        argv = ["losetup", "--read-only", "--find", "--show", str(folder / "ewf1")]
        device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def attached(image: Path, variables: dict[str, str]) -> Iterator[str]:
    argv = [IMGKIT, "attach", str(image)]
    device = subprocess.run(argv, capture_output=True, text=True, check=True, env=variables).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run([IMGKIT, "detach", device], check=True, capture_output=True, env=variables)


def cold(device: str, length: int) -> Sample:
    """One read of everything, with nothing of it in any cache."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    import time

    start = time.perf_counter()
    read_through(device, length)
    return Sample(time.perf_counter() - start)


@pytest.mark.live
def test_reading_through_attach(
    live: None, e01: Path, work: Path, variables: dict[str, str], tables: list[Table]
) -> None:
    runs = max(RUNS, 7)
    samples: dict[str, list[Sample]] = {"ewfmount and losetup": [], "imgkit attach": []}
    with ewfmounted(e01, work / "ewf") as theirs, attached(e01, variables) as ours:
        for _ in range(runs):
            samples["ewfmount and losetup"].append(cold(theirs, GIB))
            samples["imgkit attach"].append(cold(ours, GIB))
    found = {name: median(several) for name, several in samples.items()}
    table = Table(
        f"Reading an E01 of 1 GiB through its device, caches dropped, {runs} runs",
        ("device", "time", "rate", "rate / ewfmount's"),
    )
    for name, sample in found.items():
        rate = f"{GIB / MIB / sample.seconds:.0f} MiB/s"
        table.add(name, ms(sample), rate, ratio(found["ewfmount and losetup"], sample))
    tables.append(table)
    assert len(table.rows) == len(found)
