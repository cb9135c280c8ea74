"""What a verification finds: codes that never change, and a collector that stays small on a hostile log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

# Sentences kept of one code; further ones are only counted, so that a log of garbage cannot fill the memory.
KEPT = 100


class Severity(StrEnum):
    """FAIL: the log is not what it says. WARN: somebody should look. INFO: explained, nothing to do."""

    FAIL = "FAIL"
    WARN = "WARN"
    INFO = "INFO"


# Every code of docs/verification-policy.md, in the order of the checks; findings are listed in this order.
CODES: dict[str, Severity] = {
    "NEWER": Severity.WARN,
    "BAD_LINE": Severity.FAIL,
    "CHAIN_BREAK": Severity.FAIL,
    "SEQ": Severity.FAIL,
    "FOREIGN_LOG": Severity.FAIL,
    "SCHEMA": Severity.FAIL,
    "TORN_TAIL": Severity.WARN,
    "TORN_SEALED": Severity.INFO,
    "OUTCOME_NO_INTENT": Severity.FAIL,
    "LATE_OUTCOME": Severity.WARN,
    "OPEN_INTENT": Severity.WARN,
    "OPEN_ATTACHMENT": Severity.WARN,
    "CLOCK_STEP": Severity.WARN,
    "CLOCK_BACK": Severity.WARN,
    "CLOCK_UNSYNC": Severity.WARN,
    "CUSTODY_GAP": Severity.WARN,
    "ENCLOSURE_CHANGED": Severity.FAIL,
    "EXTRA_FILE": Severity.FAIL,
    "ENCLOSURE_WITHHELD": Severity.WARN,
    "CHECKPOINT_CHAIN": Severity.FAIL,
    "FORKED": Severity.FAIL,
    "TRUNCATED": Severity.FAIL,
    "MERKLE": Severity.FAIL,
    "SUMS": Severity.FAIL,
    "BAD_SIGNATURE": Severity.FAIL,
    "KEY_REVOKED": Severity.FAIL,
    "WEAK_KEY": Severity.FAIL,
    "UNSIGNED_CHECKPOINT": Severity.WARN,
    "SELF_ASSERTED": Severity.WARN,
    "UNKNOWN_SIGNER": Severity.WARN,
    "UNSIGNED_TAIL": Severity.WARN,
    "BAD_TIMESTAMP": Severity.FAIL,
    "TIMESTAMP_LATE": Severity.WARN,
    "TIMESTAMP_MISSING": Severity.WARN,
    "NO_RECEIPT": Severity.WARN,
    "ROLLBACK": Severity.FAIL,
    "FORK": Severity.FAIL,
    "NO_HEAD_MEMORY": Severity.WARN,
}
_RANK = {code: rank for rank, code in enumerate(CODES)}


def lines_from(first: int, last: int) -> str:
    """`line 7`, `lines 1 to 57`: for a sentence."""
    return f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"


@dataclass(frozen=True, slots=True)
class LogFinding:
    """One thing that was found.

    Attributes:
        code: A key of CODES.
        severity: What CODES says of it.
        line: The line of the log it is about, or None where it is about the whole log or a file beside it.
        message: One sentence.
    """

    code: str
    severity: Severity
    line: int | None
    message: str


class Findings:
    """Collects findings: the first KEPT of each code, and the number of all.

    Attributes:
        counts: How often each code was found.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: list[LogFinding] = []

    def add(self, code: str, line: int | None, message: str) -> None:
        """Note one finding."""
        self.counts[code] += 1
        if self.counts[code] <= KEPT:
            self._kept.append(LogFinding(code, CODES[code], line, message))

    def listed(self) -> tuple[LogFinding, ...]:
        """What was kept, in the order of the checks and then of the lines; a code with more says how many more."""
        rest = [
            LogFinding(code, CODES[code], None, f"and {count - KEPT:,} more of this kind")
            for code, count in self.counts.items()
            if count > KEPT
        ]
        found = self._kept + rest
        return tuple(sorted(found, key=lambda f: (_RANK[f.code], f.line is None, f.line or 0)))
