"""Which exhibits somebody can hand over, and what there is to do where one is on its way already."""

from __future__ import annotations

import shlex
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from imgkit.custody.possession import State
from imgkit.custody.record import LIST_LIMIT
from imgkit.errors import UsageError
from imgkit.examination.people import acting, warn_of_gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.custody.possession import Custody
    from imgkit.examination import Examination
    from imgkit.examination.handover import Wish
    from imgkit.examination.ledger import Exhibit

Record = dict[str, Any]

_DESCRIBING = ("description", "source", "acquired")  # of what `case add` states


def chosen(examination: Examination, wish: Wish) -> list[Exhibit]:
    """Return the exhibits to hand over: those that are named, else all that the examiner can.

    Raises:
        UsageError: One is not known, or on its way already; there is none; they are too many.
    """
    ledger = examination.ledger
    known = {item.name: item for item in ledger.known()}
    names = list(dict.fromkeys(wish.exhibits))
    for name in (*names, *wish.images):
        if name not in known:
            raise UsageError(
                f"this case has no exhibit {name}", hint=f"it has {', '.join(known) or 'none yet'}"
            )
    for name in names:
        _check_not_repeated(examination, ledger.possession.original(name), wish)
    names = names or _to_give(examination)
    if len(names) > LIST_LIMIT:
        raise UsageError(f"{len(names)} exhibits are too many for one hand-over: at most {LIST_LIMIT}")
    for name in names:
        warn_of_gap(examination, name)
    return [known[name] for name in names]


def _check_not_repeated(examination: Examination, custody: Custody | None, wish: Wish) -> None:
    """The same hand-over once more is no second one: what may be missing is its bag.

    Raises:
        UsageError: The exhibit was handed over, by the same to the same, and is not back.
    """
    if custody is None or custody.state is not State.OFFERED or custody.giver is None:
        return
    if custody.giver.is_same(acting(examination)) and custody.holder.is_same(wish.to):
        raise UsageError(f"{custody.exhibit} {custody.told}", hint=hint_of_bag(examination, custody.line))


def _to_give(examination: Examination) -> list[str]:
    """The originals that this examiner can hand over: held, by them or with their authorisation.

    Raises:
        UsageError: There is none.
    """
    me, possession = acting(examination), examination.ledger.possession
    originals = [
        custody
        for item in examination.ledger.known()
        if (custody := possession.original(item.name)) is not None
    ]
    mine = [one.exhibit for one in originals if one.permits(me)]
    others = [one for one in originals if one.state is State.HELD and one.exhibit not in mine]
    if mine:
        for one in others:
            examination.notify(f"{one.exhibit} is left out: it {one.told}")
        return mine
    away = [one for one in originals if one.state is State.OFFERED]
    why = "; ".join(f"{one.exhibit} {one.told}" for one in (*others, *away)[:3])
    hint = (
        f"--exhibit {others[0].exhibit} hands it over all the same; that is a CUSTODY_GAP" if others else None
    )
    raise UsageError(
        f"this case has no exhibit that {me} could hand over" + (f": {why}" if why else ""),
        hint=hint or (hint_of_bag(examination, away[-1].line) if away else None),
    )


def hint_of_bag(examination: Examination, line: int) -> str:
    """Return what to type for the bag of a hand-over that is recorded."""
    case = f" --case {shlex.quote(examination.case.folder)}" if examination.case.why == "stated" else ""
    return f"imgkit case transfer --bag-only {line} -o BAG{case} makes the bag of that hand-over (again)"


def described(examination: Examination, exhibits: Sequence[Exhibit]) -> dict[str, Record]:
    """Return how each exhibit is described, as far as somebody corrected it since, corrected: who gets it has no other word."""
    found: dict[str, Record] = {
        one.name: deepcopy({key: one.added[key] for key in _DESCRIBING if key in one.added})
        for one in exhibits
    }
    names = {one.line: one.name for one in exhibits}
    for record in examination.log.records():
        if record["type"] == "correction.added" and record["data"].get("line") in names:
            _correct(found[names[record["data"]["line"]]], record["data"])
    return found


def _correct(facts: Record, correction: Record) -> None:
    top, *names = str(correction.get("field")).split(".")
    place: Any = facts
    for name in names[:-1]:
        place = place.get(name) if isinstance(place, dict) else None
    if top == "data" and names and isinstance(place, dict) and names[-1] in place:
        place[names[-1]] = correction.get("now")
