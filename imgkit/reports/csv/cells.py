"""Cells that a spreadsheet shows as they are: nothing in them is run, rounded or taken for a date.

RFC 4180: every cell is quoted, lines end in CR LF, each line has the cells of the header. The file begins with a byte order
mark: without it the most used spreadsheet reads UTF-8 as the code page of its host, and turns names into others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from imgkit.custody.record import printable
from imgkit.reports.wording import covered, outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imgkit.reports.view import CaseView

BOM = b"\xef\xbb\xbf"
LONGEST = 32_000  # characters: spreadsheets cut a cell at 32,767 without a word
_KEPT_DIGITS = 15  # a spreadsheet's numbers are doubles
# What begins a formula, in a locale of wide characters too; after a `;` as well, which parts cells in many countries.
_FORMULA = re.compile("(^|;)(?=\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_WHOLE = re.compile(r"(?:0|[1-9]\d*)\Z", re.ASCII)
_NUMBER_LIKE = re.compile(r"\(?\d[\d.,]*(?:[eE][-+]?\d+)?\)?\Z")
_TIME = r"(?: +\d{1,2}:\d{2}\S*)?(?: ?[AaPp][Mm])?"
_DATE_LIKE = re.compile(rf"\d{{1,4}}[-/.:]\d{{1,2}}(?:[-/.:]\d{{1,4}}(?:\.\d+)?)?{_TIME}\Z")
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NAMED_DATE = re.compile(
    rf"(?=.*\d)(?:\d{{1,4}}[-/. ]*)?{_MONTH}[-/. ]*(?:\d{{1,4}}[-/., ]*){{0,2}}{_TIME}\Z", re.IGNORECASE
)
Value = str | int | bool | None


def cell(value: Value) -> str:
    """One value, quoted."""
    if isinstance(value, bool):
        return '"yes"' if value else '"no"'
    if isinstance(value, int):
        digits = str(value)
        return f'"{digits}"' if len(digits) <= _KEPT_DIGITS else f'"\'{digits}"'
    return '"' + safe(value or "").replace('"', '""') + '"'


def safe(text: str) -> str:
    """Text that no spreadsheet runs or changes: an apostrophe before it where one would; what does not print is escaped.

    A tab or CR before it is escaped like any other character that does not print, so it cannot hide what follows.
    """
    shown = _cut(printable(text))
    if text[:1] in ("\t", "\r", "\n") or _is_changed(shown):
        return "'" + shown
    return _FORMULA.sub(r"\1'", shown)


def _cut(shown: str) -> str:
    if len(shown) <= LONGEST:
        return shown
    return f"{shown[:LONGEST]} [cut: {len(shown)} characters, in full in the log or its enclosures]"


def _is_changed(shown: str) -> bool:
    """Whether a spreadsheet would take it for a date, or for a number that it rounds or writes otherwise (`6.10` as 6.1)."""
    if _DATE_LIKE.match(shown) or _NAMED_DATE.match(shown):
        return True
    if _WHOLE.match(shown):
        return len(shown) > _KEPT_DIGITS
    return _NUMBER_LIKE.match(shown) is not None or shown.lower() in ("true", "false")


def write_rows(out: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    """Write a table; a row that is shorter than the header is filled up."""
    out.write(BOM)
    out.write(_line(header))
    width = len(header)
    out.writelines(_line([*row, *[""] * (width - len(row))]) for row in rows)


def _line(row: Iterable[Value]) -> bytes:
    return (",".join(map(cell, row)) + "\r\n").encode()


def about(case: CaseView) -> Iterable[tuple[str, int | None, str]]:
    """What a report is of and what the verifier says of it: a word, the line where it is about one, and a sentence."""
    yield "scope", None, f"log {case.log or 'without a uuid'}, {case.covered}, head {case.head}"
    yield "verification", None, case.verdict
    yield "verification", None, outside(case)
    for found in case.findings:
        yield "finding", found.line, f"{found.severity} {found.code}: {found.message}"
    for item in case.coverage:
        yield "coverage", None, covered(item)
    for line in case.unread:
        yield "unread", line, "no record that this version can read: this report has nothing of it"
    for sentence in case.proved:
        yield "proved", None, sentence
    for sentence in case.not_proved:
        yield "not proved", None, sentence
