"""One act: its intent is durable before anything is done, its outcome before anything is shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from imgkit.errors import OutcomeSpooled
from imgkit.linux.signals import signals_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from imgkit.custody.acts import Intent
    from imgkit.custody.log import CustodyLog
    from imgkit.custody.spool import SpooledLog

Record = dict[str, Any]


def stopped_by(error: BaseException) -> str:
    """What stopped an act that did not fail by itself, in words: its own, else the signal that Python raises it for."""
    by_itself = "stopped by SIGINT" if isinstance(error, KeyboardInterrupt) else type(error).__name__
    return str(error) or by_itself


class Act:
    """A context manager around one act: entering writes the intent, leaving writes the outcome.

    For an act that only reads, an outcome that only the spool has ends the block well: the result is shown, marked
    NOT YET IN THE CASE LOG. An act that made something calls write() itself, and undoes it.

    Attributes:
        data: Fill in what was found; it becomes the outcome's data.
        result: `ok` unless the block says otherwise or raises.
        intent: What the log gave for the intent (op, seq).
        line: Line of the outcome, once written.
    """

    def __init__(
        self,
        log: CustodyLog | SpooledLog,
        kind: str,
        data: Record,
        *,
        exhibit: str | None = None,
        reason: str | None = None,
        on_written: Callable[[int], object],
        on_spooled: Callable[[OutcomeSpooled], object] = bool,
    ) -> None:
        self._log = log
        self._kind = kind
        self._asked = data
        self._exhibit = exhibit
        self._reason = reason
        self._on_written = on_written
        self._on_spooled = on_spooled
        self.data: Record = dict(data)
        self.result = "ok"
        self.error: Record | BaseException | None = None
        self.line = 0
        self.intent: Intent

    def __enter__(self) -> Self:
        try:
            with signals_held():
                self.intent = self._log.intent(
                    self._kind, self._asked, exhibit=self._exhibit, reason=self._reason
                )
                if self.intent.seq:
                    self._on_written(self.intent.seq)
        except BaseException as error:
            if hasattr(
                self, "intent"
            ):  # a signal came while it was written: nothing was begun, and that is told
                self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        try:
            self.write()
        except OutcomeSpooled as spooled:
            self._on_spooled(spooled)

    def fail(self, error: BaseException) -> None:
        """The act did not succeed: an error is `failed`, a signal is `interrupted`."""
        if isinstance(error, Exception):
            self.result, self.error = "failed", error
        else:
            self.result = "interrupted"
            self.error = {"class": type(error).__name__, "text": stopped_by(error)}

    def write(self) -> None:
        """Append the outcome, durable.

        Raises:
            OutcomeSpooled: Only this host's spool has it.
        """
        with signals_held():
            self.line = self._log.outcome(self.intent, self.result, self.data, error=self.error)
            if self.line:  # 0 where only the spool has it
                self._on_written(self.line)


@contextmanager
def closing_failed(acts: Sequence[Act]) -> Iterator[None]:
    """A block in which acts come to be, or all end with its error; what only the spool has a later run imports."""
    try:
        yield
    except BaseException as error:
        for act in acts:
            act.__exit__(type(error), error, error.__traceback__)
        raise
