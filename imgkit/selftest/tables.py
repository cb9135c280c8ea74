"""The partition tables of the known images: partitions by offset and length, and findings by code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.partitions import read_partition_table
from imgkit.selftest.answers import Answer, compared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgkit.partitions.table import PartitionTable


def ask_tables(known: Mapping[str, Any], folder: str) -> Iterator[Answer]:
    """One answer for each image; the images lie in `folder`."""
    for name, entry in known["images"].items():
        with open_image(os.path.join(folder, f"{name}.img")) as image:
            table = read_partition_table(image)
        yield _table(name, entry, table)


def _table(name: str, entry: Mapping[str, Any], table: PartitionTable) -> Answer:
    expected = (entry["scheme"], entry["sector_size"], [_row(row) for row in entry["partitions"]])
    rows = [(p.number, p.extent.offset, p.extent.length, p.type, p.name) for p in table.partitions]
    answer = compared(
        f"table.{name}", expected, (table.scheme, table.sector_size, rows), f"{len(rows)} partitions"
    )
    missing = set(entry["findings"]) - {finding.code for finding in table.findings}
    if answer.ok and missing:
        return Answer(answer.name, ok=False, detail=f"not found: {', '.join(sorted(missing))}")
    return answer


def _row(row: Mapping[str, Any]) -> tuple[int, int, int, str, str]:
    return row["number"], row["offset"], row["length"], row["type"], row["name"]
