"""What a bag offers: its files are compared with its manifests, the log in it is verified, the hand-over is read from it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.custody.bag import INFO, PAYLOAD
from imgkit.custody.bag_check import check_bag
from imgkit.custody.durable import told
from imgkit.custody.possession import Person
from imgkit.custody.reading import lines_of, read_records
from imgkit.custody.receipts import find_receipt
from imgkit.custody.record import MALFORMED, line_hash, printable
from imgkit.custody.schema import validate
from imgkit.custody.verify import verify_log
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.bagging import CASE, RECEIPT, counting, find_offer
from imgkit.examination.cases import LOG_NAME, identity_in
from imgkit.hashing import Digest
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.bag_check import Checked
    from imgkit.custody.checkpoint import Receipt
    from imgkit.custody.verify.finding import LogFinding
    from imgkit.linux.files import Identity

    Progress = Callable[[int, int], object]

Record = dict[str, Any]

_RECEIPT_LIMIT = 1 << 16
_INFO_LIMIT = 1 << 20
_LINE = re.compile(
    rb"^Imgkit-Line: ([0-9]{1,15})\r?$", re.MULTILINE
)  # another may be handed over just after it


@dataclass(frozen=True, slots=True)
class Offered:
    """A hand-over as the bag tells it, verified.

    Attributes:
        checked: The bag.
        record: The custody.transferred in it.
        head: Hash of its line.
        receipt: The receipt in the bag.
        case: Number of the giver's case, or None.
        codes: What verification found, but no failure.
        warnings: The same in words, where it is a warning.
    """

    checked: Checked
    record: Record
    head: str
    receipt: Receipt
    case: str | None
    codes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def giver(self) -> Person:
        """Who hands over, as the record names them."""
        return Person(**named(self.record, "from"))


def look_at_bag(
    bag: str, *, receipt: str | None, signers: str | None, progress: Progress | None = None
) -> tuple[Offered | None, list[str]]:
    """Compare a bag with its manifests, its log with itself and with the receipts; None and why, where it is not whole.

    Args:
        bag: Path of the bag.
        receipt: A receipt that came another way, a text or a file, or None.
        signers: An allowed_signers file, or None.
        progress: Called with bytes read, and bytes there are.

    Raises:
        CustodyError: It is no bag, cannot be read, or holds no hand-over.
    """
    with acting_as(identity_in(os.path.abspath(bag))):
        checked = check_bag(bag, counting(bag, progress))
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
            inside = find_receipt(file.read(_RECEIPT_LIMIT))
    # With our own rights: it loads modules late, which another user may not read.
    receipts: list[Receipt | str] = [inside, *([receipt] if receipt else [])]
    verification = verify_log(case, signers=signers, receipts=receipts)
    if verification.newer is not None:
        raise CustodyError(
            "the log in the bag was written by a newer imgkit", hint="use that version, or a later one"
        )
    if verification.failed:
        return None, [_in_words(one) for one in verification.findings if one.severity == "FAIL"]
    warnings = tuple(
        _in_words(one)
        for one in verification.findings
        if one.severity == "WARN"
        and one.code != "NO_HEAD_MEMORY"  # this host cannot have one of another's log
    )
    offered = _offered(checked, os.path.join(case, LOG_NAME), inside)
    return replace(offered, codes=tuple(sorted(verification.codes)), warnings=warnings), []


def _in_words(finding: LogFinding) -> str:
    return finding.code + (f" at line {finding.line}" if finding.line else "") + f": {finding.message}"


def _stated_line(checked: Checked, identity: Identity | None) -> int | None:
    """Which hand-over the bag is of, as it says itself; None, the last one in its log, where it does not."""
    place = os.path.join(checked.path, INFO)
    with acting_as(identity), told(f"read {place!r}", given=True), open(place, "rb") as file:
        found = _LINE.search(file.read(_INFO_LIMIT))
    return int(found[1]) if found else None


def _offered(checked: Checked, log: str, receipt: Receipt) -> Offered:
    identity = identity_in(os.path.dirname(log))
    offer = find_offer(read_records(log, identity=identity), _stated_line(checked, identity)).record
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
    return Offered(checked, offer, head, receipt, str(number) if number else None)


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
            digests_of(one)
    except (*MALFORMED, UsageError) as error:
        raise CustodyError(
            f"line {offer['seq']} is no hand-over as imgkit writes it", code="SCHEMA"
        ) from error
    if wrong:
        raise CustodyError(f"line {offer['seq']} is no hand-over as imgkit writes it", code="SCHEMA")


def named(offer: Record, key: str) -> dict[str, str]:
    """Return giver or receiver (`from`, `to`) as a hand-over names them: name and id, whatever else stands there."""
    return {name: printable(offer["data"][key][name]) for name in ("name", "id")}


def digests_of(item: Record) -> list[Digest]:
    """Return the digests of an exhibit that was handed over, as stated."""
    return [Digest(name, value) for name, value in item["digests"].items()]
