"""Records into acts: an intent with its outcome, who ran what, and what was said later of a line."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from imgkit.custody.schema import EVENT, INTENT, OUTCOME
from imgkit.reports.acts import Act, Correction, Session
from imgkit.reports.values import actor, in_words, mapping, moment, number, session, text, with_enclosed

if TYPE_CHECKING:
    from imgkit.custody.verify.lines import Line
    from imgkit.reports.values import Data, Enclosures


class Joined:
    """The acts of a log. take() every sound line in order; acts() afterwards.

    Attributes:
        sessions: Session uuid -> the run, in order.
        corrections: Line -> what was said of it later.
    """

    def __init__(self, enclosures: Enclosures) -> None:
        """Args: `enclosures` returns the bytes of an enclosure, or None."""
        self._enclosures = enclosures
        self._begins: list[Line] = []
        self._outcomes: dict[str, list[Line]] = defaultdict(list)
        self._reconciled: dict[str, list[Line]] = defaultdict(list)
        self.sessions: dict[str, Session] = {}
        self.corrections: dict[int, list[Correction]] = defaultdict(list)

    def take(self, line: Line) -> None:
        """Add a line whose record keeps to the format."""
        record = line.record
        self._run(line.number, record)
        if record["phase"] == OUTCOME:
            self._outcomes[record["op"]].append(line)
            return
        self._begins.append(line)
        if record["type"] == "op.reconciled":
            self._reconciled[record["data"]["op"]].append(line)
        elif record["type"] == "correction.added":
            found = _correction(line.number, record)
            self.corrections[found.of].append(found)

    def _run(self, line: int, record: Data) -> None:
        uuid = record["session"]
        known = self.sessions.get(uuid)
        if "env" in record and (known is None or not known.line):
            env = with_enclosed(record["env"], self._enclosures)
            self.sessions[uuid] = session(uuid, line, mapping(env))
        elif known is None:
            self.sessions[uuid] = Session(uuid)

    def acts(self) -> list[Act]:
        """Everything in the order of its first line; an outcome that nothing announced stands alone."""
        begun = {line.record["op"] for line in self._begins if line.record["phase"] == INTENT}
        orphans = [one for op, lines in self._outcomes.items() if op not in begun for one in lines]
        found = [self._act(line) for line in self._begins] + [self._act(line) for line in orphans]
        return sorted(found, key=lambda act: act.line)

    def _act(self, line: Line) -> Act:
        record, end = line.record, self._end_of(line)
        closed = line if record["phase"] == OUTCOME else end
        late = [one.record for one in (line, end) if one is not None and "late" in one.record]
        asked = self._data(record)
        reconciled = self._reconciled.get(record.get("op", ""), [])
        return Act(
            line=line.number,
            hash=line.hash,
            type=record["type"],
            time=moment(record["time"]),
            actor=actor(record["actor"]),
            session=self.sessions[record["session"]],
            exhibit=text(record.get("exhibit")),
            **{key: self._text(record.get(key)) for key in ("reason", "authority", "place")},
            asked=asked,
            data=(self._data(end.record) if end else {}) or asked,
            is_event=record["phase"] == EVENT,
            ended_line=end.number if end else None,
            ended_hash=end.hash if end else "",
            ended=moment(end.record["time"]) if end else None,
            result=_result(record, closed, reconciled),
            error=self._error(closed),
            late=bool(late),
            at=moment(late[-1]["data"]["at"]) if late else None,
            begun=moment(record["data"]["at"] if "late" in record else record["time"]),
            written=moment(late[-1]["time"]) if late else None,
            reconciled=tuple(one.number for one in reconciled),
            corrections=tuple(
                found for one in (line, end) if one is not None for found in self._said_of(one.number)
            ),
        )

    def _said_of(self, line: int) -> list[Correction]:
        return self.corrections.get(line, [])

    def _end_of(self, line: Line) -> Line | None:
        """The outcome of an intent: the last, if a forger wrote two."""
        lines = self._outcomes.get(line.record["op"], []) if line.record["phase"] == INTENT else []
        return lines[-1] if lines else None

    def _data(self, record: Data) -> Data:
        return mapping(with_enclosed(record["data"], self._enclosures))

    def _text(self, value: Any) -> str:
        return text(with_enclosed(value, self._enclosures))

    def _error(self, closed: Line | None) -> str:
        error = mapping(closed.record.get("error")) if closed else {}
        said = self._text(error.get("text"))
        kind = text(error.get("class"))
        return f"{kind}: {said}" if kind and said else said or kind or in_words(error)


def _result(record: Data, closed: Line | None, reconciled: list[Line]) -> str:
    if record["phase"] == EVENT:
        return ""
    if closed is not None:
        return text(closed.record["result"])
    return text(reconciled[-1].record["data"]["result"]) if reconciled else "open"


def _correction(line: int, record: Data) -> Correction:
    data = record["data"]
    return Correction(
        line=line,
        of=number(data["line"]) or 0,
        **{key: text(data.get(key)) for key in ("field", "was", "now", "why")},
        actor=actor(record["actor"]),
        time=moment(record["time"]),
    )
