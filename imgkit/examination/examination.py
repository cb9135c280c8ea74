"""Examination: who acts, for which case, on which evidence; each operation is a short method over its module."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from imgkit.custody.append import Unless
from imgkit.custody.log import CustodyLog
from imgkit.custody.possession import HANDLING
from imgkit.errors import CustodyError, ImgkitError
from imgkit.examination.acts import Act
from imgkit.examination.cases import CaseChoice, choose_case, identity_in, stated, volatile_notice
from imgkit.examination.evidence import (
    Evidence,
    file_facts,
    image_record,
    notices_of,
    open_evidence,
    stated_by,
)
from imgkit.examination.ledger import Exhibit, Ledger, fold
from imgkit.examination.presence import Presence, be_present
from imgkit.examination.reconcile import look_at_world, record_gone
from imgkit.examination.takedown import TakingDown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from imgkit.custody.checkpoints import Made
    from imgkit.custody.session import Session
    from imgkit.errors import OutcomeSpooled
    from imgkit.examination.attached import Attached
    from imgkit.examination.exposing import ExposedImage
    from imgkit.examination.planning import Skipped
    from imgkit.examination.verifying import Verified
    from imgkit.image import Image
    from imgkit.references.reference import Reference

Record = dict[str, Any]


class Examination:
    """One examiner at work on one case. A context manager; open() makes one.

    Attributes:
        presence: Who is at the bench.
        examiner: Who acts.
        case: Which log, and why this one.
        log: The custody log.
        checkpointed: Line of the last checkpoint that this run made, or 0.
        spooled: Why an outcome of this run is NOT YET IN THE CASE LOG, or None.
        ledger: What the log said when it was last read.
    """

    def __init__(
        self,
        presence: Presence,
        case: CaseChoice,
        log: CustodyLog,
        *,
        reason: str | None,
        exhibit: str | None,
        notify: Callable[[str], object],
    ) -> None:
        self.presence = presence
        self.examiner = presence.examiner
        self.case = case
        self.log = log
        self.ledger = Ledger()
        self._reason = reason
        self._stated_exhibit = exhibit
        self._notify = notify
        self._lines: list[int] = []
        self.spooled: str | None = None
        self.checkpointed = 0
        self.warned: set[str] = set()
        self._stack = ExitStack()

    @classmethod
    def open(
        cls,
        *,
        case: str | None = None,
        examiner: str | None = None,
        reason: str | None = None,
        exhibit: str | None = None,
        argv: Sequence[str] | None = None,
        notify: Callable[[str], object] = bool,  # nobody listens
        ask: Callable[[], str] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Find out who acts for which case, open its log, import what was spooled, explain what was left open.

        Args:
            case: Case folder or log; else IMGKIT_CASE, the working folder, the examiner's own log.
            examiner: `Jane Doe <jane@lab>`; else IMGKIT_EXAMINER, settings, login name.
            reason: Recorded with every act.
            exhibit: EX1: which one the image is, where it stands for several.
            argv: For the session's first record; secrets in it are replaced.
            notify: Called with one line for the examiner (stderr of the command line).
            ask: Called where root acts and nobody is stated; returns `Jane Doe <jane@lab>`.
            environ: For tests.

        Raises:
            UsageError: Nobody is stated to act for root, or a setting is malformed.
            CustodyError: The log cannot be opened, or is not what this host remembers.
        """
        presence = be_present(examiner=examiner, argv=argv, ask=ask, environ=environ)
        chosen = choose_case(
            stated(case, "IMGKIT_CASE", environ),
            presence.user,
            presence.state.path,
            require_case=presence.settings.require_case,
        )
        with ExitStack() as stack:
            stack.enter_context(presence.session)
            log = _open_log(chosen, presence.session)
            examination = cls(presence, chosen, log, reason=reason, exhibit=exhibit, notify=notify)
            examination._settle()
            examination._stack = stack.pop_all()
        return examination

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or issubclass(kind, ImgkitError):
                self._checkpoint_by_policy()
        finally:
            self._stack.__exit__(kind, error, trace)

    def _checkpoint_by_policy(self) -> None:
        """At the end of a command that wrote records, where the case asks for it; never a failure of the command."""
        from imgkit.examination.checkpointing import checkpoint_by_policy

        if self._lines and max(self._lines) != self.checkpointed:
            checkpoint_by_policy(self.log, self.presence, self._notify)

    def checkpoint(self, reason: str, *, signer: str | None = None) -> Made:
        """Make a checkpoint of the log, signed where a key is stated: see checkpointing."""
        from imgkit.examination.checkpointing import checkpoint

        return checkpoint(self, reason, signer=signer)

    def checkpoint_written(self, made: Made) -> None:
        """Note the line of a checkpoint, and tell the examiner what there is to tell of it."""
        self.checkpointed = made.line
        self.written(made.line, made.notices)

    def written(self, line: int, notices: Sequence[str] = ()) -> None:
        """Note a line that was written through the log itself, and tell the examiner what there is to tell of it."""
        self._written(line)
        for text in notices:
            self._notify(text)

    def _settle(self) -> None:
        """What earlier runs left: late records from the spool, open intents, attachments that are gone."""
        self.log.import_spool()
        self.refresh()
        self.log.reconcile(lambda intent: look_at_world(intent, self.ledger))
        self.refresh()
        record_gone(self)

    def refresh(self) -> None:
        """Read what the log got since the last look."""
        self.ledger = fold(self.log.records())

    # -- records ---------------------------------------------------------------------------------

    def _written(self, line: int) -> None:
        if not self._lines:
            for text in self.log.notices:
                self._notify(text)
            self._notify(f"{self.case_name}, as {self.examiner}, line {line}")
            if self.case.why == "own" and (volatile := volatile_notice(self.case.folder)):
                self._notify(volatile)
        self._lines.append(line)

    @property
    def case_name(self) -> str:
        """`case 2026-0142`, or the folder's name where it has no number, or `own log`."""
        if self.case.why == "own":
            return "own log"
        number = self.log.opening["data"].get("number")
        return f"case {number or os.path.basename(self.case.folder)}"

    @property
    def records(self) -> Record | None:
        """`records` of a document: the log and the lines this command wrote, or None."""
        if not self._lines:
            return None
        return {"log": self.log.uuid, "seq": [min(self._lines), max(self._lines)]}

    def notify(self, text: str) -> None:
        """Tell the examiner one line."""
        self._notify(text)

    def act(self, kind: str, data: Record, *, exhibit: str | None = None) -> Act:
        """One act as a context manager: see Act."""
        self._warn_of_gap(kind, exhibit)
        return Act(
            self.log,
            kind,
            data,
            exhibit=exhibit,
            reason=self._reason,
            on_written=self._written,
            on_spooled=self._missed,
        )

    def _missed(self, spooled: OutcomeSpooled) -> None:
        self.spooled = spooled.message
        self._notify(spooled.message)

    def _warn_of_gap(self, kind: str, exhibit: str | None) -> None:
        if kind in HANDLING:
            from imgkit.examination.people import warn_of_gap

            warn_of_gap(self, exhibit, kind)

    def taking_down(self, kind: str, data: Record, *, exhibit: str | None = None) -> TakingDown:
        """An act that does not wait for the log: see TakingDown."""
        return TakingDown(
            self.presence.session,
            self.log,
            kind,
            data,
            exhibit=exhibit,
            reason=self._reason,
            on_written=self._written,
        )

    def event(self, kind: str, data: Record, *, exhibit: str | None = None) -> int:
        """Append something that happened; return its line."""
        line = self.log.event(kind, data, exhibit=exhibit, reason=self._reason)
        self._written(line)
        return line

    def event_once(self, kind: str, data: Record, *, of: str, since: int, exhibit: str | None = None) -> None:
        """Append what happened to what `of`, a key of the data, names, unless another run told something of it.

        Args:
            kind: Type of the event.
            data: Of the event; not `of` alone.
            of: `attached_line` or `exposed_line`.
            since: Byte of the log: what was told at or after it counts.
            exhibit: EX1 ...
        """
        needle = f'"{of}":{data[of]},'.encode()
        line = self.log.event_unless(Unless(since, needle), kind, data, exhibit=exhibit, reason=self._reason)
        if line is not None:
            self._written(line)

    # -- evidence --------------------------------------------------------------------------------

    @contextmanager
    def evidence(self, path: str, *, sector_size: int | None = None) -> Iterator[Evidence]:
        """Open an image read-only; the first time the case sees it, it becomes an exhibit.

        Raises:
            ImageError, NotPermitted: The image cannot be opened.
            CustodyError: The log refuses.
        """
        image, identity = open_evidence(path, self.presence.user, sector_size=sector_size)
        with image:
            for text in notices_of(image):
                self._notify(text)
            exhibit = self.exhibit_of(image).name
            yield Evidence(image, exhibit, sector_size=sector_size, name=path, identity=identity)

    def exhibit_of(self, image: Image, data: Record | None = None) -> Exhibit:
        """Return the exhibit an image is in this case; add it where the case has not seen it."""
        files = file_facts(image)
        found = self.ledger.find(files, self._stated_exhibit)
        while found is None:
            found = self._add_exhibit(image, files, data or {})
        return found

    def _add_exhibit(self, image: Image, files: list[Record], data: Record) -> Exhibit | None:
        """Take the next free name. Of two commands that take one name at once, the earlier line has it."""
        name = self.ledger.next_name()
        facts = {**data, "size": image.size, **stated_by(image), **image_record(image)}
        act = self.act("evidence.added", facts, exhibit=name)
        with act:
            self.refresh()
            taken = self.ledger.exhibits[name].line != act.intent.seq
            other = self.ledger.find(files, None)
            if taken or (other is not None and other.line < act.intent.seq):
                act.result = "failed"
                act.error = {
                    "class": "Superseded",
                    "text": "another command added an exhibit at the same time",
                }
        self.refresh()
        return self.ledger.exhibits[name] if act.result == "ok" else self.ledger.find(files, None)

    def own_references(self, evidence: Evidence) -> list[Reference]:
        """What this case's log states of an exhibit."""
        from imgkit.examination.own_references import own_references

        return own_references(self.ledger, self.ledger.exhibits[evidence.exhibit], self.log.path)

    def has_own(self, evidence: Evidence, of: str, algorithm: str) -> bool:
        """Whether the log has a digest of ours of this part by this algorithm."""
        return self.ledger.exhibits[evidence.exhibit].has_own(of, algorithm)

    def last_check(self, evidence: Evidence) -> str:
        """When this case last verified the image, in words."""
        checked = self.ledger.exhibits[evidence.exhibit].checked
        if checked is None:
            return f"{evidence.exhibit} was never verified in this log"
        return f"{evidence.exhibit} was last verified at line {checked[0]}: {checked[1]}"

    # -- operations ------------------------------------------------------------------------------

    def _before_read(self, evidence: Evidence) -> None:
        for text in evidence.device_notices:
            self._notify(text)

    def info(self, evidence: Evidence) -> Record:
        """How the image is stored: the document of `imgkit info`."""
        from imgkit.examination.inspecting import inspect_image

        self._before_read(evidence)
        return inspect_image(self, evidence)

    def partitions(self, evidence: Evidence) -> Record:
        """How the media is divided: the document of `imgkit partitions`."""
        from imgkit.examination.inspecting import inspect_partitions

        self._before_read(evidence)
        return inspect_partitions(self, evidence)

    def attached(
        self,
        evidence: Evidence,
        *,
        partitions: Sequence[int] = (),
        offset: int | None = None,
        length: int | None = None,
    ) -> AbstractContextManager[list[Attached]]:
        """Attach partitions, an extent, or the whole media; devices stay if the block ends well: see attaching."""
        from imgkit.examination.attaching import attached_image
        from imgkit.examination.planning import plan_attach

        targets = plan_attach(self, evidence, partitions=partitions, offset=offset, length=length)
        return attached_image(self, evidence, targets)

    def mounted(
        self, evidence: Evidence, *, partitions: Sequence[int] = (), directory: str | None = None
    ) -> AbstractContextManager[tuple[list[Attached], list[Skipped]]]:
        """Mount partitions read-only; mounts stay if the block ends well: see mounts."""
        from imgkit.examination.mounts import mounted_image

        return mounted_image(self, evidence, partitions=partitions, directory=directory)

    def exposed(self, evidence: Evidence, directory: str) -> AbstractContextManager[ExposedImage]:
        """Show the media as a file in a directory; it stays if the block ends well: see exposing."""
        from imgkit.examination.exposing import exposed_image

        return exposed_image(self, evidence, directory)

    def hash(self, evidence: Evidence, **options: Any) -> Verified:
        """Digests of the media or of parts: see verifying.hash_image."""
        from imgkit.examination.verifying import hash_image

        self._before_read(evidence)
        return hash_image(self, evidence, **options)

    def verify(self, evidence: Evidence, **options: Any) -> Verified:
        """Compare with everything that states a digest: see verifying.verify_image."""
        from imgkit.examination.verifying import verify_image

        if self._lines and max(self._lines) > self.ledger.lines:
            self.refresh()  # what this very examination hashed counts like what an earlier one did
        self._before_read(evidence)
        return verify_image(self, evidence, **options)


def _open_log(case: CaseChoice, session: Session) -> CustodyLog:
    """Open the chosen log; the examiner's own is made at first use."""
    identity = identity_in(case.folder)
    if not case.exists:
        try:
            return CustodyLog.create(case.folder, session, kind="log.opened", data={}, identity=identity)
        except CustodyError:
            if not os.path.lexists(case.log):  # else another command made it at the same moment
                raise
    return CustodyLog.open(case.log, session, identity=identity)


__all__ = ["Evidence", "Examination"]
