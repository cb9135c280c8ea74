"""How the media of an exhibit is divided: its map, its partitions, and what was noticed in its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.html.disk_map import disk_map
from imgkit.reports.html.markup import Markup, el, facts, join, said, section, table, text
from imgkit.reports.html.pieces import line_link, when
from imgkit.reports.wording import UNSHOWN

if TYPE_CHECKING:
    from imgkit.reports.view import Exhibit, Table


def division(item: Exhibit, anchor: str) -> Markup:
    """The last table that was read of an exhibit; nothing where none was."""
    found = item.table
    if found is None:
        return Markup("")
    readers = ", ".join(f"{name} {version}" for name, version in found.readers)
    rows = [
        ("Scheme", said(found.scheme)),
        ("Sector size", text(f"{found.sector_size:,} bytes" if found.sector_size else "")),
        ("File system", said(found.filesystem)),
        ("Read with", said(readers)),
        ("Record", join((line_link(found.line), " ", when(found.act.when)))),
    ]
    withheld = [el("p", el("b", f"The list of {name} {UNSHOWN}.", cls="s warn")) for name in found.withheld]
    withheld += [
        el("p", el("b", "It came out differently at ", cls="s warn"), line_link(one.line), ".")
        for one in item.otherwise
    ]
    return section(
        "How the media is divided",
        "",
        facts(rows),
        disk_map(found, f"{anchor}-map"),
        *withheld,
        _partitions(found),
        _findings(found),
        level=4,
    )


def _partitions(found: Table) -> Markup:
    rows = (
        (
            str(one.number),
            f"{one.offset:,}",
            f"{one.length:,}",
            join((said(one.type_name), Markup(" "), el("small", said(one.type)))),
            said(" ".join(word for word in (one.filesystem, one.label) if word)),
            said(one.uuid),
            said(one.name),
        )
        for one in found.partitions
    )
    headers = ("No.", "Offset", "Length", "Type", "File system, label", "Its id", "Name")
    return table("Partitions, in bytes of the media", headers, rows, right=(0, 1, 2))


def _findings(found: Table) -> Markup:
    rows = (
        (el("b", one.severity, cls=f"v {_severity(one.severity)}"), said(one.code), said(one.message))
        for one in found.findings
    )
    return table("Findings about the table", ("Severity", "Code", "Finding"), rows)


def _severity(word: str) -> str:
    return {"error": "bad", "warning": "warn"}.get(word, "info")
