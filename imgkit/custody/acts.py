"""Intent and outcome of an act, and events, as fields of records; what is the same whether log or spool takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import new_uuid, plain
from imgkit.custody.schema import EVENT, INTENT, OUTCOME

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Intent:
    """An act that may begin: its intent is durable.

    Attributes:
        op: Joins the outcome to it.
        seq: Line of the log; 0 where only the spool has it.
        type: `evidence.attached` ...
        log: The log's uuid.
        record: As written.
    """

    op: str
    seq: int
    type: str
    log: str
    record: Mapping[str, Any] = field(repr=False)


def intent_fields(
    kind: str,
    data: Mapping[str, Any],
    *,
    exhibit: str | None = None,
    reason: str | None = None,
    authority: str | None = None,
    place: str | None = None,
) -> dict[str, Any]:
    """Return the fields of an intent with a new op."""
    fields = _fields(kind, INTENT, data, exhibit=exhibit, reason=reason, authority=authority, place=place)
    return fields | {"op": new_uuid()}


def outcome_fields(
    intent: Intent, result: str, data: Mapping[str, Any], error: Mapping[str, Any] | BaseException | None
) -> dict[str, Any]:
    """Return the fields of an intent's outcome, for the same exhibit."""
    fields = _fields(intent.type, OUTCOME, data, exhibit=intent.record.get("exhibit"))
    fields |= {"op": intent.op, "result": result}
    if error is not None:
        fields["error"] = error_fields(error) if isinstance(error, BaseException) else plain(dict(error))
    return fields


def event_fields(
    kind: str,
    data: Mapping[str, Any],
    *,
    exhibit: str | None = None,
    reason: str | None = None,
    authority: str | None = None,
    place: str | None = None,
) -> dict[str, Any]:
    """Return the fields of an event."""
    return _fields(kind, EVENT, data, exhibit=exhibit, reason=reason, authority=authority, place=place)


def error_fields(error: BaseException) -> dict[str, Any]:
    """Return `{class, errno, text}` of an exception; the errno is its own or its cause's."""
    number = next((e.errno for e in (error, error.__cause__) if isinstance(e, OSError)), None)
    fields: dict[str, Any] = plain({"class": type(error).__name__, "errno": number, "text": str(error)})
    return fields


def late(record: Mapping[str, Any], at: Mapping[str, Any], spool: str) -> dict[str, Any]:
    """Return a record's fields for a later entry: marked late, with the time of the act and a name to find it by."""
    stamped = ("v", "log", "seq", "prev", "time")
    fields = {key: value for key, value in record.items() if key not in stamped}
    return fields | {"late": True, "spool": spool, "data": {**record["data"], "at": dict(at)}}


def _fields(kind: str, phase: str, data: Mapping[str, Any], **optional: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = plain({"type": kind, "phase": phase, "data": dict(data), **optional})
    return fields
