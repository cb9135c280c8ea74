"""The map of a child over its parent, and blocks that share bytes, each against the plainest way to say the same."""

from __future__ import annotations

import itertools
import random

from imgkit.containers.block_image import Run, _joined, _laid_over
from imgkit.containers.block_table import Area, Areas, shared_entries
from imgkit.image import Extent


def some_ranges(rng: random.Random, size: int) -> list[tuple[int, int]]:
    """Ascending (offset, length) that do not overlap; some touch."""
    found, at = [], 0
    while (at := at + rng.choice([0, 0, 1, 5])) < size:
        length = min(rng.randrange(1, 9), size - at)
        found.append((at, length))
        at += length
    return found


def test_the_map_of_a_child_over_its_parent() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        size, below_size = rng.randrange(1, 60), rng.randrange(1, 80)
        runs = [Run(offset, length, rng.random() < 0.6) for offset, length in some_ranges(rng, size)]
        beneath = [Extent(*found) for found in some_ranges(rng, below_size)]
        expected = set()
        for extent in beneath:
            expected |= set(range(extent.offset, min(size, extent.end)))
        for run in runs:
            expected -= set(range(run.offset, run.offset + run.length))
            expected |= set(range(run.offset, run.offset + run.length)) if run.data else set()
        found = list(_joined(_laid_over(runs, iter(beneath), size)))
        assert {byte for extent in found for byte in range(extent.offset, extent.end)} == expected
        assert all(extent.length for extent in found)
        assert all(one.end < two.offset for one, two in itertools.pairwise(found))


def test_entries_that_share_bytes() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        length = rng.randrange(1, 6)
        starts = [rng.randrange(40) for _ in range(rng.randrange(12))]
        lengths = {entry: rng.randrange(1, length + 1) for entry in range(len(starts)) if rng.random() < 0.3}
        ends = [start + lengths.get(entry, length) for entry, start in enumerate(starts)]
        expected = {
            one
            for one in range(len(starts))
            for two in range(len(starts))
            if one != two and max(starts[one], starts[two]) < min(ends[one], ends[two])
        }
        found = shared_entries([start << 32 | entry for entry, start in enumerate(starts)], length, lengths)
        assert set(found) == expected
        for one, two in found.items():
            assert max(starts[one], starts[two]) < min(ends[one], ends[two])


def test_areas_that_no_block_may_lie_in() -> None:
    areas = Areas([Area(10, 20, "first"), Area(30, 40, "second"), Area(30, 30, "empty")])
    assert areas.end == 40
    hits = [
        areas.hit_by(*where) for where in ((0, 10), (0, 11), (19, 25), (20, 30), (20, 31), (39, 99), (40, 99))
    ]
    assert hits == [None, "first", "first", None, "second", "second", None]
    assert areas.hit_by(0, 100) is not None
    assert areas.overlapping() is None
    both = Areas([Area(10, 20, "first"), Area(19, 30, "second")]).overlapping()
    assert both is not None
    assert (both[0].name, both[1].name) == ("first", "second")
