"""The chain: every line points at the one before it, counts its own number, and belongs to one log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.custody.record import ZEROS
from imgkit.custody.schema import is_newer, validate
from imgkit.custody.verify.lines import Kind

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class Chain:
    """Checks prev, seq and log of each line; torn lines have none, and take part by their hash.

    Attributes:
        log: The uuid of the first line that states one; all others must state the same.
        lines: Complete lines so far.
        bytes: Bytes of these lines.
        head: Hash of the last complete line; 64 zeros where there is none.
        joined: The first of the lines that this one, and so its hash, vouches for: each names the one before it.
        unjoined: Lines of each log.recovered that does not name the line before the torn ones.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._prev = ZEROS
        self._ahead = 0
        self._torn = False
        self._good, self._good_joined = ZEROS, 1
        self.joined = 1
        self.unjoined: list[int] = []
        self.log: str | None = None
        self.lines = 0
        self.bytes = 0
        self.head = ZEROS

    def see(self, line: Line) -> None:
        """Take the next line."""
        if line.record:
            self._compare(line)
        else:
            self.joined = line.number  # it names none before it
        self._prev, self._torn = line.hash, line.kind is Kind.TORN
        if not self._torn:
            self._good, self._good_joined = line.hash, self.joined
        if line.ended:
            self.lines, self.bytes, self.head = line.number, line.end, line.hash

    def _compare(self, line: Line) -> None:
        record = line.record
        prev = record.get("prev")
        if prev != self._prev:
            before = (
                f"line {line.number - 1} is {self._prev}"
                if line.number > 1
                else "the first line has 64 zeros"
            )
            self._findings.add("CHAIN_BREAK", line.number, f"prev says {shown(prev)}, but {before}")
            self.joined = line.number
        elif self._torn and record.get("type") == "log.recovered":
            self._join(line)
        seq = record.get("seq")
        if seq != line.number or self._ahead:
            self._count(line.number, seq)
        log = record.get("log")
        if log != self.log:
            self._belongs(line.number, log)

    def _join(self, line: Line) -> None:
        """A torn line names none before it: the log.recovered that explains it does in its place."""
        data = line.record.get("data")
        stated = data.get("head") if isinstance(data, dict) else None
        if stated is None:
            self.unjoined.append(line.number)
        elif stated == self._good:
            self.joined = self._good_joined
        else:
            said = f"head says {shown(stated)}, but the line before the torn ones is {self._good}"
            self._findings.add("CHAIN_BREAK", line.number, said)

    def _count(self, number: int, seq: object) -> None:
        """A gap or a surplus is told where it begins, not again at each line after it."""
        ahead = seq - number if type(seq) is int else None
        if ahead is None or (ahead not in (0, self._ahead)):
            self._findings.add("SEQ", number, f"seq says {shown(seq)}, but this is line {number}")
        self._ahead = self._ahead if ahead is None else ahead

    def _belongs(self, number: int, log: object) -> None:
        if self.log is None and isinstance(log, str):
            self.log = log
        else:
            self._findings.add(
                "FOREIGN_LOG", number, f"the line is of log {shown(log)}, the log before it is {self.log}"
            )


class Schema:
    """Checks each record alone against the format, and says what no check may be applied to.

    Attributes:
        newer: The first line that a newer imgkit wrote, or None.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.newer: int | None = None

    def allows(self, line: Line) -> bool:
        """Whether the record of the line can be used by the checks that follow; tells what is wrong with it."""
        record = line.record
        if record and is_newer(record):
            self._newer(line)
            return False
        if line.kind is Kind.BAD:
            self._findings.add("BAD_LINE", line.number, f"the line {line.why}")
            return bool(record) and not validate(record)
        if line.kind is Kind.TORN:
            return False
        wrong = validate(record)
        if wrong:
            self._findings.add("SCHEMA", line.number, "; ".join(wrong[:5]))
        return not wrong

    def _newer(self, line: Line) -> None:
        if self.newer is None:
            self.newer = line.number
        what = f"version {shown(line.record.get('v'))}, type {shown(line.record.get('type'))}"
        self._findings.add("NEWER", line.number, f"written by a newer imgkit ({what})")


def shown(value: object) -> str:
    """A value of a log that may be anything, for a sentence: ASCII, short."""
    return value if isinstance(value, str) and value.isalnum() and value.isascii() else f"{value!a:.80}"
