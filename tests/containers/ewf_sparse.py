"""Writes an E01 set of any size in a moment: what a reader looks at when it opens one, and holes instead of chunks."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.containers.ewf_writer import (
    DESCRIPTOR,
    FILE_HEADER,
    SIGNATURE,
    Recipe,
    checked,
    descriptor,
    suffixes,
    volume_data,
)

if TYPE_CHECKING:
    from pathlib import Path

_CHUNKS_PER_TABLE = 65000  # stored chunks: just under the 2 GiB that an entry can count


def write_sparse_ewf(
    directory: Path, size: int, segments: int, recipe: Recipe | None = None, *, stem: str = "huge"
) -> list[Path]:
    """Write `segments` files that hold `size` bytes of media in stored chunks; the tables' entries are holes too.

    The structure is sound, so a set can be opened and shown; no chunk of it can be read.
    """
    recipe = replace(recipe or Recipe(), base_offsets=True, store=("stored",))
    count = -(-size // recipe.chunk_size)
    volume = volume_data(recipe, count, -(-size // recipe.bytes_per_sector))
    shares = [count * number // segments for number in range(segments + 1)]
    paths = []
    for number, suffix in zip(range(segments), suffixes("encase"), strict=False):
        path = directory / f"{stem}.{suffix}"
        with path.open("wb", buffering=0) as file:
            file.write(SIGNATURE + struct.pack("<BHH", 1, number + 1, 0))
            at = _section(file.fileno(), FILE_HEADER, "data" if number else "volume", volume)
            for first in range(shares[number], shares[number + 1], _CHUNKS_PER_TABLE):
                at = _table(file.fileno(), at, min(_CHUNKS_PER_TABLE, shares[number + 1] - first), recipe)
            os.pwrite(
                file.fileno(), descriptor("next" if number + 1 < segments else "done", at, DESCRIPTOR), at
            )
        paths.append(path)
    return paths


def _section(fd: int, at: int, kind: str, payload: bytes) -> int:
    following = at + DESCRIPTOR + len(payload)
    os.pwrite(fd, descriptor(kind, following, DESCRIPTOR + len(payload)) + payload, at)
    return following


def _table(fd: int, at: int, count: int, recipe: Recipe) -> int:
    """Sectors, table and table2 of `count` stored chunks; every entry reads as zero."""
    base, length = at, DESCRIPTOR + count * (recipe.chunk_size + 4)
    os.pwrite(fd, descriptor("sectors", at + length, length), at)
    at += length
    header = checked(struct.pack("<I4xQ4x", count, base))
    footer = struct.pack("<I", (4 * count % 65521) << 16 | 1)  # Adler-32 of so many zeros
    length = DESCRIPTOR + len(header) + 4 * count + len(footer)
    for kind in ("table", "table2"):
        os.pwrite(fd, descriptor(kind, at + length, length) + header, at)
        os.pwrite(fd, footer, at + length - len(footer))
        at += length
    return at
