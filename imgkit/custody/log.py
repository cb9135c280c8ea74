"""CustodyLog: the record of a case (or of an examiner without one): intents, outcomes, events, and what runs left open."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Self

from imgkit.custody import enclosures, folder, spool
from imgkit.custody.acts import Intent, event_fields, intent_fields, outcome_fields
from imgkit.custody.append import Appender, Unless
from imgkit.custody.clock import stamp
from imgkit.custody.durable import told
from imgkit.custody.filesystem import holding
from imgkit.custody.reading import lines_of, open_intents, read_opening, read_records, runs
from imgkit.custody.record import ZEROS, encode, line_hash, new_uuid, plain
from imgkit.custody.schema import VERSION, validate
from imgkit.custody.state import Head
from imgkit.errors import CustodyError, OutcomeSpooled
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from imgkit.custody.session import Session
    from imgkit.linux.files import Identity

    Look = Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any]] | None]


class CustodyLog:
    """One custody log, opened for one session. Holds no file open; every append locks, writes and syncs by itself.

    Attributes:
        path: custody.jsonl, absolute.
        folder: The case folder.
        uuid: The log's.
        opening: Line 1.
        session: Whose records these are.
    """

    def __init__(
        self, path: str, opening: Mapping[str, Any], session: Session, identity: Identity | None
    ) -> None:
        """Not for callers: use create or open."""
        self.path = path
        self.folder = os.path.dirname(path)
        self.uuid: str = opening["log"]
        self.opening = opening
        self.session = session
        self._identity = identity
        self._appender = Appender(path, self.uuid, session, identity=identity)
        self._examine_place()

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the examiner about the place of the log and what did not stop an append."""
        return tuple(self._appender.notices)

    @classmethod
    def create(
        cls,
        place: str | os.PathLike[str],
        session: Session,
        *,
        kind: str = "case.opened",
        data: Mapping[str, Any] | None = None,
        identity: Identity | None = None,
    ) -> Self:
        """Make a case folder with a log whose first record is inside from the start.

        Args:
            place: The folder; made where it is missing.
            session: Who opens it.
            kind: `case.opened`, or `log.opened` for an examiner's own log.
            data: number, title, agency, lead, authority, policy: what is known.
            identity: With whose rights every step is taken; None: the caller's.

        Raises:
            CustodyError: There is a log already, or the folder cannot be written to.
        """
        path = os.path.join(os.path.abspath(place), folder.LOG_NAME)
        with acting_as(identity), told(f"make the case folder {os.path.dirname(path)!r}"):
            if os.path.lexists(path):
                raise folder.exists(path)
            folder.make_folder(os.path.dirname(path), private=kind == "log.opened")
            place_found = holding(os.path.dirname(path))
            opening, kept = _opening(
                session, kind, dict(data or {}), place_found.name if place_found.shared else None
            )
            folder.furnish(os.path.dirname(path))
            line = encode(opening)
            aside = enclosures.put_aside(os.path.dirname(path), kept)
            folder.create_log(path, opening["log"], line)
            enclosures.publish(aside)
        session.state.remember(Head(opening["log"], path, 1, len(line), line_hash(line), len(line)))
        session.introduced(opening["log"])
        return cls(path, opening, session, identity)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], session: Session, *, identity: Identity | None = None
    ) -> Self:
        """Open the log of a case folder, or a log file, for appending.

        Raises:
            CustodyError: No log there, not readable, or written by a newer imgkit.
        """
        place = os.path.abspath(path)
        with acting_as(identity):
            if os.path.isdir(place):
                place = os.path.join(place, folder.LOG_NAME)
            opening = read_opening(place)
        return cls(place, opening, session, identity)

    def intent(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        exhibit: str | None = None,
        reason: str | None = None,
        authority: str | None = None,
        place: str | None = None,
    ) -> Intent:
        """Record that an act is about to begin; only then may it.

        Raises:
            CustodyError: The act must not be done. Codes ROLLBACK, FORK, BAD_LINE ... say what is wrong with the log.
        """
        fields = intent_fields(kind, data, exhibit=exhibit, reason=reason, authority=authority, place=place)
        seq, record = self._append(fields)
        return Intent(fields["op"], seq, kind, self.uuid, record)

    def outcome(
        self,
        intent: Intent,
        result: str,
        data: Mapping[str, Any],
        *,
        error: Mapping[str, Any] | BaseException | None = None,
    ) -> int:
        """Record how an act ended; return the line.

        Args:
            intent: What intent() returned.
            result: `ok`, `failed`, `interrupted` or `unknown`.
            data: What was read back.
            error: The exception, or `{class, errno, text}`, where the result is not ok.

        Raises:
            OutcomeSpooled: Only the spool has it: undo an attach or mount, show the result as NOT YET IN THE CASE LOG.
            CustodyError: Nothing has it (code SCHEMA: the caller's mistake).
        """
        fields = outcome_fields(intent, result, data, error)
        try:
            return self._append(fields)[0]
        except CustodyError as failure:
            if failure.code == "SCHEMA":
                raise
            self._put_in_spool(fields, failure, intent.record if intent.seq else None)
            raise OutcomeSpooled(
                f"the outcome of {intent.type} is NOT YET IN THE CASE LOG, only in this host's spool: {failure.message}",
                code=failure.code,
                hint=failure.hint,
            ) from failure

    def event(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        exhibit: str | None = None,
        reason: str | None = None,
        authority: str | None = None,
        place: str | None = None,
    ) -> int:
        """Record a fact; return the line.

        Raises:
            CustodyError: It is not in the log.
        """
        fields = event_fields(kind, data, exhibit=exhibit, reason=reason, authority=authority, place=place)
        return self._append(fields)[0]

    def event_unless(
        self,
        unless: Unless,
        kind: str,
        data: Mapping[str, Any],
        *,
        exhibit: str | None = None,
        reason: str | None = None,
    ) -> int | None:
        """Record a fact that other runs may see at the same moment; return the line, None where one was quicker.

        Raises:
            CustodyError: It is not in the log.
        """
        written = self._appender.append(
            event_fields(kind, data, exhibit=exhibit, reason=reason), unless=unless
        )
        return written.seq if written is not None else None

    def held(self) -> AbstractContextManager[tuple[int, Head | None]]:
        """The log, open and locked against every writer, while a checkpoint is made of it: see Appender.held."""
        return self._appender.held()

    @property
    def identity(self) -> Identity | None:
        """With whose rights the case folder is touched; None: the caller's."""
        return self._identity

    def accept_rollback(self, reason: str) -> int:
        """Record that one goes on with a log that is not what this host remembers; return the line.

        Raises:
            CustodyError: There is nothing to accept, or the log cannot be appended to.
        """

        def make(found: dict[str, Any]) -> dict[str, Any]:
            return event_fields("log.rollback_accepted", found, reason=reason)

        return self._appender.accept_difference(make).seq

    def enclose(self, content: bytes | str | os.PathLike[str], extension: str) -> dict[str, Any]:
        """Put bytes, or a copy of a file, into enclosures/; return `{sha256, bytes, enclosure}` for a record's data.

        The file gets its name when this object appends a record that holds these fields.

        Raises:
            CustodyError: It cannot be read or kept.
        """
        with acting_as(self._identity):
            if isinstance(content, bytes):
                return self._enclose_bytes(content, extension)
            with told(f"enclose {os.fspath(content)!r}", given=True):
                fd = os.open(content, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                try:
                    if not stat.S_ISREG(os.fstat(fd).st_mode):
                        raise CustodyError(
                            f"{os.fspath(content)!r} is no regular file and cannot be enclosed"
                        )
                    digest, size, name, aside = enclosures.put_aside_file(self.folder, fd, extension)
                finally:
                    os.close(fd)
            self._appender.aside += aside
            return {"sha256": digest, "bytes": size, "enclosure": name}

    def records(self) -> Iterator[dict[str, Any]]:
        """Return the records in order; torn lines are left out, and so is a last line that is being written.

        Raises:
            CustodyError: The log cannot be read; code BAD_LINE: a line is JSON, but not as imgkit writes it.
        """
        return read_records(self.path, identity=self._identity)

    def length(self) -> int:
        """Return the bytes of the whole lines there are now: where an `Unless` begins to look.

        Raises:
            CustodyError: The log cannot be read.
        """
        return sum(len(line) for _offset, line in self._lines())

    def open_intents(self) -> list[dict[str, Any]]:
        """Return the intents that have neither an outcome nor an op.reconciled, in order.

        Raises:
            CustodyError: The log cannot be read.
        """
        return open_intents(self._lines())[0]

    def reconcile(self, look: Look) -> list[int]:
        """Close the open intents of runs that are over with what can be seen now; return the new lines.

        Args:
            look: Gets the intent; returns `(result, seen)` with result `interrupted` or `unknown`, or None to leave it.

        Raises:
            CustodyError: The log cannot be read or appended to.
        """
        intents, end = open_intents(self._lines())
        lines = []
        for intent in intents:
            if runs(intent, self.session, self._lines):
                continue
            found = look(intent)
            if found is None:
                continue
            result, seen = found
            data = {
                "op": intent["op"],
                "line": intent["seq"],
                "type": intent["type"],
                "result": result,
                "seen": dict(seen),
            }
            fields = event_fields("op.reconciled", data, exhibit=intent.get("exhibit"))
            written = self._appender.append(fields, unless=Unless(end, intent["op"].encode()))
            if written is not None:
                lines.append(written.seq)
        return lines

    def import_spool(self) -> list[int]:
        """Take over what waits for this log in the host's spool, as late records; return their lines.

        Raises:
            CustodyError: The spool cannot be read, or the log cannot be appended to; what was not taken waits on.
        """
        state = self.session.state
        if not state.in_spool(self.uuid):
            return []
        lines: list[int] = []
        for spooled in spool.waiting(state, self.uuid):
            for fields in (spooled.intent, spooled.fields):
                lines += self._import(fields) if fields is not None else []
            state.drop_from_spool(self.uuid, spooled.name)
        return lines

    def _import(self, fields: dict[str, Any]) -> list[int]:
        everything = b"".join(line for _offset, line in self._lines())
        if spool.is_recorded(fields, everything):
            return []
        unless = Unless(len(everything), fields["spool"].encode())
        written = self._appender.append(fields, unless=unless)
        return [written.seq] if written is not None else []

    def _append(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        written = self._appender.append(fields)
        if written is None:
            raise CustodyError(f"custody log {self.path!r} was not appended to")
        return written.seq, written.record

    def _put_in_spool(
        self, fields: dict[str, Any], failure: CustodyError, intent: Mapping[str, Any] | None
    ) -> None:
        try:
            spool.put(self.session, self.uuid, fields, intent=intent)
        except CustodyError as error:
            raise CustodyError(
                f"neither log nor spool took the outcome: {failure.message}; {error.message}",
                code=failure.code,
                hint="write down by hand what was done, and make room",
            ) from error

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        return lines_of(self.path, self._identity)

    def _enclose_bytes(self, content: bytes, extension: str) -> dict[str, Any]:
        digest = line_hash(content)
        name = f"{digest}.{enclosures.checked_extension(extension)}"
        with told(f"keep enclosure {name} in {self.folder!r}"):
            self._appender.aside += enclosures.put_aside(self.folder, {name: content})
        return {"sha256": digest, "bytes": len(content), "enclosure": name}

    def _examine_place(self) -> None:
        with acting_as(self._identity), told(f"look at the file system of {self.folder!r}"):
            place = holding(self.folder)
        if place.notice is not None:
            self._appender.notices.append(place.notice)
        if place.shared:
            self._appender.environment["log_filesystem"] = place.name


def _opening(
    session: Session, kind: str, data: dict[str, Any], filesystem: str | None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return record 1 and its enclosures."""
    session.begin()
    log = new_uuid()
    fields = {
        "v": VERSION,
        "log": log,
        "type": kind,
        "phase": "event",
        "data": plain(data),
        **session.fields(log),
    }
    if filesystem is not None:
        fields["env"]["log_filesystem"] = filesystem
    slim, kept = enclosures.fit(fields)
    opening = slim | {"seq": 1, "prev": ZEROS, "time": stamp()}
    wrong = validate(opening)
    if wrong:
        raise CustodyError(f"a {kind} record cannot be written: {'; '.join(wrong)}", code="SCHEMA")
    return opening, kept
