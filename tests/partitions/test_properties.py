"""Random tables: valid ones as sfdisk reads them, hostile ones without a crash, a hang or a hole in the tiling."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgkit.containers.evidence_file import open_evidence
from imgkit.containers.raw import RawImage
from imgkit.errors import PartitionError
from imgkit.image import Extent
from imgkit.partitions import read_partition_table
from tests.conftest import need
from tests.partitions.disks import (
    LINUX,
    MIB,
    GptDisk,
    MemoryImage,
    boot_record,
    mbr_row,
    simple_gpt,
    write_image,
)
from tests.partitions.test_corpus import tiles

MOST_SECONDS = 5.0  # of the processor for one table, whatever it says
QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
SFDISK = settings(QUICK, max_examples=30)


def sfdisk(path: Path) -> list[tuple[int, int, int]]:
    """(number, offset, length) of everything but containers, as sfdisk reads a copy of its own."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    ran = subprocess.run(["sfdisk", "--json", copy], capture_output=True, text=True, check=False)
    if ran.returncode:
        return []
    table: dict[str, Any] = json.loads(ran.stdout)["partitiontable"]
    unit = table.get("sectorsize", 512)
    return [
        (int(row["node"].removeprefix(str(copy))), row["start"] * unit, row["size"] * unit)
        for row in table.get("partitions", [])
        if row["type"] not in {"5", "f", "85"}
    ]


def ours(path: Path) -> list[tuple[int, int, int]]:
    with RawImage(open_evidence(os.fspath(path))) as image:
        table = read_partition_table(image)
        assert tiles(table, image.size)
    return [(row.number, row.extent.offset, row.extent.length) for row in table.partitions]


@st.composite
def cuts(draw: st.DrawFn, first: int, last: int, most: int) -> list[tuple[int, int]]:
    """(start, sectors) of up to `most` ranges in [first, last] that do not overlap, ascending."""
    points = draw(st.lists(st.integers(first, last), min_size=2, max_size=2 * most, unique=True))
    points.sort()
    pairs = zip(points[::2], points[1::2], strict=False)
    return [(start, end - start) for start, end in pairs]


@pytest.fixture(scope="module")
def _tools() -> None:
    need(shutil.which("sfdisk") is not None, "needs sfdisk (packages.txt)")


@pytest.mark.usefixtures("_tools")
@SFDISK
@given(rows=cuts(2048, 100_000, 6), slots=st.permutations(range(12)), name=st.text("aäか𝄞 ", max_size=18))
def test_valid_gpt_is_what_sfdisk_reads(
    tmp_path: Path, rows: list[tuple[int, int]], slots: list[int], name: str
) -> None:
    disk = GptDisk(64 * MIB)
    for (start, sectors), slot in zip(rows, slots, strict=False):
        disk.rows[slot] = (LINUX, start, start + sectors - 1, name, 0)
    path = write_image(tmp_path / "gpt.img", disk.image())
    assert len(ours(path)) == len(rows)
    assert sorted(ours(path)) == sorted(sfdisk(path))


@pytest.mark.usefixtures("_tools")
@SFDISK
@given(
    primaries=cuts(63, 50_000, 3),
    logicals=cuts(0, 70_000, 6),
    kinds=st.lists(st.sampled_from([0x83, 0x07, 0x82, 0x0C, 0xFD]), min_size=9, max_size=9),
    extended=st.sampled_from([0x05, 0x0F, 0x85]),
)
def test_valid_dos_is_what_sfdisk_reads(
    tmp_path: Path,
    primaries: list[tuple[int, int]],
    logicals: list[tuple[int, int]],
    kinds: list[int],
    extended: int,
) -> None:
    base, image = 55_000, MemoryImage(128 * MIB)
    logicals = [
        (start, sectors) for start, sectors in logicals if sectors > 8
    ]  # a record, and room behind it
    rows = [mbr_row(kind, start, sectors) for kind, (start, sectors) in zip(kinds, primaries, strict=False)]
    if logicals:
        logicals[0] = (0, logicals[0][0] + logicals[0][1])
        rows.append(mbr_row(extended, base, 128 * MIB // 512 - base))
    image.put(0, boot_record(rows, signature=1))
    for at, (start, sectors) in enumerate(logicals):
        link = mbr_row(5, logicals[at + 1][0], logicals[at + 1][1]) if at + 1 < len(logicals) else bytes(16)
        image.put((base + start) * 512, boot_record([mbr_row(kinds[3 + at], 2, sectors - 2), link]))
    path = write_image(tmp_path / "dos.img", image)
    assert len(ours(path)) == len(primaries) + len(logicals)
    assert sorted(ours(path)) == sorted(sfdisk(path))


def hostile(image: MemoryImage) -> None:
    """Read it within the limit; whatever it says, the answer tiles and stays in bounds."""
    start = time.process_time()
    try:
        table = read_partition_table(image)
    except PartitionError:
        assert image.unreadable
        return
    assert time.process_time() - start < MOST_SECONDS
    assert tiles(table, image.size)
    assert all(row.extent.offset >= 0 and row.extent.end <= 1 << 63 for row in table.partitions)
    assert len({row.number for row in table.partitions}) == len(table.partitions)
    assert len(table.findings) < 1000
    json.dumps([finding.message for finding in table.findings])


@QUICK
@given(data=st.binary(min_size=0, max_size=8192), size=st.integers(0, 1 << 45))
def test_random_bytes(data: bytes, size: int) -> None:
    hostile(MemoryImage(size, {0: data}))


@QUICK
@given(
    rows=st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4),
    chain=st.dictionaries(
        st.integers(0, 4000), st.lists(st.binary(min_size=16, max_size=16), max_size=4), max_size=6
    ),
)
def test_random_rows(rows: list[bytes], chain: dict[int, list[bytes]]) -> None:
    image = MemoryImage(4 * MIB)
    for at, items in chain.items():
        image.put(at * 512, boot_record(items))
    image.put(0, boot_record([bytes([row[0] & 0x80]) + row[1:] for row in rows], signature=3))
    hostile(image)


@QUICK
@given(
    changes=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=8),
    where=st.sampled_from([0, 512, 1024, 1536, -512, -33 * 512]),
    fix=st.booleans(),
    size=st.one_of(st.just(64 * MIB), st.integers(1, 66 * MIB)),
)
def test_mutated_gpt(changes: list[tuple[int, int]], where: int, fix: bool, size: int) -> None:
    disk = simple_gpt()
    image = disk.image()
    at = where % disk.size
    sector = bytearray(image.read_at(at, 512))
    for position, value in changes:
        sector[position] = value
    if fix and where in {512, -512}:
        length = min(max(92, struct.unpack_from("<I", sector, 12)[0]), 512)
        struct.pack_into("<I", sector, 16, 0)
        struct.pack_into("<I", sector, 16, zlib.crc32(sector[:length]))
    image.put(at, bytes(sector))
    image.size = size
    hostile(image)


@QUICK
@given(bad=st.lists(st.tuples(st.integers(0, 64 * MIB), st.integers(1, MIB)), min_size=1, max_size=4))
def test_unreadable_media(bad: list[tuple[int, int]]) -> None:
    image = simple_gpt().image()
    image.unreadable = [Extent(offset, length) for offset, length in bad]
    hostile(image)


@pytest.mark.corpus
@pytest.mark.xdist_group("tricky")
def test_mutations_of_every_small_tricky_image(tricky: Path) -> None:
    """A few changed bytes where tables lie, in files as libblkid and TSK get them."""
    random.seed(20260715)
    paths = [path for path in sorted(tricky.glob("*.img")) if 512 <= path.stat().st_size <= 64 * MIB]
    scratch = tricky / "mutated"
    assert len(paths) > 10
    for path in paths:
        with path.open("rb") as file:
            head = file.read(64 << 10)
        for _ in range(8):
            changed = bytearray(head)
            for _ in range(random.randint(1, 12)):
                changed[
                    random.choice((random.randrange(min(len(head), 2048)), random.randrange(len(head))))
                ] = random.randrange(256)
            scratch.write_bytes(changed)
            os.truncate(scratch, path.stat().st_size)
            start = time.process_time()
            ours(scratch)
            assert time.process_time() - start < MOST_SECONDS
    scratch.unlink()


def test_speed_does_not_depend_on_size(tmp_path: Path) -> None:
    """3 TiB sparse against 64 MiB: as many reads, of as many bytes, by all readers together; a scan would take more."""
    small = write_image(tmp_path / "small.img", simple_gpt().image())
    large = write_image(tmp_path / "large.img", simple_gpt(3 << 40).image())

    def counters() -> tuple[int, int]:
        lines = dict(line.split(": ") for line in Path("/proc/thread-self/io").read_text().splitlines())
        return int(lines["rchar"]), int(lines["syscr"])

    def read(path: Path) -> tuple[int, int]:
        """Bytes and calls, as the kernel counts them for this thread."""
        before = counters()
        ours(path)
        after = counters()
        return after[0] - before[0], after[1] - before[1]

    ours(small)
    (small_bytes, small_calls), (large_bytes, large_calls) = read(small), read(large)
    assert small_bytes > 0
    assert large_bytes < 2 * small_bytes
    assert large_calls < 2 * small_calls
