"""The map of a child over its parent, and blocks that share bytes, each against the plainest way to say the same."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

from imgkit.containers import block_table
from imgkit.containers.block_image import Run, _laid_over
from imgkit.containers.block_table import Area, Areas, BlockTable, shared_entries
from imgkit.containers.evidence_file import open_evidence
from imgkit.image import Extent, joined

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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
        found = list(joined(_laid_over(runs, iter(beneath), size)))
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


def test_a_table_by_runs_of_one_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 16 entries, of which the runs may fill several."""
    monkeypatch.setattr(block_table, "PIECE", 64)
    rng = random.Random(3)
    for count in (1, 15, 16, 17, 100):
        entries = [entry for _ in range(count) for entry in [rng.randrange(4)] * rng.choice([1, 1, 20])][
            :count
        ]
        path = tmp_path / f"{count}.table"
        path.write_bytes(b"ahead" + b"".join(entry.to_bytes(4, "big") for entry in entries) + b"behind")
        file = open_evidence(str(path))
        table = BlockTable(file, 5, count, "I", "big", lambda raw: raw[3::4])
        runs = list(table.runs())
        assert [kind for _, many, kind in runs for _ in range(many)] == entries
        assert [index for index, many, _ in runs for index in range(index, index + many)] == list(
            range(count)
        )
        assert len(runs) <= len(list(itertools.groupby(entries))) + count // 16
        assert list(table.entries(1, 3)) == [(i, entry) for i, entry in enumerate(entries) if entry in {1, 3}]
        os.truncate(path, 5 + 4 * min(count, 16))  # what is left of it: the first piece
        kinds = [kind for _, many, kind in table.runs() for _ in range(many)]
        assert kinds == entries[:16] + [None] * (count - 16)
        file.close()
