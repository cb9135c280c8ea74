"""Reports of a long case."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import pytest

from imgkit.reports import REPORTS, report
from tests.benchmarks.measuring import Sample, Table, calls_in_turn, ms
from tests.reports.forged import many, view_of

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView

pytestmark = pytest.mark.bench
LINES = 10_000


def _size(name: str, case: CaseView) -> int:
    out = io.BytesIO()
    report(name).write(case, out)
    return out.tell()


def test_reports(tmp_path: Path, tables: list[Table]) -> None:
    """Verifying the log and folding it is a part of every report."""
    case = many(tmp_path / "case", LINES)
    table = Table(
        f"Report of a case of {case.lines:,} lines", ("format", "bytes", "written in", "with verification")
    )
    fold = calls_in_turn({"fold": functools.partial(view_of, tmp_path / "case")})["fold"]
    for name in REPORTS:
        found = calls_in_turn({name: functools.partial(_size, name, case)})[name]
        whole = Sample(fold.seconds + found.seconds)
        table.add(name, f"{_size(name, case):,}", ms(found), ms(whole))
    tables.append(table)
    assert len(table.rows) == len(REPORTS)
