"""Writes an E01 set of any size in a moment: what a reader looks at when it opens one, and holes instead of chunks."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tests.containers.ewf_writer import (
    COMPRESSED,
    DESCRIPTOR,
    FILE_HEADER,
    SIGNATURE,
    Recipe,
    adler,
    checked,
    descriptor,
    suffixes,
    volume_data,
)

if TYPE_CHECKING:
    from pathlib import Path

_CHUNKS_PER_TABLE = 65000  # stored chunks: just under the 2 GiB that an entry can count
_READABLE = 64  # chunks at the start and at the end of the media: zeros, with their checksum


def write_sparse_ewf(
    directory: Path, size: int, segments: int, recipe: Recipe | None = None, *, stem: str = "huge"
) -> list[Path]:
    """Write `segments` files that hold `size` bytes of media in stored chunks.

    The structure is sound. Of the media the first and the last chunks can be read, and hold zeros; the entries of all tables
    but the first and the last are holes.
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
                count = min(_CHUNKS_PER_TABLE, shares[number + 1] - first)
                at = _Table(file.fileno(), at, range(first, first + count), size, recipe).write()
            os.pwrite(
                file.fileno(), descriptor("next" if number + 1 < segments else "done", at, DESCRIPTOR), at
            )
        paths.append(path)
    return paths


def _section(fd: int, at: int, kind: str, payload: bytes) -> int:
    following = at + DESCRIPTOR + len(payload)
    os.pwrite(fd, descriptor(kind, following, DESCRIPTOR + len(payload)) + payload, at)
    return following


class _Table(NamedTuple):
    """Sectors, table and table2 of some stored chunks, from `at` on."""

    fd: int
    at: int
    chunks: range
    size: int
    recipe: Recipe

    def write(self) -> int:
        """Return where the next section begins."""
        length = DESCRIPTOR + len(self.chunks) * (self.recipe.chunk_size + 4)
        at = self.at + length
        os.pwrite(self.fd, descriptor("sectors", at, length), self.at)
        is_end = self.chunks.start == 0 or self.chunks.stop * self.recipe.chunk_size >= self.size
        entries = b""
        if is_end and length < COMPRESSED:  # further an entry cannot count
            entries = self._entries()
            self._seal_chunks()
        header = checked(struct.pack("<I4xQ4x", len(self.chunks), self.at))
        length = DESCRIPTOR + len(header) + 4 * len(self.chunks) + 4
        for kind in ("table", "table2"):
            os.pwrite(self.fd, descriptor(kind, at + length, length) + header + entries, at)
            footer = adler(entries) if entries else adler_of_zeros(4 * len(self.chunks))
            os.pwrite(self.fd, footer, at + length - 4)
            at += length
        return at

    def _entries(self) -> bytes:
        step = self.recipe.chunk_size + 4
        return struct.pack(
            f"<{len(self.chunks)}I", *range(DESCRIPTOR, DESCRIPTOR + len(self.chunks) * step, step)
        )

    def _seal_chunks(self) -> None:
        """Put the checksum behind the first and the last chunks of the media."""
        full = self.recipe.chunk_size
        last = -(-self.size // full)
        for index, number in enumerate(self.chunks):
            if _READABLE <= number < last - _READABLE:
                continue
            length = min(full, self.size - number * full)
            os.pwrite(self.fd, adler_of_zeros(length), self.at + DESCRIPTOR + index * (full + 4) + length)


def adler_of_zeros(length: int) -> bytes:
    """Adler-32 of so many zeros."""
    return struct.pack("<I", (length % 65521) << 16 | 1)
