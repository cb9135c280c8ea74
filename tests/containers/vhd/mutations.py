"""Mutates chains of VHD and VHDX whose checksums are made right again, so that what lies behind the checksums is reached.

By hand: `python -m tests.containers.vhd.mutations vhd 20000 FIRST_SEED`. A seed makes the same mutation every time.
"""

from __future__ import annotations

import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from tests.containers.fuzz import MEMORY, TIME, look
from tests.containers.sets import media
from tests.containers.vhd import make as vhd
from tests.containers.vhdx import make as vhdx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASE, CHILD = UUID(int=0xB), UUID(int=0xC)
_NUMBERS = (0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
_SMALL = (-(1 << 20), -512, -1, 1, 2, 512, 1 << 20)


class Sample(NamedTuple):
    """A chain of which one file is mutated.

    Attributes:
        opened: What is opened.
        mutated: The file that changes.
        hot: [start, end) of what is structure.
        renew: Makes every checksum of the file right.
    """

    opened: Path
    mutated: Path
    hot: tuple[tuple[int, int], ...]
    renew: Callable[[int], None]


def vhd_samples(folder: Path) -> list[Sample]:
    size, block = (1 << 17) - 1024, 1 << 14
    content = media(size)
    whole = [True] * (block // 512)
    blocks = {number: (whole, content[number * block :][:block]) for number in (0, 1, 3, 4, 7)}
    base = vhd.Vhd(size, BASE, block, blocks).write(folder / "base.vhd")
    mixed, _ = vhd.some_blocks(size, block, content, 3)
    child = vhd.Vhd(size, CHILD, block, mixed, vhd.Parent(BASE)).write(folder / "child.vhd")
    hot = ((0, 512), (512, 1536), (1536, 1600), (1536, 2048), (2048, 3072 + 512))
    return [
        Sample(base, base, hot, renew_vhd),
        Sample(child, child, hot, renew_vhd),
        Sample(child, base, hot, renew_vhd),
    ]


def renew_vhd(fd: int) -> None:
    size = os.fstat(fd).st_size
    for at, length, field in ((0, 512, 64), (max(0, size - 512), 512, 64), (512, 1024, 36)):
        block = os.pread(fd, length, at)
        if len(block) == length:
            os.pwrite(fd, vhd.summed(block, field), at)


def vhdx_samples(folder: Path) -> list[Sample]:
    mib = vhdx.MIB
    base = vhdx.Vhdx(5 * mib + 512, BASE, mib)
    base.blocks = {number: (vhdx.FULL, media(mib, number), []) for number in (0, 1, 3)}
    top = vhdx.Vhdx(5 * mib + 512, CHILD, mib)
    top.parent = {"parent_linkage": f"{{{BASE}}}", "relative_path": "base.vhdx"}
    top.blocks, _ = vhdx.some_blocks(top, b"", 4)
    below, above = base.write(folder / "base.vhdx"), top.write(folder / "child.vhdx")
    kib = vhdx.KIB
    hot = (
        *((64 * kib, 64 * kib + 100), (128 * kib, 128 * kib + 100), (192 * kib, 192 * kib + 100)),
        *((256 * kib, 256 * kib + 100), (2 * mib, 2 * mib + 64), (2 * mib + 8 * 4096, 2 * mib + 8 * 4097)),
        *((3 * mib, 3 * mib + 250), (3 * mib + 64 * kib, 3 * mib + 64 * kib + 400), (3 * mib, 3 * mib + 250)),
    )
    return [
        Sample(below, below, hot, renew_vhdx),
        Sample(above, above, hot, renew_vhdx),
        Sample(above, below, hot, renew_vhdx),
    ]


def renew_vhdx(fd: int) -> None:
    """Both region tables are given the checksum of the first where they are the same: it takes long to compute."""
    kib = vhdx.KIB
    for at, length in (
        (64 * kib, 4 * kib),
        (128 * kib, 4 * kib),
        (192 * kib, 64 * kib),
        (256 * kib, 64 * kib),
    ):
        block = os.pread(fd, length, at)
        if len(block) < length:
            continue
        clear = block[:4] + bytes(4) + block[8:]
        if clear not in _SUMS:
            if len(_SUMS) > 1000:
                _SUMS.clear()
            _SUMS[clear] = vhdx.crc32c(clear)
        os.pwrite(fd, struct.pack("<I", _SUMS[clear]), at + 4)


_SUMS: dict[bytes, int] = {}
SAMPLES = {"vhd": vhd_samples, "vhdx": vhdx_samples}


def mutate(fd: int, sample: Sample, rng: random.Random) -> None:
    """Write numbers that may mean something over the structure; sometimes cut the file."""
    order = ">" if sample.mutated.suffix == ".vhd" else "<"
    for _ in range(rng.choice([1, 1, 2, 3])):
        start, end = rng.choice(sample.hot)
        width = rng.choice([1, 2, 4, 8])
        at = rng.randrange(start, end) // width * width
        code = order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
        (value,) = struct.unpack(code, os.pread(fd, width, at).ljust(width, b"\0"))
        kind = rng.randrange(4)
        if kind == 0:
            value ^= 1 << rng.randrange(8 * width)
        elif kind == 1:
            value = rng.choice(_NUMBERS)
        elif kind == 2:
            value += rng.choice(_SMALL)
        else:
            value = rng.getrandbits(8 * width)
        os.pwrite(fd, struct.pack(code, value % (1 << 8 * width)), at)
    if rng.random() < 0.05:
        os.truncate(fd, rng.randrange(os.fstat(fd).st_size))
    if rng.random() < 0.7:
        sample.renew(fd)


def run(kind: str, folder: Path, seeds: range) -> Iterator[tuple[int, str, float]]:
    """Try every seed; yield (seed, how it ended, seconds of the processor)."""
    samples = SAMPLES[kind](folder)
    kept = {sample.mutated: sample.mutated.read_bytes() for sample in samples}
    for seed in seeds:
        rng = random.Random(seed)
        sample = samples[seed % len(samples)]
        original = kept[sample.mutated]
        fd = os.open(sample.mutated, os.O_RDWR)
        try:
            mutate(fd, sample, rng)
            start = time.process_time()
            outcome = look(sample.opened, kind, None, seed)
            yield seed, outcome, time.process_time() - start
        finally:
            os.ftruncate(fd, 0)
            os.pwrite(fd, original, 0)
            os.close(fd)


def main() -> int:
    kind, count, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    outcomes: Counter[str] = Counter()
    slowest = (0.0, -1)
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed, outcome, seconds in run(kind, Path(folder), range(first, first + count)):
            outcomes[outcome] += 1
            slowest = max(slowest, (seconds, seed))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    sys.stdout.write(f"{kind}: {dict(outcomes)}, slowest {slowest}, grown by {grown >> 20} MiB\n")
    return int(slowest[0] > TIME or grown > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
