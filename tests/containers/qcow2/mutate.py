"""Mutations of qcow2 files: whatever is opened afterwards ends in bytes or in an ImageError, soon and in little memory.

By hand: python -m tests.containers.qcow2.mutate COUNT [SEED]
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imgkit.containers import open_image
from imgkit.errors import ImageError, MediaReadError
from tests.containers.qcow2.qemu import MIB, convert, create, io, l2_tables, mixed_media, peek, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Image

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
_SLOWEST = 5.0  # seconds of the processor


def seeds(folder: Path) -> list[Path]:
    """Small files of each kind."""
    source = folder / "source.raw"
    source.write_bytes(mixed_media(MIB, seed=3))
    plain = convert(source, folder / "plain.qcow2", "-o", "cluster_size=4k")
    run("qemu-img", "snapshot", "-c", "one", plain)
    return [
        plain,
        convert(source, folder / "zlib.qcow2", "-c"),
        convert(source, folder / "zstd.qcow2", "-c", "-o", "compression_type=zstd,cluster_size=16k"),
        io(convert(source, folder / "sub.qcow2", "-o", "extended_l2=on,cluster_size=16k"), "write -z 9k 3k"),
        io(create(folder / "over.qcow2", "2M", "-b", "source.raw", "-F", "raw"), "write -P 1 3k 70k"),
    ]


def mutations(path: Path, seed: int) -> Iterator[bytes]:
    """The content of the file with a few bytes changed, most of them where the structures lie; or cut; or a part moved."""
    rng = random.Random(seed)
    content = path.read_bytes()
    tables = [0, peek(path, 40, ">Q"), peek(path, 48, ">Q"), peek(path, 64, ">Q"), *l2_tables(path)]
    while True:
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            near = rng.choice(tables) + rng.randrange(rng.choice([120, 120, 600]))
            at = rng.choice([near, near, near, rng.randrange(len(content))]) % len(content)
            how = rng.randrange(5)
            if how == 0:
                changed[at] ^= 1 << rng.randrange(8)
            elif how == 1:
                changed[at] = rng.choice(_INTERESTING)
            elif how == 2:
                changed[at : at + 8] = rng.randbytes(8)
            elif how == 3:
                changed[at & -8 : (at & -8) + 8] = (1 << rng.randrange(64)).to_bytes(8, "big")
            else:
                other = rng.choice(tables) & -8
                changed[at & -8 : (at & -8) + 8] = content[other : other + 8].ljust(8, b"\0")
        if rng.randrange(20) == 0:
            del changed[rng.randrange(len(changed)) :]
        yield bytes(changed)


def try_one(path: Path) -> str:
    """Open and read everything; what became of it. Anything but an ImageError is a fault and comes through."""
    try:
        with open_image(path) as image:
            assert all(extent.end <= image.size for extent in image.data_extents())
            places = {0, max(0, image.size // 2 - MIB), max(0, image.size - 2 * MIB)}
            whole = [read_whole(image, at) for at in places]
            return "read" if all(whole) else "read in part"
    except MediaReadError:
        raise
    except ImageError as error:
        return type(error).__name__


def read_whole(image: Image, at: int) -> bool:
    """Whether 2 MiB could be read, or not all of them."""
    try:
        image.read_at(at, 2 * MIB)
    except MediaReadError as error:
        if not error.ranges:
            raise
        return False
    return True


def run_many(folder: Path, count: int, seed: int) -> dict[str, int]:
    """What became of `count` mutations."""
    files = seeds(folder)
    streams = [mutations(path, seed + index) for index, path in enumerate(files)]
    victim = folder / "victim.qcow2"
    found: dict[str, int] = {}
    for number in range(count):
        victim.write_bytes(next(streams[number % len(streams)]))
        start = time.process_time()
        what = try_one(victim)
        assert time.process_time() - start < _SLOWEST, f"mutation {number} of seed {seed} took too long"
        found[what] = found.get(what, 0) + 1
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        result = run_many(Path(name), int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        sys.stdout.write(f"{result}, {time.monotonic() - began:.0f} s, peak {peak} MiB\n")
