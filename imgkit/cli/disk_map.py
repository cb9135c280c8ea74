"""The proportional map of a disk on one line: which cells belong to what. Pure but for print_disk_map at the end."""

from __future__ import annotations

import shutil
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from imgkit.cli.output import human, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.partitions.table import Partition, PartitionTable

Kind = Literal["partition", "gap", "overlap", "beyond", "several"]
_BLOCK: Final[dict[Kind, str]] = {"partition": "█", "gap": "░", "overlap": "▚", "beyond": "·", "several": "▒"}
_PLAIN: Final = str.maketrans("█▓░▚·▒", "#=.%!+")  # where the terminal's encoding has no block characters
_WORDS: Final[dict[Kind, str]] = {"overlap": " (overlaps)", "beyond": " (beyond the end)"}
_SHADES: Final = ("█", "▓")
_ROOM_FOR_MORE: Final = 24  # `and 1234 more  ░ gap`


class Stretch(NamedTuple):
    """A run of equal cells.

    Attributes:
        label: The partition's number, `3-7` for several that share a cell, empty for a gap.
        kind: partition; gap; overlap (it lies within an earlier one); beyond (not on the media); several.
        cells: How many, at least 1.
    """

    label: str
    kind: Kind
    cells: int


class LegendEntry(NamedTuple):
    """What one label stands for; an entry for each partition, in the order of the map.

    Attributes:
        label: As in Stretch.
        kind: As in Stretch.
        block: The character that the map draws for the kind.
        offset: Bytes.
        length: Bytes as the table states them.
    """

    label: str
    kind: Kind
    block: str
    offset: int
    length: int


class _Piece(NamedTuple):
    """A part of the media with the bytes that it shows."""

    label: str
    kind: Kind
    shown: int


def disk_map(table: PartitionTable, size: int, width: int) -> list[Stretch]:
    """Divide `width` cells among partitions and gaps by their bytes.

    Every partition has at least one cell, also where it is tiny, lies within another or beyond the end; where there are
    more partitions than cells, neighbours share one. A gap below half a cell is not drawn.

    Args:
        table: The table.
        size: Bytes of the media.
        width: Cells of the line.

    Returns:
        Stretches whose cells sum to `width`; nothing for empty media or no width.
    """
    if width <= 0 or size <= 0:
        return []
    pieces = _pieces(table, size)
    rows = sum(piece.kind != "gap" for piece in pieces)
    room = width - rows
    wide_gaps = sorted(
        (p.shown for p in pieces if p.kind == "gap" and 2 * width * p.shown >= size), reverse=True
    )
    least = wide_gaps[:room][-1] if wide_gaps and room > 0 else size + 1
    pieces = [piece for piece in pieces if piece.kind != "gap" or piece.shown >= least]
    if rows > width:
        pieces = _grouped(pieces, width)
    elif len(pieces) > width:  # gaps of the same size: the last ones give way
        extra = len(pieces) - width
        gaps = [at for at, piece in enumerate(pieces) if piece.kind == "gap"][-extra:]
        pieces = [piece for at, piece in enumerate(pieces) if at not in gaps]
    cells = _share([piece.shown for piece in pieces], width)
    return [Stretch(piece.label, piece.kind, count) for piece, count in zip(pieces, cells, strict=True)]


def draw(stretches: Sequence[Stretch]) -> str:
    """The line itself, one block character a cell; neighbouring partitions alternate in shade."""
    line, shade = "", ""
    for stretch in stretches:
        block = _BLOCK[stretch.kind]
        if stretch.kind == "partition":
            block = shade = _SHADES[shade == _SHADES[0]]
        line += block * stretch.cells
    return line


def legend(table: PartitionTable, size: int) -> list[LegendEntry]:
    """What each partition's label stands for, in the order of the map."""
    rows = {str(row.number): row for row in table.partitions}
    return [
        LegendEntry(
            piece.label,
            piece.kind,
            _BLOCK[piece.kind],
            rows[piece.label].extent.offset,
            rows[piece.label].extent.length,
        )
        for piece in _pieces(table, size)
        if piece.label
    ]


def _pieces(table: PartitionTable, size: int) -> list[_Piece]:
    """Partitions and gaps by place on the media; those beyond its end come last."""
    placed: list[tuple[int, int, _Piece]] = []
    reach = 0
    for row in sorted(table.partitions, key=lambda row: (row.extent, row.number)):
        piece, reach = _piece(row, reach, size)
        placed.append((row.extent.offset, 1, piece))
    placed += [(gap.offset, 0, _Piece("", "gap", gap.length)) for gap in table.gaps if gap.length]
    return [piece for _, _, piece in sorted(placed, key=lambda item: item[:2])]


def _piece(row: Partition, reach: int, size: int) -> tuple[_Piece, int]:
    """The part of a partition that no earlier one covers, and how far the partitions now reach."""
    within = row.extent.clipped_to(size)
    label = str(row.number)
    if row.extent.offset >= size:
        return _Piece(label, "beyond", 0), reach
    kind: Kind = "overlap" if within.offset < reach else "partition"
    shown = max(0, within.end - max(within.offset, reach))
    return _Piece(label, kind, shown), max(reach, within.end)


def _grouped(pieces: Sequence[_Piece], width: int) -> list[_Piece]:
    """More partitions than cells: neighbours in groups of nearly equal number, one cell each."""
    count = len(pieces)
    bounds = [at * count // width for at in range(width + 1)]
    groups = [pieces[start:end] for start, end in pairwise(bounds)]
    return [
        group[0]
        if len(group) == 1
        else _Piece(f"{group[0].label}-{group[-1].label}", "several", sum(p.shown for p in group))
        for group in groups
    ]


def _share(weights: Sequence[int], width: int) -> list[int]:
    """Give each at least one cell and the rest by largest remainder, in whole numbers only."""
    if not weights:
        return []
    free, total = width - len(weights), sum(weights) or 1
    cells = [1 + free * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(free * weights[at] % total), at))
    for at in by_remainder[: width - sum(cells)]:
        cells[at] += 1
    if sum(cells) < width:  # all weights are zero
        cells[-1] += width - sum(cells)
    return cells


def print_disk_map(table: PartitionTable, size: int) -> None:
    """Print the map as wide as the terminal, with numbers below and a legend: nothing here comes from an image as text."""
    width = min(shutil.get_terminal_size().columns, 120)
    stretches = disk_map(table, size, width)
    for line in (draw(stretches), _numbers(stretches), _legend_line(table, size, width)):
        if line.strip():
            say(line if _has_blocks() else line.translate(_PLAIN))


def _has_blocks() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _numbers(stretches: Sequence[Stretch]) -> str:
    """Each label below the first cell of its stretch, where it fits."""
    return "".join(
        (stretch.label if len(stretch.label) < stretch.cells else "").ljust(stretch.cells)
        for stretch in stretches
    )


def _legend_line(table: PartitionTable, size: int, width: int) -> str:
    """`1: 8.0 MiB` for as many as fit the line, then what else the characters mean."""
    entries = legend(table, size)
    named: list[str] = []
    for entry in entries:
        text = f"{entry.label}: {human(entry.length)}{_WORDS.get(entry.kind, '')}"
        if sum(map(len, named)) + 2 * len(named) + len(text) > width - _ROOM_FOR_MORE:
            break
        named.append(text)
    more = [f"and {len(entries) - len(named)} more"] if len(entries) > len(named) else []
    gaps = [f"{_BLOCK['gap']} gap"] if table.gaps else []
    return "  ".join([*named, *more, *gaps])
