"""What is done to a case rather than to evidence: made, described, noted, corrected, shown."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from imgkit.custody.log import CustodyLog
from imgkit.custody.record import printable
from imgkit.custody.schema import validate
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.cases import identity_in
from imgkit.examination.checkpointing import checkpoint_by_policy
from imgkit.examination.ledger import fold
from imgkit.examination.people import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from imgkit.custody.possession import Person
    from imgkit.examination import Examination
    from imgkit.examination.ledger import Exhibit, Ledger, OwnDigest
    from imgkit.examination.presence import Presence
    from imgkit.hashing import Digest

Record = dict[str, Any]

CORRECTABLE = (
    "actor",
    "authority",
    "data",
    "exhibit",
    "place",
    "reason",
)  # what people state; not what chains the log


def new_case(
    presence: Presence,
    folder: str,
    facts: Mapping[str, str | None],
    *,
    policy: Mapping[str, str] | None = None,
    notify: Callable[[str], object] = bool,  # nobody listens
) -> Record:
    """Make a case folder; return the document of `case new`.

    Args:
        presence: Who opens it.
        folder: Where.
        facts: number, title, agency …: what is known.
        policy: What the case asks for, as checkpointing.policy_fields gives it.
        notify: Called with one line for the examiner.

    Raises:
        CustodyError: It holds a log already, or cannot be written.
    """
    if not folder:
        raise UsageError("the name of the folder is empty")
    data: Record = {key: value for key, value in facts.items() if value is not None}
    if policy is not None:
        data["policy"] = dict(policy)
    place = os.path.abspath(folder)
    with presence.session:
        log = CustodyLog.create(
            place, presence.session, kind="case.opened", data=data, identity=identity_in(place)
        )
        checkpoint_by_policy(log, presence, notify)
    return {
        "schema": "imgkit.case.new.v1",
        "folder": place,
        "log": log.path,
        "uuid": log.uuid,
        "case": data,
        "records": {"log": log.uuid, "seq": [1, 1]},
    }


def describe(
    *,
    description: str | None,
    source: Mapping[str, str | None],
    acquired: Mapping[str, str | None],
    stated: Iterable[Digest],
    copy_of: str | None = None,
    authorised: Iterable[Person] = (),
) -> Record:
    """The data of an `evidence.added` beyond the files: only what is known."""
    data: Record = {}
    if description is not None:
        data["description"] = description
    for key, facts in (("source", source), ("acquired", acquired)):
        if known := {name: value for name, value in facts.items() if value is not None}:
            data[key] = known
    if digests := [{"digest": str(digest), "source": "stated when it was added"} for digest in stated]:
        data["stated"] = digests
    if copy_of is not None:
        data["copy_of"] = copy_of
    if people := [fields(one) for one in authorised]:
        data["authorised"] = people
    return data


def add_exhibit(examination: Examination, path: str, data: Record) -> Record:
    """Add an image to the case with what is known of it; the document of `case add`.

    Raises:
        UsageError: The image is an exhibit already: what is known of it is corrected, not added twice.
    """
    from imgkit.examination.evidence import file_facts, image_document, open_evidence

    image, _ = open_evidence(path, examination.presence.user)
    with image:
        known = examination.ledger.find(file_facts(image), None)
        if known is not None:
            raise UsageError(
                f"{path} is {known.name} of this case already, since line {known.line}",
                hint=f"imgkit case correct {known.line} FIELD VALUE --why TEXT, or imgkit case note",
            )
        if "copy_of" in data:
            data = data | _as_copy(examination, data)
        exhibit = examination.exhibit_of(image, data)
        return {
            "schema": "imgkit.case.add.v1",
            "exhibit": exhibit.name,
            "image": image_document(image),
            "stated": [item["digest"] for item in data.get("stated", ())],
            "copy_of": data.get("copy_of"),
            "authorised": data.get("authorised", []),
            "records": examination.records,
        }


def _as_copy(examination: Examination, data: Record) -> Record:
    """What a working copy is stated to be: the original's digests are its own, so that verify compares with them.

    Raises:
        UsageError: There is no such exhibit, or it is a working copy itself.
    """
    name = data["copy_of"]
    _check_exhibit(examination, name)
    if examination.ledger.possession.is_case and examination.ledger.possession.original(name) is None:
        raise UsageError(f"{name} is a working copy itself: name the original")
    original = examination.ledger.exhibits[name]
    known = {
        str(digest): f"stated of {name} at line {line}"
        for of, digest, line in original.stated
        if of == "media"
    }
    for own in original.first_own().values():
        if own.of == "media":
            known.setdefault(str(own.digest), f"of {name}, computed at line {own.line}")
    stated = [
        *data.get("stated", ()),
        *({"digest": text, "source": source} for text, source in known.items()),
    ]
    return {"stated": stated} if stated else {}


def add_note(examination: Examination, text: str, exhibit: str | None) -> Record:
    """Record a note; its text is an enclosure, so that it can be withheld without breaking the chain."""
    if not text.strip():
        raise UsageError("the note is empty")
    _check_exhibit(examination, exhibit)
    kept = examination.log.enclose(text.encode("utf-8", "surrogateescape"), "txt")
    line = examination.event("note.added", kept, exhibit=exhibit)
    return {"schema": "imgkit.case.note.v1", "line": line, **kept, "records": examination.records}


def enclose(examination: Examination, path: str, description: str | None, exhibit: str | None) -> Record:
    """Copy a file into the case's enclosures and record its digest."""
    from imgkit.custody.record import path_fields

    _check_exhibit(examination, exhibit)
    known = examination.ledger.part_of(_facts_of(path))
    if known is not None:
        raise UsageError(f"{path} is {known.name} of this case: evidence is never copied into a case")
    extension = os.path.splitext(path)[1].lstrip(".").lower()
    usable = extension.isascii() and extension.isalnum() and len(extension) <= 8  # noqa: PLR2004  (as enclosures names go)
    kept = examination.log.enclose(os.path.abspath(path), extension if usable else "bin")
    data = {**kept, **path_fields(os.path.abspath(path), key="from")}
    if description:
        data["description"] = description
    line = examination.event("enclosure.added", data, exhibit=exhibit)
    return {"schema": "imgkit.case.enclose.v1", "line": line, **kept, "records": examination.records}


def _facts_of(path: str) -> Record:
    """Path and inode of a file, as an exhibit is known by."""
    from imgkit.custody.record import path_fields
    from imgkit.examination.evidence import stat_facts

    try:
        found = os.stat(path)
    except OSError as error:
        raise CustodyError(f"cannot enclose {path}: {error.strerror}") from error
    return {**path_fields(os.path.abspath(path)), **stat_facts(found, found.st_size)}


def _check_exhibit(examination: Examination, exhibit: str | None) -> None:
    names = [item.name for item in examination.ledger.known()]
    if exhibit is not None and exhibit not in names:
        raise UsageError(
            f"this case has no exhibit {exhibit}", hint=f"it has {', '.join(names) or 'none yet'}"
        )


def correct(examination: Examination, line: int, field: str, now: str, why: str) -> Record:
    """Record that a field of an earlier line should read otherwise; the line itself stays as it is.

    Raises:
        UsageError: No such line, no such field, or it reads so already.
    """
    if field.split(".", maxsplit=1)[0] not in CORRECTABLE:
        raise UsageError(
            f"{field} is no statement of anybody: it cannot be corrected",
            hint=f"{', '.join(CORRECTABLE)} can",
        )
    for record in examination.log.records():
        if record["seq"] == line:
            was = _field_of(record, field)
            break
    else:
        raise UsageError(f"the log has no record at line {line}", hint="imgkit log show lists the lines")
    if str(was) == now:
        raise UsageError(f"line {line}: {field} is {now!r} already")
    data = {"line": line, "field": field, "was": was, "now": now, "why": why}
    written = examination.event("correction.added", data, exhibit=record.get("exhibit"))
    return {"schema": "imgkit.case.correct.v1", **data, "correction": written, "records": examination.records}


def _field_of(record: Record, field: str) -> Any:
    value: Any = record
    for name in field.split("."):
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            raise UsageError(
                f"line {record['seq']} has no field {field}", hint=f"it has {', '.join(sorted(record))}"
            )
    if not isinstance(value, str | int | bool):
        raise UsageError(f"{field} of line {record['seq']} is a whole part: name one field of it")
    return value


def show_case(path: str, records: Iterable[Record]) -> Record:
    """The document of `case show`: case, exhibits, what is attached as far as the log knows.

    Facts are as they were written; `corrections` says which of them somebody put right since.

    Raises:
        CustodyError: The log is empty.
    """
    corrections: list[Record] = []
    ledger = fold(_noting(records, corrections))
    if not ledger.opened or validate(ledger.opened):
        raise CustodyError(f"{path} does not begin as a custody log", code="BAD_LINE")
    return {
        "schema": "imgkit.case.show.v1",
        "log": path,
        "uuid": ledger.opened["log"],
        "case": ledger.opened["data"],
        "opened": ledger.opened["time"],
        "opened_by": ledger.opened["actor"],
        "lines": ledger.lines,
        "sealed": ledger.sealed_at,
        "reviews": [_review_document(record) for record in ledger.reviews],
        "exhibits": [_exhibit_document(ledger, item) for item in ledger.known()],
        "corrections": corrections,
        "attachments": [
            {"line": item.line, "device": item.data["device"], "exhibit": item.exhibit, "by": item.actor}
            for item in ledger.attachments.values()
        ],
    }


def _exhibit_document(ledger: Ledger, item: Exhibit) -> Record:
    files = item.added.get("files")
    return {
        "exhibit": item.name,
        "line": item.line,
        "description": item.added.get("description"),
        "format": item.added.get("format"),
        "size": item.added.get("size"),
        "paths": sorted(map(_path_shown, item.paths | item.nodes)),
        "segments": len(files) if isinstance(files, list) else (files or {}).get("count"),
        "added_by": item.actor,
        "stated": [str(digest) for _, digest, _ in item.stated],
        "own": [_own_document(one) for one in item.own],
        "verdict": item.checked[1] if item.checked else None,
        "verdict_line": item.checked[0] if item.checked else None,
        "copy_of": item.added.get("copy_of"),
        "copies": ledger.possession.copies(item.name),
        "possession": _possession_document(ledger, item.name),
    }


def _noting(records: Iterable[Record], corrections: list[Record]) -> Iterator[Record]:
    """The records, each correction among them noted."""
    for record in records:
        if record.get("type") == "correction.added" and not validate(record):
            data = record["data"]
            corrections.append(
                {
                    "line": record["seq"],
                    "by": record["actor"],
                    "exhibit": record.get("exhibit"),
                    "of": data.get("line"),
                    **{key: data.get(key) for key in ("field", "was", "now", "why")},
                }
            )
        yield record


def _path_shown(key: str) -> str:
    """A path as the ledger has it, for reading: one whose bytes do not print is known there by their base64."""
    return key if key.startswith("/") else printable(base64.b64decode(key))


def _possession_document(ledger: Ledger, name: str) -> Record | None:
    """Who holds an original; None for a working copy, and in an examiner's own log."""
    custody = ledger.possession.original(name)
    if custody is None:
        return None
    return {
        "state": str(custody.state),
        "holder": fields(custody.holder),
        "line": custody.line,
        "authorised": [fields(one) for one in custody.authorised],
        "place": custody.place,
        "seals": list(custody.seals),
        "told": custody.told,
    }


def _review_document(record: Record) -> Record:
    data = record["data"]
    return {
        "line": record["seq"],
        "by": record["actor"],
        "first": data.get("first"),
        "last": data.get("last"),
        "note": data.get("note"),
    }


def _own_document(item: OwnDigest) -> Record:
    document: Record = {"of": item.of, "digest": str(item.digest), "line": item.line}
    if item.extent is not None:
        document |= {"offset": item.extent.offset, "length": item.extent.length}
    return document
