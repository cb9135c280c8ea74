"""People as options name them, and hand-overs as records tell them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from imgkit.custody.possession import Person
from imgkit.custody.record import printable
from imgkit.errors import CustodyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgkit.examination import Examination

Record = dict[str, Any]

_NAMED = re.compile(r"\s*(?P<name>[^<>]*[^<>\s])\s*<\s*(?P<id>[^<>]*[^<>\s])\s*>\s*")


def person(text: str, option: str) -> Person:
    """Return whom `Bob Roe <bob@court.example>` names; the id is asked for, because it tells people apart.

    Raises:
        UsageError: It is not NAME <ID>.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{option} takes NAME <ID>, not {text!r}",
            hint=f"for example {option} 'Bob Roe <bob@court.example>'",
        )
    return Person(printable(match["name"]), printable(match["id"]))


def people(texts: Iterable[str] | None, option: str) -> list[Person]:
    """Return everybody who is named.

    Raises:
        UsageError: One is not NAME <ID>.
    """
    return [person(text, option) for text in texts or ()]


def fields(who: Person) -> dict[str, str]:
    """Return a person as a record has them."""
    return {"name": who.name, "id": who.id}


def acting(examination: Examination) -> Person:
    """Return who acts."""
    return Person(examination.examiner.name, examination.examiner.id)


def require_case(examination: Examination, what: str) -> None:
    """Refuse what only a case has.

    Raises:
        UsageError: This is the examiner's own log.
    """
    if examination.log.opening["type"] != "case.opened":
        raise UsageError(
            f"{what} needs a case, and this is your own log", hint="name the case with --case DIR"
        )


def require_unsealed(examination: Examination) -> None:
    """Refuse at once what a sealed case would refuse after hours of reading.

    Raises:
        CustodyError: Code SEALED.
    """
    if examination.ledger.sealed_at is not None:
        raise CustodyError(
            f"custody log {examination.log.path!r} was sealed at line {examination.ledger.sealed_at}",
            code="SEALED",
            hint="imgkit case reopen --reason TEXT",
        )


def warn_of_gap(examination: Examination, exhibit: str | None, act: str = "") -> None:
    """Say once a run and exhibit that an act will be a CUSTODY_GAP; it is done and recorded all the same."""
    custody = examination.ledger.possession.original(exhibit)
    if custody is None or custody.exhibit in examination.warned:
        return
    me = acting(examination)
    if not custody.permits(me, act):
        examination.warned.add(custody.exhibit)
        examination.notify(
            f"CUSTODY_GAP: {custody.exhibit} {custody.told}; what you do with it is recorded, and so is that"
            + same_name(me, custody.holder)
        )


def same_name(me: Person, other: Person) -> str:
    """A hint for somebody who works on two hosts with an id of each: they count as two people."""
    if me.is_same(other) or me.name.strip().casefold() != other.name.strip().casefold():
        return ""
    return f"; you are {me} here: if that is one person, say --examiner '{other}'"
