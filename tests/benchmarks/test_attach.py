"""Attach and detach against losetup; reading through the device against losetup's device."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment import attach, attach_all, keep_all
from imgkit.containers import open_image
from imgkit.image import Extent
from imgkit.linux.blockdev import blkflsbuf
from tests.benchmarks.measuring import RUNS, Sample, Table, calls_in_turn, ms, ratio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.image import Image

pytestmark = [pytest.mark.bench, pytest.mark.live]
MIB = 1 << 20
EIGHT = [Extent(number * 16 * MIB, 16 * MIB) for number in range(8)]


def losetup(path: Path) -> None:
    argv = ["losetup", "--read-only", "--find", "--show", str(path)]
    device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["losetup", "--detach", device], check=True)


def passing(image: Image) -> None:
    with attach(image, EIGHT[1]):
        pass


def staying(image: Image) -> None:
    with attach(image, EIGHT[1]) as loop:
        loop.keep()
        loop.detach()


def eight(image: Image) -> None:
    with ExitStack() as stack:
        devices = attach_all(image, EIGHT)
        for loop in devices:
            stack.enter_context(loop)
        keep_all(devices)
        for loop in devices:
            loop.detach()


def test_attach(live: None, gigabyte: Path, tables: list[Table]) -> None:
    table = Table("Attach and detach", ("what", "time", "it / losetup"))
    with open_image(gigabyte) as image:
        calls: dict[str, Callable[[], object]] = {
            "losetup -r -f --show; losetup -d": lambda: losetup(gigabyte),
            "attach() as a context manager": lambda: passing(image),
            "attach(), keep(), detach()": lambda: staying(image),
            "eight at once, kept, detached": lambda: eight(image),
        }
        found = calls_in_turn(calls, runs=4 * RUNS)
    first = next(iter(found.values()))
    for name, sample in found.items():
        table.add(name, ms(sample), ratio(sample, first))
    tables.append(table)
    assert len(table.rows) == len(calls)


def read_through(device: str, length: int) -> int:
    """Sequential reads of 1 MiB, past the page cache of the device: only that of the file below is warm."""
    buffer = memoryview(bytearray(MIB))
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        blkflsbuf(fd)
        done = 0
        while done < length and (got := os.readv(fd, [buffer])):
            done += got
    finally:
        os.close(fd)
    assert done == length
    return done


def test_read_through(live: None, gigabyte: Path, tables: list[Table]) -> None:
    size = gigabyte.stat().st_size
    argv = ["losetup", "--read-only", "--find", "--show", str(gigabyte)]
    theirs = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        with open_image(gigabyte) as image, attach(image) as loop:
            ours = loop.attachment.device
            found = calls_in_turn(
                {"losetup": lambda: read_through(theirs, size), "imgkit": lambda: read_through(ours, size)}
            )
    finally:
        subprocess.run(["losetup", "--detach", theirs], check=True)
    table = Table("Reading 1 GiB through the device", ("device", "time", "rate", "rate / losetup's"))
    for name, sample in found.items():
        speed = Sample(1 / sample.seconds)
        rate = f"{size / MIB / sample.seconds:.0f} MiB/s"
        table.add(name, ms(sample), rate, ratio(speed, Sample(1 / found["losetup"].seconds)))
    tables.append(table)
    assert len(table.rows) == len(found)
