"""Acts that take something down never wait for the log: where it cannot be reached, their records go to the spool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from imgkit.custody.spool import SpooledLog
from imgkit.errors import CustodyError, OutcomeSpooled
from imgkit.examination.acts import Act

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from imgkit.custody.log import CustodyLog
    from imgkit.custody.session import Session
    from imgkit.errors import ImgkitError

Record = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Ending:
    """How something came down that showed evidence, a device or an exposure.

    Attributes:
        log: UUID of the log that tells how it was put up, or None where no known log does.
        changed: Sentences: the evidence is not what it was then.
        touched: Sentences: only the inode's change time differs.
        compared: Whether the facts of that time were there to compare with.
        spooled: Why the records are not yet in the case log, or None.
        unrecorded: Why nothing has the records, not even the spool, or None: to be written down by hand.
        lines: Lines of that log that tell of this one.
        error: Why it could not be taken down, or None.
    """

    log: str | None = None
    changed: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    compared: bool = False
    spooled: str | None = None
    unrecorded: str | None = None
    lines: list[int] = field(default_factory=list)
    error: ImgkitError | None = None

    def note_trouble(self, act: TakingDown) -> None:
        """Keep what kept the records of an act from the log."""
        self.spooled = self.spooled or act.spooled
        self.unrecorded = self.unrecorded or act.unrecorded

    @property
    def events(self) -> list[tuple[str, tuple[str, ...]]]:
        """What is to be recorded of the evidence beside the act: type and details. A touch counts only if it was compared."""
        found = [("evidence.changed", self.changed)]
        if self.compared:
            found.append(("evidence.touched", self.touched))
        return [(kind, details) for kind, details in found if details]

    def record_events(self, record: Callable[[str, Record], str | None], data: Record) -> None:
        """Record them; it is down already, so what nothing takes is only told.

        Args:
            record: Takes type and data of an event; returns why only the spool has it, or None.
            data: Of each event, but for the details.
        """
        for kind, details in self.events:
            try:
                self.spooled = record(kind, {**data, "details": list(details)}) or self.spooled
            except CustodyError as error:
                self.unrecorded = self.unrecorded or error.message


def ending_document(item: Ending, records: Record | None) -> Record:
    """What the documents of detach, unmount and unexpose say alike of each."""
    document: Record = {
        "changed": list(item.changed),
        "touched": list(item.touched),
        "compared": item.compared,
        "not_yet_in_log": item.spooled,
        "recorded_nowhere": item.unrecorded,
        "records": records,
    }
    if item.error is not None:
        document["error"] = {"kind": item.error.kind, "message": item.error.message, "hint": item.error.hint}
    return document


class TakingDown:
    """A context manager like Act that lets the act happen whatever the log says.

    Attributes:
        data: Becomes the outcome's data.
        spooled: Why records are only in the spool, or None where the log has them.
        unrecorded: Why not even the spool has them, or None: to be written down by hand.
    """

    def __init__(
        self,
        session: Session,
        log: CustodyLog | SpooledLog | None,
        kind: str,
        data: Record,
        *,
        exhibit: str | None = None,
        reason: str | None = None,
        on_written: Callable[[int], object] = bool,  # nobody wants to know
        why: str | None = None,
    ) -> None:
        """Prepare; `log` is None where the device was attached without one: nothing is recorded then."""
        self.data: Record = dict(data)
        self.spooled = why
        self.unrecorded: str | None = None
        self._session = session
        self._log = log
        self._kind = kind
        self._options: Record = {"exhibit": exhibit, "reason": reason, "on_written": on_written}
        self._act: Act | None = None

    def __enter__(self) -> Self:
        if self._log is None:
            return self
        try:
            self._act = self._begin(self._log)
        except CustodyError as error:
            self._begin_in_spool(self._log, error)
        return self

    def _begin_in_spool(self, log: CustodyLog | SpooledLog, refused: CustodyError) -> None:
        """A disk that is full everywhere keeps nobody from taking evidence down."""
        self.spooled = self.spooled or refused.message
        if isinstance(log, SpooledLog):
            self.unrecorded = refused.message
            return
        try:
            self._act = self._begin(SpooledLog(log.uuid, self._session, path=log.path))
        except CustodyError as error:
            self.unrecorded = error.message

    def _begin(self, log: CustodyLog | SpooledLog) -> Act:
        act = Act(log, self._kind, self.data, **self._options)
        act.__enter__()
        return act

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._act is None:
            return
        self._act.data.update(self.data)
        if error is not None:
            self._act.fail(error)
        try:
            self._act.write()
        except OutcomeSpooled as spooled:
            self.spooled = spooled.message
        except CustodyError as nowhere:
            self.unrecorded = nowhere.message
