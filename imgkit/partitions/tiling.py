"""What holds for every scheme: gaps and partitions tile the media, overlaps and ends beyond it are findings."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from imgkit.image import Extent
from imgkit.partitions.table import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgkit.partitions.table import ExtendedContainer, Partition

_LIMIT_OF_A_CODE: Final = 32  # findings of one code; hostile tables have thousands of rows


def gaps_between(extents: Iterable[Extent], size: int) -> Iterator[Extent]:
    """The extents of [0, size) that none of these covers, ascending."""
    at = 0
    for extent in sorted(extent.clipped_to(size) for extent in extents):
        if extent.offset > at:
            yield Extent(at, extent.offset - at)
        at = max(at, extent.end)
    if at < size:
        yield Extent(at, size - at)


def overlaps(partitions: Sequence[Partition]) -> Iterator[Finding]:
    """One finding for each partition that begins inside an earlier one."""
    reach: Partition | None = None
    for row in sorted(partitions, key=lambda row: (row.extent, row.number)):
        if reach is not None and row.extent.overlaps(reach.extent):
            shared = min(reach.extent.end, row.extent.end) - row.extent.offset
            text = (
                f"partitions {reach.number} and {row.number} share {shared} bytes from {row.extent.offset} on"
            )
            yield Finding("table.overlap", "error", text)
        if reach is None or row.extent.end > reach.extent.end:
            reach = row


def beyond_end(
    partitions: Sequence[Partition], containers: Sequence[ExtendedContainer], size: int
) -> Iterator[Finding]:
    """Partitions and containers that the media does not hold, or not whole."""
    named = [(f"partition {row.number}", row.extent) for row in partitions]
    named += [(f"the extended partition in slot {row.slot + 1}", row.extent) for row in containers]
    for name, extent in named:
        if extent.end <= size:
            continue
        if extent.offset >= size:
            text = f"{name} starts at {extent.offset}, the media ends at {size}: nothing of it is there"
        else:
            text = f"{name} ends at {extent.end}, {extent.end - size} bytes past the end of the media"
        yield Finding("table.beyond-end", "error", text)


def bounded(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The same findings, at most so many of one code: the last one then says how many more there are."""
    kept: dict[str, list[Finding]] = {}
    for finding in findings:
        kept.setdefault(finding.code, []).append(finding)
    out: list[Finding] = []
    for code, run in groupby(findings, key=lambda finding: finding.code):
        if code not in kept:
            list(run)
            continue
        rows = kept.pop(code)
        out += rows[:_LIMIT_OF_A_CODE]
        if len(rows) > _LIMIT_OF_A_CODE:
            more = len(rows) - _LIMIT_OF_A_CODE
            out.append(Finding(code, rows[-1].severity, f"and {more} more of this kind"))
    return tuple(out)
