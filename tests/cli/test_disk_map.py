"""The map of a disk: cells sum to the width, everybody has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgkit.cli.disk_map import disk_map, draw, legend, print_disk_map
from imgkit.image import Extent
from imgkit.partitions.table import Partition, PartitionTable
from imgkit.partitions.tiling import gaps_between

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(size: int, rows: Sequence[tuple[int, int]]) -> PartitionTable:
    partitions = tuple(Partition(at + 1, at, Extent(*row), "0x83") for at, row in enumerate(rows))
    gaps = tuple(gaps_between((row.extent for row in partitions), size))
    return PartitionTable("dos", 512, partitions, gaps)


def test_shares_are_proportional() -> None:
    found = disk_map(table(1000, [(100, 400), (500, 200)]), 1000, 100)
    assert [(item.label, item.kind) for item in found] == [
        ("", "gap"),
        ("1", "partition"),
        ("2", "partition"),
        ("", "gap"),
    ]
    assert [item.cells for item in found] == pytest.approx([10, 40, 20, 30], abs=1)
    assert sum(item.cells for item in found) == 100
    assert draw(found).count("░") == found[0].cells + found[3].cells


def test_a_tiny_partition_has_a_cell_and_a_tiny_gap_has_none() -> None:
    found = disk_map(table(1 << 40, [(1 << 20, 512), (2 << 20, (1 << 40) - (2 << 20))]), 1 << 40, 60)
    assert [(item.label, item.cells) for item in found] == [("1", 1), ("2", 59)]


def test_overlap_and_beyond_the_end() -> None:
    found = disk_map(table(1000, [(0, 600), (300, 100), (5000, 10)]), 1000, 20)
    assert [(item.label, item.kind) for item in found] == [
        ("1", "partition"),
        ("2", "overlap"),
        ("", "gap"),
        ("3", "beyond"),
    ]


def test_more_partitions_than_cells_share() -> None:
    found = disk_map(table(1000, [(at * 10, 10) for at in range(100)]), 1000, 10)
    assert [item.label for item in found][:2] == ["1-10", "11-20"]
    assert all(item.kind == "several" and item.cells == 1 for item in found)


def test_nothing_to_draw() -> None:
    assert disk_map(table(0, []), 0, 80) == []
    assert disk_map(table(10, []), 10, 0) == []
    assert [item.kind for item in disk_map(table(10, []), 10, 80)] == ["gap"]


def test_neighbours_differ_in_shade() -> None:
    line = draw(disk_map(table(100, [(0, 50), (50, 50)]), 100, 10))
    assert line == "█████▓▓▓▓▓"


def test_legend_has_every_partition_in_the_order_of_the_map() -> None:
    entries = legend(table(1000, [(500, 100), (0, 100), (9000, 5)]), 1000)
    assert [(item.label, item.kind, item.offset) for item in entries] == [
        ("2", "partition", 0),
        ("1", "partition", 500),
        ("3", "beyond", 9000),
    ]


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 1 << 50),
    rows=st.lists(st.tuples(st.integers(0, 1 << 51), st.integers(1, 1 << 51)), max_size=40),
    width=st.integers(1, 130),
)
def test_cells_always_sum_to_the_width(size: int, rows: list[tuple[int, int]], width: int) -> None:
    facts = table(size, rows)
    found = disk_map(facts, size, width)
    assert sum(item.cells for item in found) == width
    assert all(item.cells >= 1 for item in found)
    labels = [item.label for item in found if item.kind not in {"gap", "several"}]
    if len(rows) <= width:
        assert sorted(labels, key=int) == [str(at + 1) for at in range(len(rows))]
    assert len(draw(found)) == width
    assert len(legend(facts, size)) == len(rows)


def test_printed_lines_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_disk_map(table(1 << 30, [(at << 20, 1 << 20) for at in range(1, 90)]), 1 << 30)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(len(line) <= 60 for line in lines)
    assert "more" in lines[-1]
