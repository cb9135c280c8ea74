"""Reports: a case in the forms that courts, laboratories and other tools take, each made of the log alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from imgkit.errors import UsageError

if TYPE_CHECKING:
    from imgkit.reports.view import CaseView

# name -> module; loaded when it is asked for
REPORTS = {
    "html": "imgkit.reports.html",
    "csv": "imgkit.reports.csv",
    "csv-hashes": "imgkit.reports.csv.hashes",
    "csv-exhibits": "imgkit.reports.csv.exhibits",
    "case-uco": "imgkit.reports.case_uco",
    "facts": "imgkit.reports.facts",
}


class Report(Protocol):
    """What the module of a report has."""

    NAME: str

    def write(self, case: CaseView, out: BinaryIO) -> None:
        """Write the report of a case: equal bytes of equal views."""


def report(name: str) -> Report:
    """Return the report of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in REPORTS:
        raise UsageError(f"there is no report format {name!r}", hint=f"there are {', '.join(REPORTS)}")
    return cast("Report", import_module(REPORTS[name]))
