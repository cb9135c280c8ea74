"""Receiving: the bag and the log in it are verified, the images are read, and the receiver's own log says so, with a receipt.

A bag or a log that is not whole is not received: nothing is recorded. An image that is another one is: that it arrived so
is what the record is for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit.custody.bag import PAYLOAD, check_bag
from imgkit.custody.durable import create_file, told
from imgkit.custody.possession import Person
from imgkit.custody.reading import lines_of, read_records
from imgkit.custody.receipts import file_of, find_receipt, give, take
from imgkit.custody.record import MALFORMED, line_hash, path_fields, printable, validate
from imgkit.custody.recorded import checkpoints_of
from imgkit.custody.verify import verify_log
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.bagging import CASE, RECEIPT, counting, find_offer, received_before
from imgkit.examination.cases import LOG_NAME, identity_in
from imgkit.examination.evidence import Evidence, file_facts, notices_of, open_evidence
from imgkit.examination.people import acting, fields, require_case
from imgkit.hashing import Digest
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgkit.custody.bag import Checked
    from imgkit.custody.checkpoint import Receipt
    from imgkit.custody.receipts import Given
    from imgkit.examination import Examination
    from imgkit.image import Image

    Progress = Callable[[int, int], object]

Record = dict[str, Any]

_RECEIPT_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has arrived, and how it is looked at.

    Attributes:
        bag: Path of the bag.
        images: Where an image lies that is not in the bag, by the giver's name of the exhibit.
        rehash: Whether every image must be there to be read; False: those that are.
        receipt: A receipt that came another way, a text or a file, or None.
        signers: Whom the receiver trusts to sign: an allowed_signers file, or None.
        method, place, condition: In the receiver's words, or None.
        seals: Numbers of the seals as they were found.
        authorised: Who else may examine what is received.
        back: Where the receipt for the giver is written, too, or None.
        signer: As for a checkpoint.
    """

    bag: str
    images: Mapping[str, str] = field(default_factory=dict)
    rehash: bool = True
    receipt: str | None = None
    signers: str | None = None
    method: str | None = None
    place: str | None = None
    condition: str | None = None
    seals: tuple[str, ...] = ()
    authorised: tuple[Person, ...] = ()
    back: str | None = None
    signer: str | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """A hand-over as the bag tells it, verified.

    Attributes:
        checked: The bag.
        record: The custody.transferred in it.
        head: Hash of its line.
        receipt: The receipt in the bag.
        codes: What verification warned of.
        case: Number of the giver's case, or None.
    """

    checked: Checked
    record: Record
    head: str
    receipt: Receipt
    codes: tuple[str, ...]
    case: str | None


def receive(examination: Examination, arrival: Arrival, *, progress: Progress | None = None) -> Record:
    """Receive a hand-over; return the document of `case receive`.

    Raises:
        UsageError: An image is not there and need not be left out, or this is no case.
        CustodyError: It is no bag, no hand-over is in it, or the receiver's log refuses.
        ImageError: An image cannot be read: nothing is received.
    """
    require_case(examination, "receiving")
    if arrival.back is not None and os.path.lexists(arrival.back):
        raise UsageError(f"{arrival.back!r} is there already", hint="name a new file for the receipt")
    offered, problems = look_at_bag(arrival, progress)
    document: Record = {"schema": "imgkit.case.receive.v1", "bag": os.path.abspath(arrival.bag)}
    if offered is None:
        return document | _refused(examination, problems)
    if (before := received_before(examination.log, offered.record)) is not None:
        examination.notify(f"line {before} received this hand-over already; it is recorded once more")
    paths = _paths(offered, arrival)
    look = _Inspection(examination, offered, arrival, progress)
    exhibits = [look.arrived(one, paths.get(one["exhibit"])) for one in offered.record["data"]["exhibits"]]
    line = examination.event("custody.received", _data(examination, offered, arrival, exhibits))
    try:
        given = _papers(examination, offered, arrival)
    except CustodyError as error:
        raise CustodyError(
            f"it is received, at line {line}, but there is no receipt for its giver yet: {error.message}",
            code=error.code,
            hint="imgkit log receipt gives one",
        ) from error
    return document | _done(examination, offered, exhibits, line, given)


def look_at_bag(arrival: Arrival, progress: Progress | None = None) -> tuple[Offered | None, list[str]]:
    """Compare a bag with its manifests, its log with itself and with the receipts; None and why, where it is not whole.

    Raises:
        CustodyError: It is no bag, cannot be read, or holds no hand-over.
    """
    identity = identity_in(os.path.abspath(arrival.bag))
    with acting_as(identity):
        checked = check_bag(arrival.bag, counting(arrival.bag, progress))
        if checked.problems:
            return None, list(checked.problems)
        case = os.path.join(checked.path, PAYLOAD, CASE)
        for place in (RECEIPT, os.path.join(PAYLOAD, CASE, LOG_NAME)):
            if not os.path.exists(os.path.join(checked.path, place)):
                raise CustodyError(f"{checked.path!r} is no hand-over by imgkit: it has no {place}")
        with (
            told(f"read the receipt in {checked.path!r}", given=True),
            open(os.path.join(checked.path, RECEIPT), encoding="utf-8", errors="replace") as file,
        ):
            receipt = find_receipt(file.read(_RECEIPT_LIMIT))
    # With our own rights: it loads modules late, which another user may not read.
    receipts: list[Receipt | str] = [receipt, *([arrival.receipt] if arrival.receipt else [])]
    verification = verify_log(case, signers=arrival.signers, receipts=receipts)
    if verification.newer is not None:
        raise CustodyError(
            "the log in the bag was written by a newer imgkit", hint="use that version, or a later one"
        )
    if verification.failed:
        return None, [
            f"{one.code}" + (f" at line {one.line}" if one.line else "") + f": {one.message}"
            for one in verification.findings
            if one.severity == "FAIL"
        ]
    offered = _offered(checked, os.path.join(case, "custody.jsonl"), receipt, sorted(verification.codes))
    return offered, []


def _offered(checked: Checked, log: str, receipt: Receipt, codes: list[str]) -> Offered:
    identity = identity_in(os.path.dirname(log))
    offer = find_offer(read_records(log, identity=identity)).record
    _check_offer(offer)
    if offer["seq"] > receipt.size:
        raise CustodyError("the receipt in the bag is older than the hand-over in its log")
    opening = next(read_records(log, identity=identity))
    head = next(
        line_hash(line)
        for number, (_offset, line) in enumerate(lines_of(log, identity), 1)
        if number == offer["seq"]
    )
    number = opening["data"].get("number")
    return Offered(checked, offer, head, receipt, tuple(codes), str(number) if number else None)


def _check_offer(offer: Record) -> None:
    """A log may come from anybody: its hand-over must have what one of ours has.

    Raises:
        CustodyError: It does not.
    """
    try:
        wrong = bool(validate(offer)) or None in (
            Person.of(offer["data"]["from"]),
            Person.of(offer["data"]["to"]),
        )
        for one in offer["data"]["exhibits"]:
            wrong = wrong or not isinstance(one["exhibit"], str)
            _digests(one)
    except (*MALFORMED, UsageError) as error:
        raise CustodyError(
            f"line {offer['seq']} is no hand-over as imgkit writes it", code="SCHEMA"
        ) from error
    if wrong:
        raise CustodyError(f"line {offer['seq']} is no hand-over as imgkit writes it", code="SCHEMA")


def _named(offer: Record, key: str) -> dict[str, str]:
    """Giver or receiver as the hand-over names them: name and id, whatever else stands there."""
    return {name: printable(offer["data"][key][name]) for name in ("name", "id")}


def _digests(item: Record) -> list[Digest]:
    return [Digest(name, value) for name, value in item["digests"].items()]


def _paths(offered: Offered, arrival: Arrival) -> dict[str, str]:
    """Where each image lies: as stated, else in the bag.

    Raises:
        UsageError: One is nowhere, and all must be there; or one is stated that was not handed over.
    """
    paths: dict[str, str] = {}
    names = [one["exhibit"] for one in offered.record["data"]["exhibits"]]
    for name in arrival.images:
        if name not in names:
            raise UsageError(f"{name} was not handed over", hint=f"it was {', '.join(names)}")
    for one in offered.record["data"]["exhibits"]:
        name, inside = one["exhibit"], one.get("image")
        if name in arrival.images:
            paths[name] = arrival.images[name]
        elif isinstance(inside, str) and inside in offered.checked.files:
            paths[name] = os.path.join(offered.checked.path, PAYLOAD, inside)
        elif arrival.rehash:
            raise UsageError(
                f"the image of {name} is not in the bag",
                hint=f"--image {name}=PATH, or --not-rehashed with --reason TEXT",
            )
    return paths


@dataclass(frozen=True, slots=True)
class _Inspection:
    """What is asked of every image that arrives."""

    examination: Examination
    offered: Offered
    arrival: Arrival
    progress: Progress | None

    def arrived(self, item: Record, path: str | None) -> Record:
        """Make it an exhibit of this case, read it and compare; return what the record says of it."""
        told_of: Record = {
            "theirs": item["exhibit"],
            "rehashed": path is not None,
            "digests": item["digests"],
        }
        if path is None:
            return told_of | ({"exhibit": item["exhibit"]} if self._same_log else {})
        examination = self.examination
        image, identity = open_evidence(path, examination.presence.user)
        with image:
            for text in notices_of(image):
                examination.notify(text)
            name = self._exhibit(item, image)
            evidence = Evidence(image, name, identity=identity)
            verified = examination.verify(evidence, expected=_digests(item), progress=self.progress)
            for text in verified.notices:
                examination.notify(text)
            told_of |= {"exhibit": name, "verdict": str(verified.verdict), **path_fields(image.path)}
        if examination.spooled is not None:
            raise CustodyError(f"nothing was received: {examination.spooled}")
        examination.refresh()
        checked = examination.ledger.exhibits[name].checked
        return told_of | ({"line": checked[0]} if checked else {})

    @property
    def _same_log(self) -> bool:
        """Whether giver and receiver keep one log."""
        return bool(self.offered.record["log"] == self.examination.log.uuid)

    def _exhibit(self, item: Record, image: Image) -> str:
        if self._same_log:
            return str(item["exhibit"])
        known = self.examination.ledger.find(file_facts(image), None)
        data = _described(self.offered, item, self.arrival)
        return (known or self.examination.exhibit_of(image, data)).name


def _described(offered: Offered, item: Record, arrival: Arrival) -> Record:
    """What is known of an exhibit that comes from elsewhere: as its giver describes it, and where it stood with them."""
    log, line = offered.record["log"], offered.record["seq"]
    data: Record = {}
    if isinstance(item.get("description"), str):
        data["description"] = item["description"]
    for key in ("source", "acquired"):
        facts = item.get(key)
        if isinstance(facts, dict) and all(isinstance(value, str) for value in facts.values()):
            data[key] = facts
    data["stated"] = [
        {"digest": str(digest), "source": f"hand-over, log {log}, line {line}"} for digest in _digests(item)
    ]
    data["from"] = {"log": log, "line": line, "exhibit": item["exhibit"]}
    if arrival.authorised:
        data["authorised"] = [fields(one) for one in arrival.authorised]
    return data


def _data(examination: Examination, offered: Offered, arrival: Arrival, exhibits: list[Record]) -> Record:
    offer = offered.record
    data: Record = {
        "offer": {
            "log": offer["log"],
            "line": offer["seq"],
            "head": offered.head,
            "handover": offer["data"].get("handover"),
            "case": offered.case,
            "receipt": str(offered.receipt),
        },
        "from": _named(offer, "from"),
        "to": fields(acting(examination)),
        "offered_to": _named(offer, "to"),
        "exhibits": exhibits,
        "rehashed": all(one["rehashed"] for one in exhibits),
        "findings": list(offered.codes),
        "bag": {
            **path_fields(offered.checked.path),
            "bytes": offered.checked.bytes,
            "files": len(offered.checked.files),
            "manifest_sha256": offered.checked.manifest,
        },
        "method": arrival.method,
        "place": arrival.place,
        "condition": arrival.condition,
    }
    if arrival.seals:
        data["seals"] = list(arrival.seals)
    if arrival.authorised:
        data["authorised"] = [fields(one) for one in arrival.authorised]
    to = Person.of(offer["data"]["to"])
    if to is not None and not to.is_same(acting(examination)):
        examination.notify(
            f"this was handed over to {to}, and you are {acting(examination)}: both are recorded"
        )
    return data


def _papers(examination: Examination, offered: Offered, arrival: Arrival) -> Given:
    """Keep the giver's receipt, make a checkpoint, give our own receipt back."""
    giver = _named(offered.record, "from")
    who, log = f"{giver['name']} <{giver['id']}>", examination.log
    if offered.receipt.log != log.uuid:
        taken = take(log, str(offered.receipt), sender=who)
        examination.written(taken.line, taken.notices)
    examination.checkpoint("receive", signer=arrival.signer)
    given = give(log, checkpoints_of(log).chosen(None), to=who)
    examination.written(given.line, given.notices)
    if arrival.back is not None:
        _write_back(arrival.back, given.receipt)
    return given


def _write_back(path: str, receipt: Receipt) -> None:
    place = os.path.abspath(path)
    around = os.path.dirname(place)
    what = f"write the receipt to {place!r} (it is in receipts/ of the case, too)"
    with acting_as(identity_in(around)), told(what, given=True):
        create_file(place, file_of(receipt), like=os.stat(around), mode=0o640)


def _refused(examination: Examination, problems: list[str]) -> Record:
    return {"received": None, "problems": problems, "receipt": None, "records": examination.records}


def _done(
    examination: Examination, offered: Offered, exhibits: list[Record], line: int, given: Given
) -> Record:
    offer = offered.record
    return {
        "received": line,
        "problems": [],
        "offer": {"log": offer["log"], "line": offer["seq"], "head": offered.head},
        "from": _named(offer, "from"),
        "offered_to": _named(offer, "to"),
        "exhibits": exhibits,
        "findings": list(offered.codes),
        "receipt": str(given.receipt),
        "receipt_file": given.path,
        "records": examination.records,
    }
