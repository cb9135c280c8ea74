"""What a report knows of one thing that was done: who, when, with what, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time stamp of a record.

    Attributes:
        utc: `2026-05-01T12:34:56.123456Z`.
        tz: Offset of the place where it was recorded: `+02:00`.
        sync: `ok`, or `unsync` where nothing kept the clock right.
    """

    utc: str
    tz: str
    sync: str = "ok"

    def __str__(self) -> str:
        return f"{self.utc[:10]} {self.utc[11:19]} UTC ({self.tz})"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted; name and id are what was stated."""

    name: str
    id: str
    role: str = ""
    org: str = ""

    def __str__(self) -> str:
        further = ", ".join(word for word in (self.role, self.org) if word)
        return f"{self.name} <{self.id}>" + (f", {further}" if further else "")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the tool, as its first record describes it; every field is empty where that record does not say.

    Attributes:
        id: The session's uuid.
        line: The record that describes it; 0 where none does.
        tool: Name and version: `imgkit 0.1.0`.
        version: Version alone.
        record_sha256: SHA-256 of the tool's installed file list.
        python: Version.
        kernel: Version.
        host: Name of the host.
        libraries: Name and version of each.
        argv: The command, secrets replaced.
        env: All of it, as recorded.
    """

    id: str
    line: int = 0
    tool: str = ""
    version: str = ""
    record_sha256: str = ""
    python: str = ""
    kernel: str = ""
    host: str = ""
    libraries: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    env: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Correction:
    """A later statement that a field of a line should read otherwise; the line itself stays as it is.

    Attributes:
        line: Line of the correction.
        of: The line it corrects.
        field: Dotted: `data.description`.
        was: What the line says.
        now: What it should say.
        why: The reason.
        actor: Who says so.
        time: When.
    """

    line: int
    of: int
    field: str
    was: str
    now: str
    why: str
    actor: Actor
    time: Moment


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that was done: an intent with its outcome, or an event.

    Attributes:
        line: Line of the intent, or of the event.
        hash: H(line).
        type: `evidence.hashed` ...
        time: When the line was written.
        actor: Who acted.
        session: The run of the tool.
        exhibit: EX1, or empty.
        reason: In the actor's words, or empty; so authority and place.
        authority: Warrant, order or consent.
        place: Where.
        asked: Data of the intent; of an event as `data`.
        data: Data of the outcome, where there is one that says something; else as `asked`. Lists that lie in an enclosure
            are put in their place where the enclosure is there.
        is_event: Whether it is no act with intent and outcome but something that was stated or happened.
        ended_line: Line of the outcome, or None.
        ended_hash: H of it, or empty.
        ended: When the outcome was written, or None.
        result: `ok`, `failed`, `interrupted`, `unknown`; `open` where nothing closed it; empty of an event.
        error: What went wrong, or empty.
        late: Whether a line of it was written after the fact.
        at: When it was done, where that was recorded late.
        begun: When it was begun, as far as the log says: before its first line was written, where that one is late.
        written: When the last late line of it was written, or None.
        reconciled: Lines of `op.reconciled` about it.
        corrections: What was said later of its lines.
    """

    line: int
    hash: str
    type: str
    time: Moment
    actor: Actor
    session: Session
    exhibit: str
    reason: str
    authority: str
    place: str
    asked: Data
    data: Data
    is_event: bool
    ended_line: int | None
    ended_hash: str
    ended: Moment | None
    result: str
    error: str
    late: bool
    at: Moment | None
    begun: Moment
    written: Moment | None
    reconciled: tuple[int, ...]
    corrections: tuple[Correction, ...]

    @property
    def exhibits(self) -> tuple[str, ...]:
        """The exhibits it is about: a hand-over may be of several."""
        listed = self.data.get("exhibits") if self.type.startswith("custody.") else None
        names = [self.exhibit]
        for item in listed if isinstance(listed, list) else ():
            name = item.get("exhibit") if isinstance(item, dict) else item
            names += [name] if isinstance(name, str) else []
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def fact_line(self) -> int:
        """The line that states what came of it: of the outcome, else its own."""
        return self.ended_line or self.line

    @property
    def when(self) -> Moment:
        """When it was done, as far as the log says."""
        return self.at or self.ended or self.time

    @property
    def lines(self) -> tuple[int, ...]:
        """Its lines, in order."""
        return (self.line,) if self.ended_line is None else (self.line, self.ended_line)
