"""The exhibits of a case as CSV: one row for each, then its partitions, attachments and mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from imgkit.reports.csv.cells import about, write_rows
from imgkit.reports.wording import UNSHOWN, compared, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.reports.csv.cells import Value
    from imgkit.reports.view import Attachment, CaseView, Exhibit

NAME = "csv-exhibits"
HEADER = (
    "row",
    "exhibit",
    "line",
    "ended_line",
    "utc",
    "ended_utc",
    "what",
    "offset",
    "length",
    "description",
    "state",
    "by",
    "details",
)


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the exhibits and what belongs to each."""
    write_rows(out, HEADER, _rows(case))


def _rows(case: CaseView) -> Iterator[list[Value]]:
    for what, line, sentence in about(case):
        yield ["report", "", line, "", "", "", what, "", "", sentence]
    for exhibit in case.exhibits:
        yield _exhibit(exhibit)
        yield from _acquisition(exhibit)
        yield from _files(exhibit)
        yield from _partitions(exhibit)
        for shown in exhibit.attachments:
            yield from _attachment(shown)


def _exhibit(exhibit: Exhibit) -> list[Value]:
    added, verdict = exhibit.added, exhibit.verdict
    facts = [("working copy of", exhibit.copy_of)] if exhibit.copy_of else []
    facts += [(f"source {key}", said) for key, said in exhibit.source]
    facts += [(f"acquired {key}", said) for key, said in exhibit.acquired]
    facts += [(f"corrected by line {said.line}, {said.field}", said.now) for said in exhibit.corrections]
    state = f"{verdict.overall or verdict.verdict} (line {verdict.line})" if verdict else "not verified"
    for one in exhibit.faults:
        if verdict is None or one.line != verdict.line:
            state += f"; {part(one.of)} {one.overall or one.verdict} (line {one.line})"
    return [
        "exhibit",
        exhibit.name,
        added.line,
        added.ended_line,
        added.time.utc,
        added.ended.utc if added.ended else "",
        exhibit.format,
        "",
        exhibit.size,
        exhibit.description,
        state,
        str(added.actor),
        "; ".join(f"{key}: {said}" for key, said in facts),
    ]


def _acquisition(exhibit: Exhibit) -> Iterator[list[Value]]:
    """What the container says: a row each, for in one cell a value could be made to look like the next."""
    found = exhibit.acquisition
    for name, value in found.facts if found else ():
        start: list[Value] = ["acquisition", exhibit.name, found.line if found else None, "", "", "", name]
        yield [*start, "", "", value, "said by the container, not checked"]


def _files(exhibit: Exhibit) -> Iterator[list[Value]]:
    utc = exhibit.added.time.utc
    for file in exhibit.files:
        further = f"path in base64: {file.path_b64}" if file.path_b64 else file.device
        start: list[Value] = ["file", exhibit.name, exhibit.line, "", utc, "", file.role, ""]
        yield [*start, file.bytes, file.path, "", "", further]
    if exhibit.files_count > len(exhibit.files):
        rest = f"{exhibit.files_count} files in all; the list {UNSHOWN}"
        yield ["file", exhibit.name, exhibit.line, "", utc, "", "list", "", "", rest]


def _partitions(exhibit: Exhibit) -> Iterator[list[Value]]:
    table = exhibit.table
    if table is None:
        return
    start: list[Value] = [exhibit.name, table.line, "", table.act.when.utc, ""]
    by = str(table.act.actor)
    for one in table.partitions:
        found = " ".join(word for word in (one.filesystem, one.label, one.uuid) if word)
        words = f"{one.type_name or one.type} {one.name}".strip()
        place: list[Value] = [f"partition {one.number}", one.offset, one.length]
        yield ["partition", *start, *place, words, found, by, f"scheme {table.scheme}, type {one.type}"]
    for offset, length in table.gaps:
        yield ["gap", *start, "gap", offset, length, "", "", by]
    for item in table.findings:
        yield ["finding", *start, item.code, "", "", item.message, item.severity, by]


def _attachment(shown: Attachment) -> Iterator[list[Value]]:
    begun, ended = shown.begun, shown.ended
    proof = "; ".join(f"{key}: {said}" for key, said in (*shown.read_only, ("guard", shown.guard)) if said)
    state = shown.ending + (f": {compared(shown)}" if shown.compared else "")
    if begun.result != "ok":
        state = f"begun, and no sound outcome ({begun.result}); {state}"
    yield [
        "attachment",
        shown.exhibit,
        begun.line,
        ended.line if ended else None,
        begun.time.utc,
        ended.time.utc if ended else "",
        shown.kind,
        shown.offset,
        shown.length,
        shown.device,
        state,
        str(begun.actor),
        "; ".join(filter(None, (proof, *shown.details))),
    ]
    for mount in shown.mounts:
        last = mount.ended
        yield [
            "mount",
            mount.exhibit,
            mount.line,
            last.line if last else None,
            mount.begun.time.utc,
            last.time.utc if last else "",
            mount.filesystem,
            "",
            "",
            mount.target,
            "unmounted" if last else "open",
            str(mount.begun.actor),
            f"{mount.source} by {mount.driver}: {','.join(mount.options)}",
        ]
