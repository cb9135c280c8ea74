"""The disk map of an image as inline SVG: proportional, but nothing so small that it cannot be seen.

Every place where something begins or ends divides the media; each stretch between two of them gets a share of the width by
its bytes, and at least a little. Horizontal measures are percentages, so the map is as wide as the page, its text is not.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from imgkit.reports.html.markup import Markup, el, join
from imgkit.reports.wording import human, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.reports.exhibits import Partition, Table

LEAST = 1.6  # per cent of the width that a stretch gets at least
BEYOND = 8.0  # per cent for partitions that lie beyond the end of the media
LABELLED = 1.5  # per cent that a number needs to stand inside
LANES = 4  # rows for partitions that lie within others
_LANE, _BAR, _TOP = 34, 28, 2


class Box(NamedTuple):
    """A rectangle of the map; x and width in per cent."""

    x: float
    width: float
    lane: int
    kind: str  # p0, p1 (partitions in turn), beyond, gap, container
    label: str
    title: str


def disk_map(table: Table, anchor: str) -> Markup:
    """The map of a table; nothing where the size of the media is not known or nothing divides it."""
    if not table.size or not (table.partitions or table.gaps):
        return Markup("")
    boxes = list(_boxes(table, table.size))
    lanes = max(box.lane for box in boxes) + 1
    height = _TOP + lanes * _LANE + 16
    title, description = f"{anchor}-t", f"{anchor}-d"
    drawn = el(
        "svg",
        el("title", f"Disk map: {table.scheme}, {human(table.size)}", id=title),
        el("desc", "; ".join(box.title for box in boxes), id=description),
        join(_drawn(box) for box in boxes),
        el("text", "0", x="0", y=str(height - 2), cls="ax"),
        el("text", short(table.size), x=_end(boxes), y=str(height - 2), cls="ax", text_anchor="end"),
        role="img",
        aria_labelledby=f"{title} {description}",
        width="100%",
        height=str(height),
    )
    return el("figure", drawn, el("figcaption", *_legend(boxes)), cls="map")


def _end(boxes: Sequence[Box]) -> str:
    return f"{100 - BEYOND:.2f}%" if any(box.kind == "beyond" for box in boxes) else "100%"


def _legend(boxes: Sequence[Box]) -> Iterator[str]:
    kinds = {box.kind for box in boxes}
    names = {
        "gap": "not described by the table",
        "container": "extended partition",
        "beyond": "beyond the end of the media",
    }
    yield el("span", el("i", cls="k p0"), el("i", cls="k p1"), " partitions, by number ")
    for kind, name in names.items():
        if kind in kinds:
            yield el("span", el("i", cls=f"k {kind}"), f" {name} ")
    yield el("span", "Proportional; small stretches are drawn wider than they are.")


def _drawn(box: Box) -> Markup:
    y = _TOP + box.lane * _LANE
    shape = el(
        "rect",
        el("title", box.title),
        x=f"{box.x:.3f}%",
        y=str(y),
        width=f"{box.width:.3f}%",
        height=str(_BAR),
        cls=box.kind,
    )
    if not box.label or box.width < LABELLED * (1 + (len(box.label) - 1) / 2):
        return shape
    middle = f"{box.x + box.width / 2:.3f}%"
    return join(
        (shape, el("text", box.label, x=middle, y=str(y + 19), text_anchor="middle", cls=f"n {box.kind}"))
    )


def _boxes(table: Table, size: int) -> Iterator[Box]:
    """Gaps and containers below, partitions in their order; one within another in a row of its own."""
    there = [item for item in table.partitions if item.offset < size]
    beyond = [item for item in table.partitions if item.offset >= size]
    spans = [_span(item.offset, item.length, size) for item in there]
    gaps = [_span(*gap, size) for gap in table.gaps]
    containers = [_span(*one, size) for one in table.containers]
    scale = _Scale([*spans, *gaps, *containers], size, 100 - BEYOND if beyond else 100)
    for gap in gaps:
        yield Box(*scale.place(gap), 0, "gap", "", f"gap at {gap[0]:,}, {human(gap[1] - gap[0])}")
    for one in containers:
        yield Box(*scale.place(one), 0, "container", "", f"extended partition at {one[0]:,}")
    rows = _rows(spans)
    for at, (item, span, row) in enumerate(zip(there, spans, rows, strict=True)):
        over = ", reaches beyond the end of the media" if item.offset + item.length > size else ""
        yield Box(*scale.place(span), row, f"p{at % 2}", str(item.number), _title(item) + over)
    for at, item in enumerate(beyond):
        width = BEYOND / len(beyond)
        yield Box(
            100 - BEYOND + at * width,
            width,
            0,
            "beyond",
            str(item.number),
            _title(item) + ", beyond the end of the media",
        )


def _title(item: Partition) -> str:
    what = item.filesystem or item.type_name or item.type
    return f"partition {item.number} at {item.offset:,}, {human(item.length)}" + (f", {what}" if what else "")


def _span(offset: int, length: int, size: int) -> tuple[int, int]:
    return min(offset, size), min(offset + length, size)


def _rows(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each span: the first in which it overlaps nothing that stands there."""
    ends: list[list[tuple[int, int]]] = [[] for _ in range(LANES)]
    rows = []
    for first, last in spans:
        free = (
            row
            for row, taken in enumerate(ends)
            if all(last <= start or first >= stop for start, stop in taken)
        )
        row = next(free, LANES - 1)
        ends[row].append((first, last))
        rows.append(row)
    return rows


class _Scale:
    """Bytes to per cent of the width."""

    def __init__(self, spans: Sequence[tuple[int, int]], size: int, width: float) -> None:
        self._edges = sorted({0, size, *(edge for span in spans for edge in span)})
        parts = [stop - start for start, stop in pairwise(self._edges)]
        least = min(LEAST, 0.7 * width / max(len(parts), 1))
        spare = width - least * len(parts)
        self._at = [0.0]
        for part in parts:
            self._at.append(self._at[-1] + least + spare * part / size)

    def place(self, span: tuple[int, int]) -> tuple[float, float]:
        """X and width of a span."""
        start, stop = (self._at[bisect_left(self._edges, edge)] for edge in span)
        return start, max(stop - start, 0.3)
