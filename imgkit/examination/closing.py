"""What ends or vouches for a part of a case: stored, disposed of, reviewed, sealed, reopened."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from imgkit.custody.possession import Person
from imgkit.custody.reading import lines_of
from imgkit.custody.record import decode, line_hash
from imgkit.custody.verify import verify_log
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.people import acting, fields, require_case, warn_of_gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.custody.checkpoints import Made
    from imgkit.examination import Examination

Record = dict[str, Any]

# What people do and state; papers over it (checkpoints, receipts, exports, reviews) may be anybody's.
_WORK = ("evidence.", "custody.", "note.", "enclosure.", "correction.", "case.sealed", "case.reopened")
_BYSTANDING = ("evidence.gone",)  # told by whichever run comes next


def store(
    examination: Examination,
    exhibits: Sequence[str],
    *,
    place: str,
    seals: Sequence[str],
    condition: str | None,
    authorised: Sequence[Person],
) -> Record:
    """Record where exhibits are kept from now on, and who may examine them; the document of `case store`."""
    data: Record = {"place": place, "condition": condition}
    if seals:
        data["seals"] = list(seals)
    if authorised:
        data["authorised"] = [fields(one) for one in authorised]
    return _concerning(examination, "custody.stored", exhibits, data) | {
        "schema": "imgkit.case.store.v1",
        "place": place,
    }


def dispose(
    examination: Examination,
    exhibits: Sequence[str],
    *,
    method: str,
    authority: str | None,
    witness: Sequence[Person],
) -> Record:
    """Record that exhibits are no more, or no longer ours; the document of `case dispose`."""
    data: Record = {"method": method, "authority": authority}
    if witness:
        data["witnesses"] = [fields(one) for one in witness]
    return _concerning(examination, "custody.disposed", exhibits, data) | {
        "schema": "imgkit.case.dispose.v1",
        "method": method,
    }


def _concerning(examination: Examination, kind: str, exhibits: Sequence[str], data: Record) -> Record:
    require_case(examination, "custody")
    known = [item.name for item in examination.ledger.known()]
    names = list(dict.fromkeys(exhibits))
    for name in names:
        if name not in known:
            raise UsageError(
                f"this case has no exhibit {name}", hint=f"it has {', '.join(known) or 'none yet'}"
            )
        warn_of_gap(examination, name)
    listed = [{"exhibit": name} for name in names]
    line = examination.event(
        kind, {**data, "exhibits": listed}, exhibit=names[0] if len(names) == 1 else None
    )
    return {"line": line, "exhibits": names, "records": examination.records}


def review(examination: Examination, first: int, last: int | None, *, note: str | None) -> Record:
    """Record that a second pair of eyes has read lines; the document of `case review`.

    Raises:
        UsageError: No such lines, or the reviewer's own work is among them.
        CustodyError: The log does not verify: there is nothing to sign off.
    """
    log, me = examination.log, acting(examination)
    verification = verify_log(log.folder, state=examination.presence.state)
    if verification.failed:
        codes = ", ".join(sorted({one.code for one in verification.findings if one.severity == "FAIL"}))
        raise CustodyError(
            f"the log does not verify ({codes}): there is nothing to sign off", hint="imgkit log verify"
        )
    last = verification.lines if last is None else last
    if not 1 <= first <= last <= verification.lines:
        raise UsageError(f"the log has lines 1 to {verification.lines}, not {first} to {last}")
    own, people, head = _read(examination, first, last, me)
    if own:
        shown = ", ".join(map(str, own[:5])) + (" …" if len(own) > 5 else "")  # noqa: PLR2004  (enough to find them)
        raise UsageError(
            f"{me} wrote line{'s' if len(own) > 1 else ''} {shown}: nobody reviews their own work",
            hint="another examiner reviews, or other lines: --lines FIRST-LAST",
        )
    data: Record = {"first": first, "last": last, "head": head, "findings": sorted(verification.codes)}
    data |= {"of": [fields(one) for one in people[:50]], "note": note}
    line = examination.event("record.reviewed", data)
    return {
        "schema": "imgkit.case.review.v1",
        "line": line,
        "first": first,
        "last": last,
        "head": head,
        "findings": sorted(verification.codes),
        "of": data["of"],
        "records": examination.records,
    }


def _read(examination: Examination, first: int, last: int, me: Person) -> tuple[list[int], list[Person], str]:
    """The lines among these that are the reviewer's work, whose work all of it is, and the hash of the last line."""
    own: list[int] = []
    people: dict[str, Person] = {}
    head = ""
    for number, (_offset, line) in enumerate(lines_of(examination.log.path, examination.log.identity), 1):
        if number > last:
            break
        head = line_hash(line)
        if number < first:
            continue
        who = _worker(line)
        if who is not None:
            people.setdefault(who.id.strip().casefold(), who)
            if who.is_same(me):
                own.append(number)
    return own, list(people.values()), head


def _worker(line: bytes) -> Person | None:
    try:
        record = decode(line)
    except CustodyError:
        return None  # torn, and sealed by log.recovered: verification has judged it
    kind = record["type"]
    return Person.of(record["actor"]) if kind.startswith(_WORK) and kind not in _BYSTANDING else None


def seal(examination: Examination, *, note: str | None, signer: str | None) -> tuple[Record, Made]:
    """Seal the case: record, then checkpoint; return the document of `case seal`, and the checkpoint.

    Raises:
        UsageError: Something of it is still attached or exposed.
        CustodyError: It is sealed already, or the log refuses.
    """
    require_case(examination, "a seal")
    attached = [str(item.data["device"]) for item in examination.ledger.attachments.values()]
    if attached:
        raise UsageError(
            f"something of this case is still attached: {', '.join(attached[:5])}",
            hint="imgkit unmount --all and imgkit detach --all take it down",
        )
    exposed = [item.target for item in examination.ledger.exposures.values()]
    if exposed:
        raise UsageError(
            f"something of this case is still exposed: {', '.join(exposed[:5])}",
            hint=f"imgkit unexpose {shlex.quote(exposed[0])} takes it down",
        )
    line = examination.event("case.sealed", {"note": note})
    made = _checkpoint(examination, "seal", line, signer)
    return _closed(examination, "imgkit.case.seal.v1", line, made), made


def reopen(examination: Examination, *, signer: str | None) -> tuple[Record, Made]:
    """Reopen a sealed case, with the reason that the examination was given; return its document, and the checkpoint."""
    require_case(examination, "a seal")
    line = examination.event("case.reopened", {"sealed_at": examination.ledger.sealed_at})
    made = _checkpoint(examination, "reopen", line, signer)
    return _closed(examination, "imgkit.case.reopen.v1", line, made), made


def _checkpoint(examination: Examination, reason: str, line: int, signer: str | None) -> Made:
    """Make the checkpoint over it; without one it is recorded all the same, and nobody should think otherwise."""
    try:
        return examination.checkpoint(reason, signer=signer)
    except CustodyError as error:
        done = {"seal": "sealed", "reopen": "reopened"}[reason]
        raise CustodyError(
            f"the case is {done}, at line {line}, but there is no checkpoint over it yet: {error.message}",
            code=error.code,
            hint="imgkit log checkpoint makes one",
        ) from error


def _closed(examination: Examination, schema: str, line: int, made: Made) -> Record:
    return {
        "schema": schema,
        "line": line,
        "checkpoint": made.checkpoint.n,
        "signed": made.signed,
        "receipt": str(made.checkpoint.receipt),
        "records": examination.records,
    }
