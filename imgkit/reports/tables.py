"""How the media of an exhibit was found to be divided: the tables that acts state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgkit.reports.exhibits import Partition, Table, TableFinding
from imgkit.reports.values import is_reference, items, mapping, number, pairs, text

if TYPE_CHECKING:
    from imgkit.reports.acts import Act
    from imgkit.reports.values import Data

_LISTS = ("partitions", "containers", "gaps", "findings")


def table_in(act: Act, size: int | None) -> Table | None:
    """The table that an act states, or None; `size` is that of the media, where it is known."""
    data = act.data
    if act.type != "evidence.inspected" or act.result != "ok" or "scheme" not in data:
        return None
    return Table(
        line=act.fact_line,
        act=act,
        scheme=text(data["scheme"]),
        sector_size=number(data.get("sector_size")),
        size=number(data.get("size")) or size,
        partitions=tuple(_partition(item) for item in items(data.get("partitions"))),
        containers=_places(data.get("containers")),
        gaps=_places(data.get("gaps")),
        findings=tuple(_finding(item) for item in items(data.get("findings"))),
        filesystem=_filesystem(mapping(data.get("filesystem"))),
        readers=pairs(data.get("readers")),
        withheld=tuple(name for name in _LISTS if is_reference(data.get(name))),
    )


def _partition(item: Data) -> Partition:
    found = mapping(item.get("filesystem"))
    return Partition(
        number=number(item.get("number")) or 0,
        offset=number(item.get("offset")) or 0,
        length=number(item.get("length")) or 0,
        **{key: text(item.get(key)) for key in ("type", "type_name", "name")},
        filesystem=text(found.get("type")),
        label=text(found.get("label")),
        uuid=text(found.get("uuid")),
    )


def _finding(item: Data) -> TableFinding:
    return TableFinding(*(text(item.get(key)) for key in ("code", "severity", "message")))


def _filesystem(found: Data) -> str:
    return " ".join(word for word in (text(found.get("type")), text(found.get("label"))) if word)


def _places(value: Any) -> tuple[tuple[int, int], ...]:
    return tuple((number(item.get("offset")) or 0, number(item.get("length")) or 0) for item in items(value))
