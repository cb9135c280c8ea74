"""Says of any image whether it tells the truth: each byte it serves is the media's, and what it does not serve it names."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgkit.image import Image

    Ranges = list[tuple[int, int]]  # (offset, length)

_POISON = 0xA5


def bad_ranges(image: Image, truth: bytes, *, seed: int = 1) -> Ranges:
    """Read everything at once, then in pieces of all sizes; return the ranges that are not served, merged.

    What is served must be `truth`; the pieces must refuse just what the whole refused.
    """
    assert image.size == len(truth)
    whole = refused(image, 0, len(truth), truth)
    rng = random.Random(seed)
    for _ in range(40):
        offset = rng.randrange(len(truth))
        length = min(rng.choice([1, 511, 512, 4096, 30000, 200_000]), len(truth) - offset)
        assert refused(image, offset, length, truth) == clipped(whole, offset, length)
    at = 0
    while at < len(truth):
        length = min(rng.randrange(1, 70_000), len(truth) - at)
        assert refused(image, at, length, truth) == clipped(whole, at, length)
        at += length
    return whole


def refused(image: Image, offset: int, length: int, truth: bytes) -> Ranges:
    """What one read does not serve of its range; all else of it is `truth`, and nothing beyond that is served."""
    buffer = bytearray([_POISON]) * length
    named: tuple[tuple[int, int, str], ...] = ()
    try:
        assert image.read_into(offset, memoryview(buffer)) == length
    except MediaReadError as error:
        named = error.ranges
        if not named:
            raise  # a container names everything that is bad in what was asked for
    assert [item[:2] for item in named] == sorted(item[:2] for item in named)
    assert all(reason for _, _, reason in named)
    bad = clipped(merged(item[:2] for item in named), offset, length)
    assert bool(bad) == bool(named), f"nothing bad in {offset}+{length}, but {named}"
    at = 0
    for start, size in [*bad, (offset + length, 0)]:
        served = slice(at, start - offset)
        assert buffer[served] == truth[offset + at : start], f"wrong bytes between {offset + at} and {start}"
        at = start + size - offset
    return bad


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ascending ranges, those that touch as one."""
    result: Ranges = []
    for offset, length in sorted(ranges):
        if result and offset <= sum(result[-1]):
            end = max(sum(result[-1]), offset + length)
            result[-1] = (result[-1][0], end - result[-1][0])
        elif length:
            result.append((offset, length))
    return result


def clipped(ranges: Sequence[tuple[int, int]], offset: int, length: int) -> Ranges:
    """The parts of `ranges` in [offset, offset + length)."""
    parts = ((max(start, offset), min(start + size, offset + length)) for start, size in ranges)
    return [(low, high - low) for low, high in parts if low < high]
