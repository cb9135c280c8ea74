"""The seal: what a sealed log still takes. Nothing that anybody does or states, until somebody reopens it, with a reason.

It takes what only ends or dates what is there: outcomes and late records, taking down, what became of attachments,
checkpoints, time stamps, receipts, exports, and the recovery of a torn line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import decode
from imgkit.custody.schema import OUTCOME
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

SEALED, REOPENED = "case.sealed", "case.reopened"
TAKEN_BY_A_SEALED_LOG = frozenset(
    {
        REOPENED,
        *("log.checkpointed", "log.anchored", "log.recovered", "log.rollback_accepted"),
        *("receipt.given", "receipt.taken", "case.exported", "op.reconciled"),
        *("evidence.detached", "evidence.unmounted", "evidence.unexposed"),
        *("evidence.gone", "evidence.changed", "evidence.touched"),
    }
)
_MARKS = tuple(f'"type":"{kind}"'.encode() for kind in (SEALED, REOPENED))


class Seal:
    """Knows whether a log is sealed; reads of it only what was added since the last look."""

    def __init__(self) -> None:
        self._seen = 0
        self._line: int | None = None

    def refuse(self, fd: int, record: Mapping[str, Any], path: str) -> None:
        """Raise where the log is sealed and takes no such record; call under the log's lock.

        Raises:
            CustodyError: Code SEALED.
            OSError: The log cannot be read.
        """
        kind = record["type"]
        if kind in TAKEN_BY_A_SEALED_LOG and kind != REOPENED:
            return
        if record["phase"] == OUTCOME or "late" in record:
            return
        self._look(fd)
        if self._line is not None and kind != REOPENED:
            raise CustodyError(
                f"custody log {path!r} was sealed at line {self._line}",
                code="SEALED",
                hint="imgkit case reopen --reason TEXT",
            )
        if self._line is None and kind == REOPENED:
            raise CustodyError(f"custody log {path!r} is not sealed: there is nothing to reopen")

    def _look(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size < self._seen:  # restored from a backup, and that was accepted
            self._seen, self._line = 0, None
        with open(fd, "rb", closefd=False) as file:
            file.seek(self._seen)
            fresh = file.read(size - self._seen)
        end = fresh.rfind(b"\n") + 1
        self._seen += end
        if any(mark in fresh for mark in _MARKS):
            for line in fresh[:end].splitlines(keepends=True):
                self._take(line)

    def _take(self, line: bytes) -> None:
        if not any(mark in line for mark in _MARKS):
            return
        try:
            record = decode(line)
        except CustodyError:
            return  # torn: it counts for nothing
        if record.get("type") == SEALED:
            self._line = record["seq"]
        elif record.get("type") == REOPENED:
            self._line = None
