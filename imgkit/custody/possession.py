"""Possession: who holds each original exhibit of a case, line by line, and which acts somebody else did on it.

Pure data: fed with the records of a log in order, it knows holder, authorised examiners, place, seals and offers. What does
not fit is told and never refused: the act was done, and the record of it is worth more than a log that looks right. Working
copies are free to everybody. An examiner's own log is no case, and nobody hands anything over in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.custody.record import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Record = dict[str, Any]
Gap = tuple[int, str]  # a line, and a sentence about it

# Taking down is no act on an exhibit: it ends access, whoever does it.
HANDLING = frozenset(
    f"evidence.{act}"
    for act in ("hashed", "verified", "inspected", "exposed", "compared", "attached", "mounted")
)
_SEEN = HANDLING | {
    *("case.opened", "log.opened", "evidence.added"),
    *(f"custody.{step}" for step in ("transferred", "received", "stored", "disposed")),
}
# What giver and receiver may do on the way: look whether it is the same, before its arrival (or return) is recorded.
_ON_THE_WAY = frozenset({"evidence.hashed", "evidence.verified"})
_NAME_SHOWN = 120  # characters of a name in a sentence
_ORIGINS = 20  # the last ones: an exhibit that went through more hands is found by the next to last, too


class Origin(NamedTuple):
    """What an exhibit is in another log that it came from.

    Attributes:
        log: The uuid.
        exhibit: Its name there.
    """

    log: str
    exhibit: str


class State(StrEnum):
    """Where an exhibit is in its life."""

    HELD = "held"
    OFFERED = "offered"  # handed over, and its arrival not recorded here
    DISPOSED = "disposed"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as a log names them; the same person is who has the same id.

    Attributes:
        name: As stated.
        id: An address or account.
    """

    name: str
    id: str

    def __str__(self) -> str:
        return printable(f"{self.name} <{self.id}>")[:_NAME_SHOWN]

    def is_same(self, other: Person) -> bool:
        """Whether both statements name one person: capitals and blanks around an id do not matter."""
        return self.id.strip().casefold() == other.id.strip().casefold()

    @classmethod
    def of(cls, fields: object) -> Person | None:
        """Return whom the `actor`, `to` or `by` of a record names; None where it names nobody."""
        if not isinstance(fields, dict):
            return None
        name, own_id = fields.get("name"), fields.get("id")
        return cls(name, own_id) if isinstance(name, str) and isinstance(own_id, str) else None


@dataclass(slots=True)
class Custody:
    """One exhibit, as far as the log has been read.

    Attributes:
        exhibit: EX1 …
        holder: Who holds it; while it is offered, whom it is offered to.
        state: Where it is in its life.
        line: Of the record that made it so.
        copy_of: The original, where this is a working copy: then nothing else here means anything.
        authorised: Who else may examine it.
        place: Where its holder keeps it, as last stated, or None.
        seals: As last stated.
        giver: Who offered it, while it is offered.
        added: Line of the intent that added it.
        origins: What it is in the logs of those who had it before, the first one first.
    """

    exhibit: str
    holder: Person
    line: int
    added: int
    state: State = State.HELD
    copy_of: str | None = None
    authorised: tuple[Person, ...] = ()
    place: str | None = None
    seals: tuple[str, ...] = ()
    giver: Person | None = None
    origins: tuple[Origin, ...] = ()

    def permits(self, person: Person, act: str = "") -> bool:
        """Whether that person holds it, or is authorised to examine it, and it is there to be examined."""
        if self.copy_of is not None:
            return True
        if self.state is State.OFFERED and act in _ON_THE_WAY:
            return any(person.is_same(one) for one in (self.holder, self.giver) if one is not None)
        return self.state is State.HELD and self.is_of(person)

    def is_of(self, person: Person) -> bool:
        """Whether that person holds it or is authorised."""
        return any(person.is_same(one) for one in (self.holder, *self.authorised))

    @property
    def told(self) -> str:
        """Its state in words: `is held by Jane Doe <jane@lab> since line 3`."""
        if self.state is State.DISPOSED:
            return f"was disposed of at line {self.line}"
        if self.state is State.OFFERED:
            return (
                f"was handed over to {self.holder} at line {self.line} and is not recorded here as received"
            )
        return f"is held by {self.holder} since line {self.line}"


@dataclass(slots=True)
class Possession:
    """Who holds what: see() every record in order, then ask.

    Attributes:
        exhibits: By name, in the order they were added; those whose addition failed are left out.
        log: The log's uuid, as its line 1 says.
        is_case: Whether the log is a case's; an examiner's own log has no possession.
    """

    exhibits: dict[str, Custody] = field(default_factory=dict)
    log: str | None = None
    is_case: bool = True
    _adding: dict[str, str] = field(default_factory=dict)

    def see(self, record: Mapping[str, Any]) -> list[Gap]:
        """Take the next record; return what does not fit: its line and a sentence each. Never raises."""
        kind, phase = record.get("type"), record.get("phase")
        if (
            not isinstance(kind, str)
            or kind not in _SEEN
            or (phase == "outcome" and kind != "evidence.added")
        ):
            return []  # most records: they change nothing
        if kind in ("case.opened", "log.opened"):
            self.log, self.is_case = record.get("log"), kind == "case.opened"
        actor = Person.of(record.get("actor"))
        if not self.is_case or actor is None or not isinstance(record.get("data"), dict):
            return []
        if phase == "event":
            return [(record["seq"], text) for text in self._event(record, actor)]
        if kind == "evidence.added":
            self._added(record, actor)
        elif phase == "intent" and kind in HANDLING:
            return [(record["seq"], text) for text in self._handled(record, actor)]
        return []

    def original(self, name: object) -> Custody | None:
        """Return an exhibit that is no working copy, or None."""
        found = self.exhibits.get(name) if isinstance(name, str) else None
        return found if found is not None and found.copy_of is None else None

    def copies(self, name: str) -> list[str]:
        """Return the working copies of an exhibit."""
        return [item.exhibit for item in self.exhibits.values() if item.copy_of == name]

    def _added(self, record: Mapping[str, Any], actor: Person) -> None:
        """The intent takes the name: of two runs at once the earlier line has it. A failed addition was none."""
        name, op = record.get("exhibit"), record.get("op")
        if not isinstance(name, str) or not isinstance(op, str):
            return
        if record["phase"] == "outcome":
            if self._adding.pop(op, None) == name and record.get("result") != "ok":
                del self.exhibits[name]
            return
        if name in self.exhibits:
            return
        data, line = record["data"], record["seq"]
        original = self.original(data.get("copy_of"))
        self.exhibits[name] = Custody(
            name,
            actor,
            line,
            line,
            copy_of=original.exhibit if original is not None else None,
            authorised=_people(data.get("authorised")) or (),
        )
        self._adding[op] = name

    def _handled(self, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        custody = self.original(record.get("exhibit"))
        if custody is not None and not custody.permits(actor, str(record["type"])):
            act = str(record["type"]).removeprefix("evidence.")
            yield f"{custody.exhibit} is {act} by {actor}, and {custody.told}"

    def _event(self, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        step = {
            "custody.transferred": self._transferred,
            "custody.received": self._received,
            "custody.stored": self._stored,
            "custody.disposed": self._disposed,
        }.get(str(record["type"]))
        if step is None:
            return
        for name, facts in _exhibits(record):
            custody = self.original(name)
            if custody is None:
                continue
            # Who may not store it may not authorise others either; where it lies is so, whoever put it there.
            entitled = record["type"] != "custody.stored" or custody.permits(actor)
            yield from step(custody, record, actor)
            _learn(custody, record["data"], people=entitled)
            _learn(custody, facts, people=entitled)
            if custody.state is not State.HELD:
                custody.place = None  # where it changed hands is not where it is now
            if record["type"] == "custody.received":
                _learn_origins(custody, record["data"], facts, self.log)

    def _transferred(self, custody: Custody, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        giver = Person.of(record["data"].get("from")) or actor
        for who in (giver,) if giver.is_same(actor) else (giver, actor):
            if not custody.permits(who):
                yield f"{custody.exhibit} is handed over by {who}, and {custody.told}"
        to = Person.of(record["data"].get("to"))
        if to is None:
            yield f"{custody.exhibit} is handed over to nobody who is named"
            return
        custody.giver, custody.holder, custody.state = giver, to, State.OFFERED
        custody.line, custody.authorised = record["seq"], ()

    def _received(self, custody: Custody, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        offer = record["data"].get("offer")
        foreign = isinstance(offer, dict) and isinstance(offer.get("log"), str) and offer["log"] != self.log
        offered = custody.state is State.OFFERED
        # Received once more by who holds it, as after a crash: nothing goes from hand to hand.
        theirs = custody.is_of(actor) if foreign else custody.holder.is_same(actor)
        if custody.state is State.DISPOSED or not (offered or theirs):
            yield f"{custody.exhibit} is received by {actor} without having been offered: it {custody.told}"
        elif offered and not foreign and not custody.holder.is_same(actor):
            yield f"{custody.exhibit} is received by {actor}, and {custody.told}"
        if custody.state is not State.DISPOSED:
            custody.giver, custody.holder, custody.state = None, actor, State.HELD
            custody.line, custody.place = record["seq"], None

    def _stored(self, custody: Custody, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        del record
        if not custody.permits(actor):
            yield f"{custody.exhibit} is stored by {actor}, and {custody.told}"

    def _disposed(self, custody: Custody, record: Mapping[str, Any], actor: Person) -> Iterator[str]:
        if not custody.permits(actor):
            yield f"{custody.exhibit} is disposed of by {actor}, and {custody.told}"
        custody.state, custody.line = State.DISPOSED, record["seq"]


def _exhibits(record: Mapping[str, Any]) -> list[tuple[object, Mapping[str, Any]]]:
    """The exhibits that a custody.* record is about, each with what it says of it alone."""
    listed = record["data"].get("exhibits")
    found: list[tuple[object, Mapping[str, Any]]] = []
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            found.append((item.get("exhibit"), item))
        else:
            found.append((item, {}))
    return found or [(record.get("exhibit"), {})]


def _learn(custody: Custody, facts: Mapping[str, Any], *, people: bool) -> None:
    """What custody.* states besides who: examiners (where `people`), place and seals; the last statement counts."""
    examiners = _people(facts.get("authorised")) if people else None
    if examiners is not None:
        custody.authorised = examiners
    if isinstance(place := facts.get("place"), str):
        custody.place = place
    seals = facts.get("seals")
    if isinstance(seals, list):
        custody.seals = tuple(seal for seal in seals if isinstance(seal, str))


def origins_of(facts: Mapping[str, Any]) -> tuple[Origin, ...]:
    """Return the origins that the record of a hand-over states of one exhibit; what is none is left out."""
    listed = facts.get("origins")
    items = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found = (_origin(one.get("log"), one.get("exhibit")) for one in items)
    return tuple(one for one in found if one is not None)[-_ORIGINS:]


def _origin(log: object, exhibit: object) -> Origin | None:
    return Origin(log, exhibit) if isinstance(log, str) and isinstance(exhibit, str) else None


def _learn_origins(
    custody: Custody, data: Mapping[str, Any], facts: Mapping[str, Any], own: str | None
) -> None:
    """Where an exhibit came from, and where it was before that: so that it is known again when it comes home."""
    offer = data.get("offer")
    last = _origin(offer.get("log"), facts.get("theirs")) if isinstance(offer, dict) else None
    if last is None or last.log == own:
        return
    known = dict.fromkeys((*custody.origins, *origins_of(facts), last))
    custody.origins = tuple(one for one in known if one.log != own)[-_ORIGINS:]


def _people(listed: object) -> tuple[Person, ...] | None:
    if not isinstance(listed, list):
        return None
    people = (Person.of(one) for one in listed)
    return tuple(one for one in people if one is not None)
