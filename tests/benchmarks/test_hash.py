"""Hashing against the tools that people use."""

from __future__ import annotations

import functools
import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.measuring import IMGKIT, Sample, Table, calls_in_turn, in_turn, ms, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.bench
COLUMNS = ("command", "time", "peak memory", "imgkit / it")


def installed(commands: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {name: argv for name, argv in commands.items() if shutil.which(argv[0])}


def add(table: Table, found: Mapping[str, Sample]) -> None:
    own = found["imgkit"]
    for name, sample in found.items():
        memory = f"{sample.peak_mib:.0f} MiB" if sample.peak_mib else ""
        table.add(name, ms(sample), memory, ratio(own, sample))


def in_memory(algorithms: Sequence[str]) -> dict[str, Sample]:
    """A gibibyte, 1 MiB at a time, that never leaves the cache: what the algorithm itself costs."""
    piece = bytes(1 << 20)

    def run(name: str) -> None:
        hasher = hashlib.new(name)
        for _ in range(1024):
            hasher.update(piece)

    return calls_in_turn(
        {f"{name}, in memory, one core": functools.partial(run, name) for name in algorithms}
    )


def test_sha256(gigabyte: Path, variables: dict[str, str], tables: list[Table]) -> None:
    image = str(gigabyte)
    commands = {
        "imgkit": (IMGKIT, "hash", "-a", "sha256", image),
        "sha256sum": ("sha256sum", image),
        "openssl dgst -sha256": ("openssl", "dgst", "-sha256", image),
    }
    found = in_turn(installed(commands), variables) | in_memory(["sha256"])
    table = Table("SHA-256 of 1 GiB", COLUMNS)
    add(table, found)
    tables.append(table)
    assert len(table.rows) == len(found)


def test_three_digests(gigabyte: Path, variables: dict[str, str], tables: list[Table]) -> None:
    image = str(gigabyte)
    commands = {
        "imgkit": (IMGKIT, "hash", "-a", "md5", "-a", "sha1", "-a", "sha256", image),
        "hashdeep -c md5,sha1,sha256": ("hashdeep", "-c", "md5,sha1,sha256", image),
    }
    found = in_turn(installed(commands), variables) | in_memory(["md5", "sha1", "sha256"])
    table = Table("MD5, SHA-1 and SHA-256 of 1 GiB", COLUMNS)
    add(table, found)
    tables.append(table)
    assert len(table.rows) == len(found)


def test_blake3(four_gigabytes: Path, variables: dict[str, str], tables: list[Table]) -> None:
    image = str(four_gigabytes)
    commands = {
        "imgkit": (IMGKIT, "hash", "-a", "blake3", image),
        "b3sum": ("b3sum", image),
        "b3sum --no-mmap": ("b3sum", "--no-mmap", image),
    }
    found = in_turn(installed(commands), variables)
    table = Table("BLAKE3 of 4 GiB", COLUMNS)
    add(table, found)
    tables.append(table)
    assert len(table.rows) == len(found)
