"""Records of what is taken down, each in the log of its attach, whichever case is at hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.custody.log import CustodyLog
from imgkit.custody.spool import SpooledLog
from imgkit.errors import CustodyError
from imgkit.examination.cases import identity_in
from imgkit.examination.takedown import TakingDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.session import Session
    from imgkit.examination.knowledge import KnownLogs, Origin
    from imgkit.examination.presence import Presence

Record = dict[str, Any]


class Recorder:
    """Opens logs by their uuid and writes to them; what a log does not take goes to the spool."""

    def __init__(self, known: KnownLogs, session: Session, *, reason: str | None) -> None:
        self._known = known
        self._session = session
        self._reason = reason
        self._open: dict[str, CustodyLog | CustodyError] = {}
        self._lines: dict[str, list[int]] = {}

    def taking_down(
        self, origin: Origin, kind: str, data: Record, *, exhibit: str | None, lines: list[int]
    ) -> TakingDown:
        """An act in the log of the attach that does not wait for it; the lines it gets there are added to `lines`."""
        session = self._session
        if origin.log is None:
            return TakingDown(session, None, kind, data)
        log = self._writable(origin)
        options: Record = {
            "exhibit": exhibit,
            "reason": self._reason,
            "on_written": self._note(origin.log, lines),
        }
        if isinstance(log, CustodyLog):
            return TakingDown(session, log, kind, data, **options)
        return TakingDown(session, SpooledLog(origin.log, session), kind, data, why=log.message, **options)

    def event(
        self, origin: Origin, kind: str, data: Record, *, exhibit: str | None, lines: list[int]
    ) -> str | None:
        """An event in the log of the attach; the spool takes it where the log does not, and the answer is why.

        Raises:
            CustodyError: The spool does not take it either.
        """
        if origin.log is None:
            return None
        log = self._writable(origin)
        if isinstance(log, CustodyLog):
            try:
                self._note(log.uuid, lines)(log.event(kind, data, exhibit=exhibit, reason=self._reason))
            except CustodyError as error:
                log = error
        if isinstance(log, CustodyError):
            SpooledLog(origin.log, self._session).event(kind, data, exhibit=exhibit, reason=self._reason)
            return log.message
        return None

    @property
    def records(self) -> Record | list[Record] | None:
        """`records` of a document: the log and its lines; a list where several logs were written to."""
        told = [records_of(log, lines) for log, lines in self._lines.items()]
        written = [entry for entry in told if entry is not None]
        return written[0] if len(written) == 1 else written or None

    def end(self, presence: Presence, notify: Callable[[str], object]) -> None:
        """The command is over: make a checkpoint of each log that was written to and whose case asks for one."""
        from imgkit.examination.checkpointing import checkpoint_by_policy

        for log in self._open.values():
            if isinstance(log, CustodyLog) and self._lines.get(log.uuid):
                checkpoint_by_policy(log, presence, notify)

    def _note(self, log: str, lines: list[int]) -> Callable[[int], None]:
        of_log = self._lines.setdefault(log, [])

        def note(line: int) -> None:
            of_log.append(line)
            lines.append(line)

        return note

    def _writable(self, origin: Origin) -> CustodyLog | CustodyError:
        uuid = origin.log or ""
        if uuid not in self._open:
            self._open[uuid] = self._try_to_open(uuid)
        return self._open[uuid]

    def _try_to_open(self, uuid: str) -> CustodyLog | CustodyError:
        path = self._known.path_of_log(uuid)
        if path is None:
            return CustodyError(f"this host does not know where log {uuid} lies")
        try:
            log = CustodyLog.open(path, self._session, identity=identity_in(os.path.dirname(path)))
            if log.uuid != uuid:
                return CustodyError(f"{path} is another log now")
            log.import_spool()
        except CustodyError as error:
            return error
        return log


def records_of(log: str, lines: list[int]) -> Record | None:
    """One entry of `records`: a log and the first and last line that were written to it; None where none was."""
    if not lines:
        return None
    return {"log": log, "seq": [min(lines), max(lines)]}
