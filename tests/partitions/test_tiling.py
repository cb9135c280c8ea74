"""Gaps, overlaps, ends beyond the media."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imgkit.image import Extent
from imgkit.partitions.table import ExtendedContainer, Finding, Partition
from imgkit.partitions.tiling import beyond_end, bounded, gaps_between, overlaps

EXTENTS = st.lists(st.builds(Extent, st.integers(0, 120), st.integers(0, 60)), max_size=8)


def rows(*extents: tuple[int, int]) -> list[Partition]:
    return [Partition(at + 1, at, Extent(*item), "0x83") for at, item in enumerate(extents)]


@given(extents=EXTENTS, size=st.integers(0, 100))
def test_every_byte_is_in_a_gap_or_in_a_partition_and_never_in_both(extents: list[Extent], size: int) -> None:
    gaps = list(gaps_between(extents, size))
    for byte in range(size):
        covered = any(item.offset <= byte < item.end for item in extents)
        assert sum(gap.offset <= byte < gap.end for gap in gaps) == (not covered)
    assert all(gap.length and gap.end <= size for gap in gaps)
    assert gaps == sorted(gaps)


@given(extents=EXTENTS)
def test_an_overlap_is_found_exactly_where_one_is(extents: list[Extent]) -> None:
    found = list(overlaps(rows(*((item.offset, item.length) for item in extents))))
    pairs = [(a, b) for at, a in enumerate(extents) for b in extents[at + 1 :] if a.overlaps(b)]
    assert bool(found) == bool(pairs)


def test_overlap_says_who_and_how_much() -> None:
    (finding,) = overlaps(rows((100, 50), (120, 100), (500, 10)))
    assert finding.message == "partitions 1 and 2 share 30 bytes from 120 on"


def test_beyond_the_end_of_partitions_and_containers() -> None:
    found = list(
        beyond_end(rows((0, 100), (90, 20), (200, 5)), [ExtendedContainer(2, Extent(50, 100), "0x05")], 100)
    )
    assert [finding.message.split(" ends at ")[0].split(" starts at ")[0] for finding in found] == [
        "partition 2",
        "partition 3",
        "the extended partition in slot 3",
    ]


def test_findings_of_one_code_are_bounded() -> None:
    many = [Finding("a.b", "error", str(at)) for at in range(100)] + [Finding("c.d", "info", "x")]
    kept = bounded(many)
    assert len(kept) == 34
    assert kept[32].message == "and 68 more of this kind"
    assert kept[33].code == "c.d"
