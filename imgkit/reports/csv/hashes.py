"""Every digest of a case as CSV: stated, computed, and held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from imgkit.reports.csv.cells import about, write_rows
from imgkit.reports.wording import UNSHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.reports.csv.cells import Value
    from imgkit.reports.view import Act, CaseView, Exhibit

NAME = "csv-hashes"
HEADER = (
    "row",
    "exhibit",
    "line",
    "of",
    "offset",
    "length",
    "algorithm",
    "digest",
    "expected",
    "outcome",
    "source",
    "utc",
    "examiner",
    "examiner_id",
    "tool",
)


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the digests, exhibit by exhibit."""
    write_rows(out, HEADER, _rows(case))


def _rows(case: CaseView) -> Iterator[list[Value]]:
    for what, line, sentence in about(case):
        yield ["report", "", line, what, *[""] * 6, sentence]
    for exhibit in case.exhibits:
        yield from _of(exhibit)


def _of(exhibit: Exhibit) -> Iterator[list[Value]]:
    name, added = exhibit.name, exhibit.added
    for said in exhibit.stated:
        yield [
            "stated",
            name,
            said.line,
            "media",
            "",
            "",
            said.algorithm,
            said.value,
            "",
            "",
            said.source,
            *_by(added),
        ]
    for own in exhibit.own:
        sound = "" if own.sound else "of no one state: read errors, or changed during the read"
        place: list[Value] = [own.of, own.offset, own.length]
        yield ["computed", name, own.line, *place, own.algorithm, own.value, "", sound, "", *_by(own.act)]
    for held in exhibit.comparisons:
        outcome = "match" if held.matches else "mismatch"
        digests: list[Value] = [held.algorithm, held.actual, held.expected, outcome, held.source]
        yield ["compared", name, held.line, held.of, "", "", *digests, *_by(held.act)]
    for line, count in exhibit.unlisted:
        yield ["read error", name, line, *[""] * 6, "", f"{count} ranges: the list {UNSHOWN}"]
    for error in exhibit.read_errors:
        bad: list[Value] = [error.of, error.offset, error.length, "", "", ""]
        yield ["read error", name, error.line, *bad, error.reason]


def _by(act: Act) -> list[Value]:
    return [act.when.utc, act.actor.name, act.actor.id, act.session.tool]
