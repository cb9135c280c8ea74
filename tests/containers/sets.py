"""Media to store, and sets of files that store it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def media(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def write_set(directory: Path, stem: str, suffixes: Sequence[str], content: bytes, size: int) -> list[Path]:
    """Cut `content` into files of `size` bytes, named with the suffixes."""
    paths = []
    for index, suffix in enumerate(suffixes):
        path = directory / f"{stem}.{suffix}"
        path.write_bytes(content[index * size : (index + 1) * size])
        paths.append(path)
    assert (len(suffixes) - 1) * size < len(content) <= len(suffixes) * size
    return paths
