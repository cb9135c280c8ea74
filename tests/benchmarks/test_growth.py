"""Double the input: time and memory have to grow no faster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fixtures.disks import MbrRow, mbr
from tests.benchmarks.measuring import IMGKIT, Sample, Table, in_turn, ms, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.bench
MIB = 1 << 20


def sized(folder: Path, size: int) -> Path:
    path = folder / f"size-{size}.dd"
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))
    return path


def with_logicals(folder: Path, count: int) -> Path:
    """An extended partition with `count` logicals of 1 MiB, in a sparse file."""
    path, each = folder / f"logicals-{count}.dd", 2048
    with path.open("wb") as file:
        file.write(mbr(MbrRow(0x05, each, count * each)))
        for number in range(count):
            file.seek((number + 1) * MIB)
            following = MbrRow(0x05, (number + 1) * each, each) if number < count - 1 else None
            file.write(mbr(MbrRow(0x83, 64, each - 64), following))
        file.truncate((count + 1) * MIB)
    return path


def in_parts(folder: Path, count: int) -> Path:
    """A split raw set of `count` parts of 1 MiB."""
    parts = folder / f"parts-{count}"
    parts.mkdir()
    for number in range(1, count + 1):
        (parts / f"disk.{number:04}").write_bytes(os.urandom(MIB))
    return parts / "disk.0001"


def grow(
    work: Path,
    variables: dict[str, str],
    make: Callable[[Path, int], Path],
    steps: Sequence[int],
    command: Sequence[str],
) -> list[Sample]:
    paths = [make(work, step) for step in steps]
    found = in_turn({str(path): (IMGKIT, *command, str(path)) for path in paths}, variables)
    return list(found.values())


def test_growth(work: Path, variables: dict[str, str], tables: list[Table]) -> None:
    cases: list[tuple[str, Callable[[Path, int], Path], tuple[int, ...], tuple[str, ...]]] = [
        ("size, bytes", sized, (256 * MIB, 512 * MIB, 1024 * MIB), ("hash", "-a", "sha256")),
        ("logical partitions", with_logicals, (500, 1000, 2000), ("partitions",)),
        ("segments", in_parts, (200, 400, 800), ("info",)),
        ("segments", in_parts, (201, 402, 804), ("hash", "-a", "sha256")),
    ]
    table = Table("Growth", ("what", "command", "count", "time", "it / half as many", "peak memory"))
    for what, make, steps, command in cases:
        before = None
        for step, sample in zip(steps, grow(work, variables, make, steps, command), strict=True):
            change = ratio(sample, before) if before else ""
            table.add(what, " ".join(command), f"{step:,}", ms(sample), change, f"{sample.peak_mib:.0f} MiB")
            before = sample
    tables.append(table)
    assert len(table.rows) == 3 * len(cases)
