"""The spool: records that their log could not take wait in the host's state folder, durable, until it can.

A spooled file holds the fields of the late record in one line and, where the log may have lost it, those of its intent
in a second one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.acts import Intent, event_fields, intent_fields, late, outcome_fields
from imgkit.custody.clock import stamp
from imgkit.custody.record import ZEROS, decode_document, encode_document, new_uuid, plain
from imgkit.custody.schema import INTENT, OUTCOME, validate
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.custody.session import Session
    from imgkit.custody.state import StateFolder


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record that waits.

    Attributes:
        name: Its file in the spool.
        fields: Of the late record.
        intent: Fields of the late intent, for a log that does not have it; None where `fields` stands alone.
    """

    name: str
    fields: dict[str, Any]
    intent: dict[str, Any] | None


def put(
    session: Session, log: str, fields: Mapping[str, Any], *, intent: Mapping[str, Any] | None = None
) -> None:
    """Keep a record for that log, durable.

    Raises:
        CustodyError: Code SCHEMA: the log could never take it. Else the spool cannot be written to.
    """
    now, name = stamp(), new_uuid()
    record = {**session.fields(log), **plain(dict(fields))}
    common = {"v": 1, "log": log, "seq": 2, "prev": ZEROS, "time": now}
    wrong = validate(common | record)
    if wrong:
        raise CustodyError(f"a {fields.get('type')} record cannot be kept: {'; '.join(wrong)}", code="SCHEMA")
    document = encode_document(late(record, now, name))
    if intent is not None:
        document += encode_document(late(intent, intent.get("time", now), f"{name}.intent"))
    session.state.put_in_spool(log, f"{time.time_ns():020d}-{name}.json", document)


def waiting(state: StateFolder, log: str) -> list[Spooled]:
    """Return what waits for that log, oldest first.

    Raises:
        CustodyError: A spooled file is unreadable or damaged.
    """
    return [_parse(name, state.from_spool(log, name)) for name in state.in_spool(log)]


def _parse(name: str, document: bytes) -> Spooled:
    try:
        record, *rest = [decode_document(line) for line in document.splitlines(keepends=True)]
        return Spooled(name, dict(record), dict(rest[0]) if rest else None)
    except (CustodyError, ValueError, TypeError) as error:
        raise CustodyError(
            f"spooled record {name!r} is damaged", hint="keep the file, and say so in a note"
        ) from error


class SpooledLog:
    """Stands in for a CustodyLog that cannot be reached while something must be taken down: everything goes to the spool.

    Attributes:
        uuid: Of the log that shall have the records.
        path: Where it was last seen, or None.
        session: Whose records these are.
    """

    def __init__(self, uuid: str, session: Session, *, path: str | None = None) -> None:
        self.uuid = uuid
        self.path = path
        self.session = session

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
        """As CustodyLog.intent; `seq` of the answer is 0.

        Raises:
            CustodyError: The spool cannot be written to either.
        """
        self.session.begin()
        fields = intent_fields(kind, data, exhibit=exhibit, reason=reason, authority=authority, place=place)
        put(self.session, self.uuid, fields)
        record = {**self.session.fields(self.uuid), **fields, "time": stamp()}
        return Intent(fields["op"], 0, kind, self.uuid, record)

    def outcome(
        self,
        intent: Intent,
        result: str,
        data: Mapping[str, Any],
        *,
        error: Mapping[str, Any] | BaseException | None = None,
    ) -> int:
        """As CustodyLog.outcome; the answer is 0.

        Raises:
            CustodyError: The spool cannot be written to either.
        """
        record = intent.record if intent.seq else None  # an intent of the spool waits there itself
        put(self.session, self.uuid, outcome_fields(intent, result, data, error), intent=record)
        return 0

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
        """As CustodyLog.event; the answer is 0.

        Raises:
            CustodyError: The spool cannot be written to either.
        """
        self.session.begin()
        fields = event_fields(kind, data, exhibit=exhibit, reason=reason, authority=authority, place=place)
        put(self.session, self.uuid, fields)
        return 0


def spool_pair(
    session: Session,
    log: str,
    kind: str,
    *,
    intent_data: Mapping[str, Any],
    result: str,
    outcome_data: Mapping[str, Any],
    exhibit: str | None = None,
    reason: str | None = None,
    error: Mapping[str, Any] | BaseException | None = None,
) -> Intent:
    """Keep intent and outcome of an act for a log that could not be reached at all.

    Raises:
        CustodyError: The spool cannot be written to.
    """
    stand_in = SpooledLog(log, session)
    intent = stand_in.intent(kind, intent_data, exhibit=exhibit, reason=reason)
    stand_in.outcome(intent, result, outcome_data, error=error)
    return intent


def is_recorded(spooled: Mapping[str, Any], lines: bytes) -> bool:
    """Whether a log already has that record: by its spool name, or an outcome of the same op."""
    if f'"spool":"{spooled["spool"]}"'.encode() in lines:
        return True
    phase = spooled["phase"]
    return phase in (INTENT, OUTCOME) and f'"op":"{spooled["op"]}","phase":"{phase}"'.encode() in lines
