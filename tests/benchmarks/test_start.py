"""Start-up, sparse images, memory: what does not depend on how fast bytes can be hashed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.disks import LINUX, GptRow, MbrRow, gpt_array, gpt_header, mbr
from tests.benchmarks.measuring import IMGKIT, Table, in_turn, ms, ratio

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.bench
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def test_start_up(variables: dict[str, str], tables: list[Table]) -> None:
    commands = {
        'python -c "import typer"': (sys.executable, "-c", "import typer"),
        "imgkit --version": (IMGKIT, "--version"),
        "imgkit status": (IMGKIT, "status"),
        "imgkit --help": (IMGKIT, "--help"),
    }
    found = in_turn(commands, variables, runs=21)
    first = next(iter(found.values()))
    table = Table("Start-up", ("command", "time", "peak memory", "it / import typer"))
    for name, sample in found.items():
        table.add(name, ms(sample), f"{sample.peak_mib:.0f} MiB", ratio(sample, first))
    tables.append(table)
    assert len(table.rows) == len(commands)


def sparse_image(path: Path, size: int, data: int) -> Path:
    """A GPT at both ends, and `data` bytes of noise in one partition; the rest are holes."""
    head, tail = table_of(size)
    with path.open("wb") as file:
        file.write(head)
        file.seek(MIB)
        for _ in range(data // (16 * MIB)):
            file.write(os.urandom(16 * MIB))
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    return path


def table_of(size: int) -> tuple[bytes, bytes]:
    """The first 34 and the last 33 sectors of media with one partition."""
    total = size // 512
    array = gpt_array((GptRow(LINUX, 1, 2048, total - 2048, "all"),))
    head = (
        mbr(MbrRow(0xEE, 1, min(total - 1, 0xFFFFFFFF))) + gpt_header(total, 512, array, backup=False) + array
    )
    return head, array + gpt_header(total, 512, array, backup=True)


def test_sparse(work: Path, variables: dict[str, str], tables: list[Table]) -> None:
    small = sparse_image(work / "small.dd", 64 * MIB, 0)
    large = sparse_image(work / "large.dd", 2 * TIB, GIB)
    table = Table("Sparse images", ("command", "64 MiB", "2 TiB with 1 GiB of data", "ratio", "peak memory"))
    for command in ("info", "partitions"):
        found = in_turn(
            {"small": (IMGKIT, command, str(small)), "large": (IMGKIT, command, str(large))},
            variables,
            runs=11,
        )
        one, other = found["small"], found["large"]
        table.add(f"imgkit {command}", ms(one), ms(other), ratio(other, one), f"{other.peak_mib:.0f} MiB")
    large.unlink()
    tables.append(table)
    assert len(table.rows) == len(("info", "partitions"))


def test_memory(gigabyte: Path, variables: dict[str, str], tables: list[Table]) -> None:
    image = str(gigabyte)
    commands = {
        "imgkit info": (IMGKIT, "info", image),
        "imgkit partitions": (IMGKIT, "partitions", image),
        "imgkit hash (sha256, blake3)": (IMGKIT, "hash", image),
        "imgkit verify --expect": (IMGKIT, "verify", image, "--expect", "sha256:" + "0" * 64),
    }
    found = in_turn(commands, variables, runs=3, allowed=(0, 1))
    table = Table("Peak memory, 1 GiB of noise", ("command", "peak memory", "time"))
    for name, sample in found.items():
        table.add(name, f"{sample.peak_mib:.0f} MiB", ms(sample))
    tables.append(table)
    assert len(table.rows) == len(commands)
