"""What goes into the bag of a hand-over: the case folder as it was when the receipt was given, and images where asked for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit import __version__
from imgkit.containers.evidence_file import open_evidence as open_evidence_file
from imgkit.custody.bag import PAYLOAD, Payload, safe_name, write_bag
from imgkit.custody.bag_check import payload_bytes
from imgkit.custody.checkpoint_files import FOLDER as CHECKPOINTS
from imgkit.custody.durable import READ_FILE, told
from imgkit.custody.enclosures import FOLDER as ENCLOSURES
from imgkit.custody.reading import lines_of, read_records
from imgkit.custody.record import decode, printable
from imgkit.errors import CustodyError, ImageError, ImgkitError, UsageError
from imgkit.examination.cases import LOG_NAME, identity_in
from imgkit.examination.evidence import open_evidence
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from imgkit.custody.bag import Bag
    from imgkit.custody.log import CustodyLog
    from imgkit.examination import Examination
    from imgkit.image import Image, Segment
    from imgkit.linux.files import Identity

Record = dict[str, Any]

CASE, IMAGES, RECEIPT = "case", "images", "receipt.txt"
_RECEIPTS = "receipts"
_BESIDE = ("README.txt", "verify.sh", "allowed_signers")
_ENCLOSED = re.compile(rb'"enclosure":"([0-9a-f]{64}\.[a-z0-9]{1,16})"')
_NUMBERED = re.compile(r"([0-9]{6,})\.(?:txt|txt\.sig|sums)\Z")


@dataclass(frozen=True, slots=True)
class Offer:
    """A hand-over as the giver's log has it.

    Attributes:
        record: The custody.transferred.
        n: Of the checkpoint over it, or None where a crash came before.
        time: When that checkpoint was made.
        receipt: The receipt that was given, or None.
        end: Line of its record: the last one that goes into the bag.
    """

    record: Record
    n: int | None = None
    time: str = ""
    receipt: str | None = None
    end: int = 0


@dataclass(frozen=True, slots=True)
class Included:
    """An image that goes into the bag.

    Attributes:
        exhibit: Which one it is.
        image: Opened read-only.
        identity: With whose rights its files are opened, or None.
    """

    exhibit: str
    image: Image
    identity: Identity | None


def names_in_bag(exhibit: str, image: Image) -> dict[str, Segment]:
    """Return the files of an image by their names in the bag, below data/.

    Files of one folder lie in one folder there; those of several keep how the folders lie to each other, for an image
    that builds upon another one may name it that way.

    Raises:
        UsageError: It is a device, or two of its files would have one name.
    """
    if image.backing_fileno() is not None and _is_device(image):
        raise UsageError(
            f"{exhibit} is a device, which is handed over as it is", hint="leave --with-images out for it"
        )
    paths = [os.path.normpath(segment.path) for segment in image.segments]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    names: dict[str, Segment] = {}
    seen = set[str]()  # in lower case: a memory stick tells no capitals apart
    for path, segment in zip(paths, image.segments, strict=True):
        inner = "/".join(map(safe_name, os.path.relpath(path, common).split("/")))
        if inner.casefold() in seen:
            raise UsageError(
                f"two files of {exhibit} would both be called {inner!r} in the bag",
                hint="leave --with-images out, and hand its files over beside the bag",
            )
        seen.add(inner.casefold())
        names[f"{IMAGES}/{safe_name(exhibit)}/{inner}"] = segment
    return names


def name_to_open(item: Included) -> str:
    """Return the name in the bag of the file by which the image is opened."""
    names = names_in_bag(item.exhibit, item.image)
    return next((name for name, one in names.items() if one.path == item.image.path), next(iter(names)))


def _is_device(image: Image) -> bool:
    from imgkit.examination.devices import device_of

    return device_of(image) is not None


def make_bag(
    log: CustodyLog,
    offer: Offer,
    path: str,
    images: list[Included],
    *,
    progress: Callable[[int], object] = bool,
) -> Bag:
    """Write the bag of a hand-over; made again, it holds the same bytes of the case.

    Raises:
        CustodyError: It cannot be made; nothing is left of it.
        ImageError: An image cannot be read, or changed while it was copied.
    """
    payload = list(case_files(log, offer.end))
    segments: dict[str, Segment] = {}
    for item in images:
        named = names_in_bag(item.exhibit, item.image)
        segments |= named
        payload += [
            Payload(name, _evidence_opener(one, item.identity), one.size) for name, one in named.items()
        ]
    return write_bag(
        path,
        payload,
        info=list(_info(log, offer)),
        tags={RECEIPT: f"{offer.receipt}\n".encode()},
        identity=identity_in(os.path.dirname(os.path.abspath(path))),
        progress=progress,
    )


def not_openable(examination: Examination, bag: Bag, images: list[Included]) -> Iterator[str]:
    """Say of each image in a bag that whoever receives it could not open it there: it names files at other places."""
    inside = os.path.join(os.path.realpath(bag.path), "")
    for item in images:
        place = os.path.join(bag.path, PAYLOAD, name_to_open(item))
        try:
            image, _identity = open_evidence(place, examination.presence.user)
        except ImgkitError as error:
            told_of = error.message
        else:
            with image:
                outside = [
                    one.path for one in image.segments if not os.path.realpath(one.path).startswith(inside)
                ]
            if not outside:
                continue
            told_of = f"it names {outside[0]}, which is outside of the bag"
        yield (
            f"{item.exhibit} cannot be opened from the bag: {told_of}; its files are all there, and whoever receives "
            f"it puts them where the image names them, and says --image {item.exhibit}=PATH"
        )


def _evidence_opener(segment: Segment, identity: Identity | None) -> Callable[[], int]:
    def opener() -> int:
        with acting_as(identity):
            file = open_evidence_file(segment.path)
        if not file.is_same_file(segment.stat):
            file.close()
            raise ImageError(f"{segment.path} is not the file that was there when the image was opened")
        fd, file.fd = file.fd, -1
        return fd

    return opener


def _info(log: CustodyLog, offer: Offer) -> Iterator[tuple[str, str]]:
    opening, data = log.opening["data"], offer.record["data"]
    if opening.get("agency"):
        yield "Source-Organization", str(opening["agency"])
    yield "Contact-Name", str(data["from"]["name"])
    yield "Contact-Email", str(data["from"]["id"])
    yield "External-Description", f"hand-over of {', '.join(one['exhibit'] for one in data['exhibits'])}"
    yield "External-Identifier", str(opening.get("number") or log.uuid)
    yield "Bagging-Date", offer.time[:10]
    yield "Bag-Software-Agent", f"imgkit {__version__}"
    yield "Imgkit-To", f"{data['to']['name']} <{data['to']['id']}>"
    yield "Imgkit-Log", log.uuid
    yield "Imgkit-Line", str(offer.record["seq"])
    yield "Imgkit-Receipt", str(offer.receipt)


def case_files(log: CustodyLog, end: int) -> Iterator[Payload]:
    """Everything in the case folder that lines 1 to `end` name, with these lines.

    Raises:
        CustodyError: The log cannot be read, or is shorter.
    """
    length, enclosed, numbers, text = 0, set[str](), set[int](), bytearray()
    for offset, line in lines_of(log.path, log.identity):
        length = offset + len(line)
        enclosed |= {name.decode() for name in _ENCLOSED.findall(line)}
        if b'"type":"log.checkpointed"' in line:
            numbers.add(decode(line)["data"].get("n", 0))
        if b'"type":"log.anchored"' in line or b'"type":"receipt.' in line:
            text += line
        if _is_line(line, end):
            break
    else:
        raise CustodyError(f"custody log {log.path!r} has no line {end}")
    yield _case_file(log, LOG_NAME, length)
    for name in _BESIDE:
        yield from _if_there(log, name)
    for name in sorted(enclosed):
        yield from _if_there(log, f"{ENCLOSURES}/{name}")
    for name in _listed(log, CHECKPOINTS):
        found = _NUMBERED.match(name)
        if (found and int(found[1]) in numbers) or f'"{name}"'.encode() in text:
            yield from _if_there(log, f"{CHECKPOINTS}/{name}")
    for name in _listed(log, _RECEIPTS):
        if f'"{name}"'.encode() in text:
            yield from _if_there(log, f"{_RECEIPTS}/{name}")


def _is_line(line: bytes, number: int) -> bool:
    return f'"seq":{number},'.encode() in line and decode(line)["seq"] == number


def _if_there(log: CustodyLog, name: str) -> Iterator[Payload]:
    """What may be withheld: the log names it by digest, and the receiver is told that it is not there."""
    with acting_as(log.identity):
        if os.path.isfile(os.path.join(log.folder, name)):
            yield _case_file(log, name, None)


def _listed(log: CustodyLog, folder: str) -> list[str]:
    place = os.path.join(log.folder, folder)
    with acting_as(log.identity), told(f"look at {place!r}"):
        return sorted(os.listdir(place)) if os.path.isdir(place) else []


def _case_file(log: CustodyLog, name: str, length: int | None) -> Payload:
    def opener() -> int:
        with acting_as(log.identity):
            return os.open(os.path.join(log.folder, name), READ_FILE)

    return Payload(f"{CASE}/{name}", opener, length, executable=name == "verify.sh")


def bytes_of(log: CustodyLog, images: list[Included]) -> int:
    """About how many bytes making a bag writes and reads back, for progress."""
    with acting_as(log.identity), told(f"look at {log.folder!r}"):
        around = payload_bytes(log.folder)
    return 2 * (around + sum(one.size for item in images for one in item.image.segments))


def find_offer(records: Iterator[Record], line: int | None = None) -> Offer:
    """Return a hand-over and what was written over it: that of a line, else the last one.

    Raises:
        CustodyError: There is none.
    """
    offer: Offer | None = None
    lines: list[int] = []
    for record in records:
        if record["type"] == "custody.transferred":
            lines.append(record["seq"])
            if line is None or record["seq"] == line:
                offer = Offer(record)
                continue
        if offer is not None and offer.end == 0:
            offer = _followed(offer, record)
    if offer is None and not lines:
        raise CustodyError("no hand-over is recorded in that log")
    if offer is None:
        raise CustodyError(
            f"line {line} is no hand-over in that log",
            hint=f"those are at {', '.join(map(str, lines[-20:]))}",
        )
    return offer


def received_before(log: CustodyLog, offer: Record) -> int | None:
    """Return the line that received a hand-over the first time, or None."""
    for record in read_records(log.path, identity=log.identity):
        if record["type"] == "custody.received":
            known = record["data"].get("offer")
            if isinstance(known, dict) and (known.get("log"), known.get("line")) == (
                offer["log"],
                offer["seq"],
            ):
                return int(record["seq"])
    return None


def _followed(offer: Offer, record: Mapping[str, Any]) -> Offer:
    data = record["data"]
    if record["type"] == "log.checkpointed" and offer.n is None and data["size"] >= offer.record["seq"]:
        return Offer(offer.record, data["n"], record["time"]["utc"])
    if record["type"] == "receipt.given" and offer.n is not None and data.get("n") == offer.n:
        words = (
            "imgkit-receipt/1",
            record["log"],
            *(str(data[key]) for key in ("size", "bytes", "head", "file")),
        )
        return Offer(offer.record, offer.n, offer.time, printable(" ".join(words)), record["seq"])
    return offer


def counting(bag: str, progress: Callable[[int, int], object] | None) -> Callable[[int], object]:
    """Return what is called with each number of bytes read of a bag, and tells of all of them."""
    if progress is None:
        return bool
    with told(f"read the bag {bag!r}", given=True):
        total = payload_bytes(bag)
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(min(done, total), total)

    return step
