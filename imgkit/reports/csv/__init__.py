"""The time line of a case as CSV: one row for each thing that was done or stated, in the order of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from imgkit.reports.csv.cells import about, write_rows
from imgkit.reports.values import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.reports.csv.cells import Value
    from imgkit.reports.view import Act, CaseView

NAME = "csv"
HEADER = (
    "row",
    "line",
    "ended_line",
    "utc",
    "tz",
    "clock",
    "ended_utc",
    "type",
    "exhibit",
    "result",
    "examiner",
    "examiner_id",
    "role",
    "organisation",
    "reason",
    "authority",
    "place",
    "error",
    "late",
    "done_utc",
    "corrections",
    "tool",
    "host",
    "session",
    "line_sha256",
    "ended_sha256",
    "data",
)


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the time line: what the report is of and what the verifier found first, then the acts."""
    write_rows(out, HEADER, _rows(case))


def _rows(case: CaseView) -> Iterator[list[Value]]:
    before: list[Value] = [""] * 5
    for what, line, sentence in about(case):
        blank = len(HEADER) - 1 - 2 - len(before)
        yield ["report", line, *before, what, *[""] * (blank - 1), sentence]
    for act in case.acts:
        yield _act(act)


def _act(act: Act) -> list[Value]:
    ended, at = act.ended, act.at
    return [
        "event" if act.is_event else "act",
        act.line,
        act.ended_line,
        act.time.utc,
        act.time.tz,
        act.time.sync,
        ended.utc if ended else "",
        act.type,
        ", ".join(act.exhibits),
        act.result,
        act.actor.name,
        act.actor.id,
        act.actor.role,
        act.actor.org,
        act.reason,
        act.authority,
        act.place,
        act.error,
        act.late,
        at.utc if at else "",
        "; ".join(f"line {said.line}: {said.field} now {said.now}" for said in act.corrections),
        act.session.tool,
        act.session.host,
        act.session.id,
        act.hash,
        act.ended_hash,
        as_json(act.data),
    ]
