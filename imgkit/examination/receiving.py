"""Receiving: the bag and the log in it are verified, the images are read, and the receiver's own log says so, with a receipt.

A bag or a log that is not whole is not received: nothing is recorded. An image that is another one is: that it arrived so
is what the record is for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit.custody.bag import PAYLOAD, safe_name
from imgkit.custody.durable import create_file, told
from imgkit.custody.possession import Person, State, origins_of
from imgkit.custody.receipts import file_of, give, take
from imgkit.custody.record import path_fields
from imgkit.custody.recorded import checkpoints_of
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.bagging import IMAGES, received_before
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import Evidence, file_facts, notices_of, open_evidence
from imgkit.examination.offered import digests_of, look_at_bag, named
from imgkit.examination.people import acting, fields, require_case, require_unsealed, same_name
from imgkit.examination.verifying import mismatches
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgkit.custody.receipts import Given
    from imgkit.examination import Examination
    from imgkit.examination.offered import Offered
    from imgkit.image import Image

    Progress = Callable[[int, int], object]

Record = dict[str, Any]


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


def receive(examination: Examination, arrival: Arrival, *, progress: Progress | None = None) -> Record:
    """Receive a hand-over; return the document of `case receive`.

    Raises:
        UsageError: An image is not there and need not be left out, or this is no case.
        CustodyError: It is no bag, no hand-over is in it, or the receiver's log refuses.
        ImageError: An image cannot be read: nothing is received.
    """
    require_case(examination, "receiving")
    require_unsealed(examination)
    if arrival.back is not None:
        _check_back(arrival.back)
    offered, problems = look_at_bag(
        arrival.bag, receipt=arrival.receipt, signers=arrival.signers, progress=progress
    )
    document: Record = {"schema": "imgkit.case.receive.v1", "bag": os.path.abspath(arrival.bag)}
    if offered is None:
        return document | _refused(examination, problems)
    if (before := received_before(examination.log, offered.record)) is not None:
        examination.notify(f"line {before} received this hand-over already; it is recorded once more")
    paths = _paths(offered, arrival)
    look = _Inspection(examination, offered, arrival, progress)
    try:
        exhibits = [
            look.arrived(one, paths.get(one["exhibit"])) for one in offered.record["data"]["exhibits"]
        ]
    except BaseException:  # interrupted, too: nobody should think that it was received
        examination.notify("nothing was received; the images that were read until now are recorded as such")
        raise
    line = examination.event("custody.received", _data(examination, offered, arrival, exhibits))
    try:
        given = _papers(examination, offered, arrival)
    except CustodyError as error:
        raise CustodyError(
            f"it is received, at line {line}, but there is no receipt for its giver yet: {error.message}",
            code=error.code,
            hint=f"imgkit log receipt --to {str(offered.giver)!r} gives one",
        ) from error
    back = None if arrival.back is None else _write_back(examination, arrival.back, given)
    return document | _done(examination, offered, exhibits, line, given) | {"receipt_for_giver": back}


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
        elif (found := _in_bag(offered, name, inside)) is not None:
            paths[name] = found
        elif arrival.rehash:
            raise UsageError(
                f"the image of {name} is not in the bag",
                hint=f"--image {name}=PATH, or --not-rehashed with --reason TEXT",
            )
    return paths


def _in_bag(offered: Offered, name: str, inside: object) -> str | None:
    """Where the bag has an image: under the name in the record, or under another if the bag was made again of a renamed file.

    Raises:
        UsageError: There are several files, and none has that name.
    """
    files, root = offered.checked.files, os.path.join(offered.checked.path, PAYLOAD)
    if not isinstance(inside, str):
        return None  # it was handed over without
    if inside in files:
        return os.path.join(root, inside)
    others = [one for one in files if one.startswith(f"{IMAGES}/{safe_name(name)}/")]
    if len(others) > 1:
        raise UsageError(
            f"the bag has {len(others)} files of {name}, and none is called {inside}",
            hint=f"name the first one: --image {name}={os.path.join(root, others[0])}",
        )
    return os.path.join(root, others[0]) if others else None


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
        if origins := origins_of(item):
            told_of["origins"] = [one._asdict() for one in origins]
        if path is None:
            here = self._known_here(item)
            return told_of | ({"exhibit": here} if here is not None else {})
        examination = self.examination
        image, identity = open_evidence(path, examination.presence.user)
        with image:
            for text in notices_of(image):
                examination.notify(text)
            name = self._exhibit(item, image)
            evidence = Evidence(image, name, identity=identity)
            verified = examination.verify(evidence, expected=digests_of(item), progress=self.progress)
            for text in (*verified.notices, *mismatches(verified)):
                examination.notify(f"{name}: {text}")
            told_of |= {"exhibit": name, "verdict": str(verified.verdict), **path_fields(image.path)}
        if examination.spooled is not None:
            raise CustodyError(f"nothing was received: {examination.spooled}")
        examination.refresh()
        checked = examination.ledger.exhibits[name].checked
        return told_of | ({"line": checked[0]} if checked else {})

    def _known_here(self, item: Record) -> str | None:
        """Its name in this log: giver and receiver keep one, or it was handed over from here and comes home."""
        log, possession = self.examination.log.uuid, self.examination.ledger.possession
        if self.offered.record["log"] == log:
            return str(item["exhibit"])
        for origin in reversed(origins_of(item)):
            custody = possession.original(origin.exhibit) if origin.log == log else None
            if custody is not None and custody.state is State.OFFERED:
                return custody.exhibit
        return None

    def _exhibit(self, item: Record, image: Image) -> str:
        if (here := self._known_here(item)) is not None:
            return here
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
        {"digest": str(digest), "source": f"hand-over, log {log}, line {line}"} for digest in digests_of(item)
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
        "from": named(offer, "from"),
        "to": fields(acting(examination)),
        "offered_to": named(offer, "to"),
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
            + same_name(acting(examination), to)
        )
    return data


def _papers(examination: Examination, offered: Offered, arrival: Arrival) -> Given:
    """Keep the giver's receipt, make a checkpoint, give our own receipt back."""
    who, log = str(offered.giver), examination.log
    if offered.receipt.log != log.uuid:
        taken = take(log, str(offered.receipt), sender=who)
        examination.written(taken.line, taken.notices)
    examination.checkpoint("receive", signer=arrival.signer)
    given = give(log, checkpoints_of(log).chosen(None), to=who)
    examination.written(given.line, given.notices)
    return given


def _check_back(path: str) -> None:
    """Refuse a place for the receipt that will not do, before anything is received.

    Raises:
        UsageError: Something is there, or there is no such folder.
    """
    if not path:
        raise UsageError("the name of the receipt's file is empty")
    if os.path.lexists(path):
        raise UsageError(f"{path!r} is there already", hint="name a new file for the receipt")
    around = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(around):
        raise UsageError(f"there is no folder {around} for the receipt", hint="make it, or name another one")


def _write_back(examination: Examination, path: str, given: Given) -> str | None:
    """Write the receipt to where its giver gets it from; return that, or None: it is given, and kept, all the same."""
    place = os.path.abspath(path)
    around = os.path.dirname(place)
    try:
        with acting_as(identity_in(around)), told(f"write the receipt to {place!r}", given=True):
            create_file(place, file_of(given.receipt), like=os.stat(around), mode=0o640)
    except CustodyError as error:
        examination.notify(
            f"{error.message}; everything else is done, and it lies in {given.path}: copy it from there"
        )
        return None
    return place


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
        "from": named(offer, "from"),
        "offered_to": named(offer, "to"),
        "exhibits": exhibits,
        "findings": list(offered.codes),
        "warnings": list(offered.warnings),
        "receipt": str(given.receipt),
        "receipt_file": given.path,
        "records": examination.records,
    }
