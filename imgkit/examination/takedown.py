"""Acts that take something down never wait for the log: where it cannot be reached, their records go to the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from imgkit.custody.spool import SpooledLog
from imgkit.errors import CustodyError, OutcomeSpooled
from imgkit.examination.acts import Act

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from imgkit.custody.log import CustodyLog
    from imgkit.custody.session import Session

Record = dict[str, Any]


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
