"""Possession: acts on an exhibit by somebody who neither held it nor was authorised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.custody.possession import Possession

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class Holding:
    """Follows who holds each exhibit."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._possession = Possession()

    def see(self, line: Line) -> None:
        """Take the next record."""
        if line.record["phase"] == "outcome" and line.record["type"] != "evidence.added":
            return  # what was done is judged where it was announced
        for number, told in self._possession.see(line.record):
            self._findings.add("CUSTODY_GAP", number, ascii(told)[1:-1])
