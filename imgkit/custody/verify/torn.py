"""Torn lines: what a kill or a full disk leaves, and the `log.recovered` that must explain it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.custody.verify.lines import Kind

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line

KEPT_BYTES = 1024  # of a torn line, in log.recovered
RUN_LIMIT = 100  # torn lines in a row that a log.recovered can name; no crash leaves more


class _Torn(NamedTuple):
    line: int
    bytes: int
    sha256: str
    base64: str


class TornRuns:
    """Holds each run of torn lines against what follows it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._run: list[_Torn] = []
        self._beyond = 0
        self._unended: int | None = None

    def see(self, line: Line) -> None:
        """Take the next line."""
        if line.kind is Kind.TORN:
            self._keep(line)
            return
        if not line.ended and line.kind is Kind.RECORD:
            self._unended = line.number
        if self._run or line.record.get("type") == "log.recovered":
            self._judge(line)

    def _keep(self, line: Line) -> None:
        if len(self._run) == RUN_LIMIT:
            self._beyond += 1
            self._findings.add("BAD_LINE", line.number, f"more than {RUN_LIMIT} torn lines in a row")
            return
        # Its hash and size are told with the LF, which the recovery adds where it is missing.
        start = base64.b64encode(line.raw[:KEPT_BYTES]).decode("ascii")
        self._run.append(_Torn(line.number, len(line.raw), line.hash, start))

    def _judge(self, line: Line) -> None:
        named = _named(line) if line.record.get("type") == "log.recovered" else None
        if self._run and self._run[0].line == 1:
            self._refuse("line 1 opens a log: it is there from the start")
        elif named is None:
            self._refuse(f"no log.recovered follows it, but line {line.number}")
        elif named != self._facts():
            self._refuse(f"the log.recovered of line {line.number} tells of other bytes")
            if not self._run:
                self._findings.add(
                    "SCHEMA", line.number, "this log.recovered tells of torn lines that are not there"
                )
        else:
            for torn in self._run:
                self._findings.add(
                    "TORN_SEALED",
                    torn.line,
                    f"a torn write of {torn.bytes:,} bytes, explained by line {line.number}",
                )
        self._run, self._beyond = [], 0

    def _facts(self) -> tuple[int, list[dict[str, Any]]] | None:
        if not self._run or self._beyond:
            return None
        return self._run[0].line - 1, [torn._asdict() for torn in self._run]

    def _refuse(self, why: str) -> None:
        for torn in self._run:
            self._findings.add("BAD_LINE", torn.line, f"the line is no record, and {why}")

    def finish(self) -> None:
        """What is torn at the end was not recovered yet: the next append will."""
        if self._run and self._run[0].line == 1:
            self._refuse("line 1 opens a log: it is there from the start")
            return
        for torn in self._run:
            self._findings.add(
                "TORN_TAIL",
                torn.line,
                f"the log ends in a torn write of {torn.bytes:,} bytes; the next append explains it",
            )
        if self._unended is not None:
            self._findings.add(
                "TORN_TAIL", self._unended, "the last record lacks its line feed; it is whole and counts"
            )


def _named(line: Line) -> tuple[object, object]:
    data = line.record.get("data")
    return (data.get("last_good"), data.get("torn")) if isinstance(data, dict) else (None, None)
