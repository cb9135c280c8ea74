"""Handing over: the images are read once more, then record, checkpoint, receipt, bag, in this order.

Whatever fails after the record, the record stands, and the bag is made later from the same lines: see rebag.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgkit.custody.bag import left_over
from imgkit.custody.durable import told
from imgkit.custody.receipts import give
from imgkit.custody.record import encode_document, new_uuid, path_of, plain
from imgkit.custody.recorded import checkpoints_of
from imgkit.errors import CustodyError, ImgkitError, UsageError
from imgkit.examination.bagging import (
    Included,
    Offer,
    bytes_of,
    find_offer,
    make_bag,
    name_to_open,
    not_openable,
)
from imgkit.examination.evidence import Evidence, file_facts, notices_of, open_evidence
from imgkit.examination.giving import chosen, described, hint_of_bag
from imgkit.examination.people import acting, fields, require_case, require_unsealed
from imgkit.examination.verifying import mismatches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imgkit.custody.bag import Bag
    from imgkit.custody.possession import Person
    from imgkit.examination import Examination
    from imgkit.examination.ledger import Exhibit

    Progress = Callable[[int, int], object]

Record = dict[str, Any]

_MOST_BYTES = (
    40_000  # of a hand-over in its record; there and in the receiver's it must stay one list in one line
)
_FIT = ("match", "unchanged", "no-reference")  # verdicts of an image that may be handed over


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be handed over, and how.

    Attributes:
        to: Who gets it.
        bag: Path of the bag.
        exhibits: Names; empty: every original that the examiner holds or is authorised for.
        purpose, method, place, condition: In the giver's words, or None.
        seals: Numbers of the seals.
        images: Where an exhibit's image lies now, by its name.
        rehash: Whether the images are read once more.
        with_images: Whether the bag holds copies of them.
        signer: As for a checkpoint.
    """

    to: Person
    bag: str
    exhibits: tuple[str, ...] = ()
    purpose: str | None = None
    method: str | None = None
    place: str | None = None
    condition: str | None = None
    seals: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    rehash: bool = True
    with_images: bool = False
    signer: str | None = None


def transfer(examination: Examination, wish: Wish, *, progress: Progress | None = None) -> Record:
    """Hand exhibits over; return the document of `case transfer`.

    Raises:
        UsageError: An exhibit is not known or not there to be handed over, or the bag's name will not do.
        CustodyError: Nothing was handed over; or it was, and its bag could not be made (the message says which).
        ImageError: An image cannot be read: nothing was handed over.
    """
    require_case(examination, "a hand-over")
    require_unsealed(examination)
    _check_place(examination, wish.bag)
    exhibits = chosen(examination, wish)
    with ExitStack() as stack:
        images = [
            _opened(examination, one, wish, stack) for one in exhibits if wish.rehash or wish.with_images
        ]
        included = [one for one in images if wish.with_images]
        in_bag = {one.exhibit: name_to_open(one) for one in included}
        _tell_of_room(examination, wish.bag, included)
        verdicts = _rehashed(examination, images, progress) if wish.rehash else {}
        document: Record = {"schema": "imgkit.case.transfer.v1", "verdicts": verdicts}
        if not_fit := [name for name, verdict in verdicts.items() if verdict not in _FIT]:
            return document | _refused(examination, not_fit)
        data = _data(examination, exhibits, wish, verdicts, in_bag)
        if len(encode_document(plain(data))) > _MOST_BYTES:
            raise UsageError(
                f"{len(exhibits)} exhibits with all that is known of them do not fit into one record",
                hint="hand them over in parts: --exhibit",
            )
        line = examination.event("custody.transferred", data)
        done = _papers(examination, line, wish.signer)
        bag = _bagged(examination, done, wish.bag, included, progress)
    return document | _done(examination, done, bag)


def rebag(
    examination: Examination,
    line: int,
    path: str,
    *,
    images: Mapping[str, str],
    signer: str | None = None,
    progress: Progress | None = None,
) -> Record:
    """Make the bag of an earlier hand-over again, and its checkpoint and receipt where a crash came before them.

    Raises:
        CustodyError: The line is no hand-over, or the bag cannot be made.
    """
    require_case(examination, "a hand-over")
    _check_place(examination, path)
    offer = find_offer(examination.log.records(), line)
    names = [one["exhibit"] for one in offer.record["data"]["exhibits"] if one.get("image")]
    with ExitStack() as stack:
        wish = Wish(acting(examination), path, images=images)
        included = [_opened(examination, examination.ledger.exhibits[name], wish, stack) for name in names]
        _tell_of_room(examination, path, included)
        done = _papers(examination, line, signer)
        bag = _bagged(examination, done, path, included, progress)
    return {"schema": "imgkit.case.transfer.v1", "verdicts": {}} | _done(examination, done, bag)


def _check_place(examination: Examination, path: str) -> None:
    place = os.path.abspath(path)
    folder = os.path.realpath(examination.log.folder)
    if not path:
        raise UsageError("the name of the bag is empty")
    if os.path.lexists(place):
        raise UsageError(f"{path!r} is there already", hint="name a folder for the bag that is not")
    if os.path.commonpath([os.path.realpath(os.path.dirname(place)), folder]) == folder:
        raise UsageError("a bag does not go into the case folder that it holds a copy of")
    if not os.path.isdir(os.path.dirname(place)):
        raise UsageError(f"there is no folder {os.path.dirname(place)}", hint="make it, or name another one")
    with told(f"look at {os.path.dirname(place)!r}", given=True):
        for one in left_over(place):
            examination.notify(
                f"{one} is what a run that was cut off left of such a bag (unless one makes it now): "
                "it takes up room, and can be deleted"
            )


def _tell_of_room(examination: Examination, path: str, images: list[Included]) -> None:
    """Say before hours of reading that the bag will hardly fit; that it cannot, only a file system knows that may pack it."""
    around = os.path.dirname(os.path.abspath(path))
    with told(f"look at {around!r}", given=True):
        space = os.statvfs(around)
    needed, free = bytes_of(examination.log, images) // 2, space.f_bavail * space.f_frsize
    if needed > free:
        examination.notify(
            f"the bag needs about {needed} bytes, and {around} has {free} free: name another place"
        )


def path_of_exhibit(exhibit: Exhibit) -> str | None:
    """Return where an exhibit lay when it was added."""
    files = exhibit.added.get("files")
    first = exhibit.added.get("first_file") or (files[0] if isinstance(files, list) and files else None)
    return path_of(first) if isinstance(first, dict) else None


def _opened(examination: Examination, exhibit: Exhibit, wish: Wish, stack: ExitStack) -> Included:
    path = wish.images.get(exhibit.name) or path_of_exhibit(exhibit)
    hint = f"say where it is: --image {exhibit.name}=PATH, or --not-rehashed with --reason TEXT"
    if path is None:
        raise UsageError(f"the log does not tell where {exhibit.name} is", hint=hint)
    try:
        image, identity = open_evidence(path, examination.presence.user)
    except ImgkitError as error:
        error.hint = error.hint or hint
        raise
    stack.enter_context(image)
    for text in notices_of(image):
        examination.notify(text)
    facts = file_facts(image)
    if "source" not in facts[0]:
        examination.ledger.find(facts, exhibit.name)  # refuses a file that is known to be another exhibit
    elif examination.ledger.find(facts, None) is not exhibit:
        raise UsageError(f"{path} is another device than {exhibit.name} was", hint=hint)
    return Included(exhibit.name, image, identity)


def _rehashed(
    examination: Examination, images: Sequence[Included], progress: Progress | None
) -> dict[str, str]:
    """Verify every image once more, each recorded as ever; return the verdicts."""
    verdicts = {}
    for item in images:
        evidence = Evidence(item.image, item.exhibit, identity=item.identity)
        verified = examination.verify(evidence, progress=progress)
        for text in (*verified.notices, *mismatches(verified)):
            examination.notify(f"{item.exhibit}: {text}")
        verdicts[item.exhibit] = str(verified.verdict)
    if examination.spooled is not None:
        raise CustodyError(f"nothing was handed over: {examination.spooled}")
    examination.refresh()
    return verdicts


def _refused(examination: Examination, names: list[str]) -> Record:
    return {
        "transferred": None,
        "refused": names,
        "bag": None,
        "receipt": None,
        "records": examination.records,
    }


def _data(
    examination: Examination,
    exhibits: Sequence[Exhibit],
    wish: Wish,
    verdicts: Mapping[str, str],
    in_bag: Mapping[str, str],
) -> Record:
    descriptions = described(examination, exhibits)
    data: Record = {
        "handover": new_uuid(),
        "from": fields(acting(examination)),
        "to": fields(wish.to),
        "purpose": wish.purpose,
        "method": wish.method,
        "place": wish.place,
        "condition": wish.condition,
        "rehashed": wish.rehash,
        "with_images": wish.with_images,
        "exhibits": [
            _handed_over(examination, examination.ledger.exhibits[one.name], verdicts)
            | {"image": in_bag.get(one.name), **descriptions[one.name]}
            for one in exhibits
        ],
    }
    if wish.seals:
        data["seals"] = list(wish.seals)
    return data


def _handed_over(examination: Examination, exhibit: Exhibit, verdicts: Mapping[str, str]) -> Record:
    """What the record says of one exhibit: its digests as this case has them, and what the last look at it said."""
    digests = {digest.algorithm: digest.value for _of, digest, _line in exhibit.stated}
    digests |= {
        one.digest.algorithm: one.digest.value for one in exhibit.first_own().values() if one.of == "media"
    }
    item: Record = {
        "exhibit": exhibit.name,
        "size": exhibit.added.get("size"),
        "digests": digests,
        "rehashed": exhibit.name in verdicts,
    }
    custody = examination.ledger.possession.original(exhibit.name)
    if custody is not None and custody.origins:
        item["origins"] = [one._asdict() for one in custody.origins]
    if "copy_of" in exhibit.added:
        item["copy_of"] = exhibit.added["copy_of"]
    if exhibit.checked is not None:
        item["checked"] = {"line": exhibit.checked[0], "verdict": exhibit.checked[1]}
    return item


def _papers(examination: Examination, line: int, signer: str | None) -> Offer:
    """Make checkpoint and receipt over a recorded hand-over, as far as they are not there yet."""
    log = examination.log
    offer = find_offer(log.records(), line)
    try:
        if offer.n is None:
            examination.checkpoint("transfer", signer=signer)
            offer = find_offer(log.records(), line)
        if offer.receipt is None:
            to = offer.record["data"]["to"]
            given = give(log, checkpoints_of(log).chosen(offer.n), to=f"{to['name']} <{to['id']}>")
            examination.written(given.line, given.notices)
            offer = find_offer(log.records(), line)
    except CustodyError as error:
        raise _unfinished(examination, line, error) from error
    return offer


def _bagged(
    examination: Examination, offer: Offer, path: str, images: list[Included], progress: Progress | None
) -> Bag:
    total, done = 0, 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(min(done, total), total)

    try:
        total = bytes_of(examination.log, images)
        bag = make_bag(examination.log, offer, path, images, progress=step)
    except ImgkitError as error:
        raise _unfinished(examination, offer.record["seq"], error) from error
    except BaseException:  # interrupted: nobody should think that nothing was handed over
        examination.notify(
            f"{_unfinished_text(offer.record['seq'])}; {hint_of_bag(examination, offer.record['seq'])}"
        )
        raise
    for text in not_openable(examination, bag, images):
        examination.notify(text)
    return bag


def _unfinished_text(line: int) -> str:
    return f"the hand-over is recorded at line {line}, but it has no bag yet"


def _unfinished(examination: Examination, line: int, error: ImgkitError) -> CustodyError:
    return CustodyError(
        f"{_unfinished_text(line)}: {error.message}",
        hint=hint_of_bag(examination, line),
    )


def _done(examination: Examination, offer: Offer, bag: Bag) -> Record:
    data = offer.record["data"]
    return {
        "transferred": offer.record["seq"],
        "refused": [],
        "exhibits": [one["exhibit"] for one in data["exhibits"]],
        "from": data["from"],
        "to": data["to"],
        "rehashed": data["rehashed"],
        "checkpoint": offer.n,
        "receipt": offer.receipt,
        "bag": {
            "path": bag.path,
            "bytes": bag.bytes,
            "files": len(bag.digests),
            "manifest_sha256": bag.manifest,
        },
        "records": examination.records,
    }
