"""Intents and outcomes: what was announced was also told how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from imgkit.custody.verify.finding import Findings
    from imgkit.custody.verify.lines import Line


class _Intent(NamedTuple):
    line: int
    type: str


class Operations:
    """Joins intents, outcomes and reconciliations by their `op`.

    Memory grows with the number of operations (about 100 bytes each), which "two outcomes of one op" cannot do without.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._open: dict[str, _Intent] = {}
        self._reconciled: dict[str, _Intent] = {}
        self._closed: set[bytes] = set()

    def see(self, line: Line) -> None:
        """Take the next record."""
        record = line.record
        phase = record["phase"]
        if phase == "intent":
            self._intent(line.number, record["op"], record["type"])
        elif phase == "outcome":
            self._outcome(line.number, record["op"], record["type"])
        elif record["type"] == "op.reconciled":
            self._reconcile(line.number, record["data"]["op"])

    def _intent(self, line: int, op: str, type_: str) -> None:
        if op in self._open or op in self._reconciled or _short(op) in self._closed:
            self._findings.add("SCHEMA", line, f"a second intent of operation {op}")
        else:
            self._open[op] = _Intent(line, type_)

    def _outcome(self, line: int, op: str, type_: str) -> None:
        intent = self._open.pop(op, None)
        if intent is None:
            intent = self._reconciled.pop(op, None)
            if intent is not None:
                self._findings.add(
                    "LATE_OUTCOME",
                    line,
                    f"the outcome of line {intent.line} came after it had been reconciled: both statements stand",
                )
        if intent is None:
            self._unexpected(line, op)
            return
        self._closed.add(_short(op))
        if intent.type != type_:
            self._findings.add("SCHEMA", line, f"an outcome of {type_} for line {intent.line}, {intent.type}")

    def _unexpected(self, line: int, op: str) -> None:
        if _short(op) in self._closed:
            self._findings.add("SCHEMA", line, f"a second outcome of operation {op}")
        else:
            self._findings.add("OUTCOME_NO_INTENT", line, f"no line before this one announced operation {op}")

    def _reconcile(self, line: int, op: str) -> None:
        intent = self._open.pop(op, None)
        if intent is not None:
            self._reconciled[op] = intent
        elif op in self._reconciled or _short(op) in self._closed:
            self._findings.add(
                "LATE_OUTCOME", line, f"operation {op} is reconciled here, and was closed before"
            )
        else:
            self._findings.add("OUTCOME_NO_INTENT", line, f"no line before this one announced operation {op}")

    def finish(self) -> None:
        """Name what never came to an end."""
        for op, intent in self._open.items():
            self._findings.add(
                "OPEN_INTENT",
                intent.line,
                f"{intent.type} was announced and no outcome followed (operation {op})",
            )


def _short(op: str) -> bytes:
    return bytes.fromhex(op.replace("-", ""))
