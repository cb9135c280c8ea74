"""Receipts, given and taken: one line that somebody else keeps, so that a log cannot lose its end, or be written anew, unseen.

A receipt that we gave lies in receipts/ too, but proves nothing there: it counts where somebody else holds it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.checkpoint import RECEIPT_MAGIC, Receipt
from imgkit.custody.checkpoint_files import RECEIPTS
from imgkit.custody.durable import read_whole, told
from imgkit.custody.keeping import keep
from imgkit.errors import CustodyError, UsageError
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from imgkit.custody.checkpoint import Checkpoint
    from imgkit.custody.log import CustodyLog
    from imgkit.custody.recorded import Recorded

TEXT_LIMIT = 1 << 20  # bytes: a mail with a receipt in it
_WORDS = 6  # of a receipt


@dataclass(frozen=True, slots=True)
class Given:
    """A receipt that was given.

    Attributes:
        receipt: What it says.
        path: The copy in receipts/.
        line: Of its record.
        notices: Sentences for the examiner.
    """

    receipt: Receipt
    path: str
    line: int
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """A receipt of another log that was taken in.

    Attributes:
        receipt: What it says.
        path: Where it is kept, in receipts/.
        line: Of its record.
        notices: Sentences for the examiner: that an earlier one of the same log says otherwise among them.
    """

    receipt: Receipt
    path: str
    line: int
    notices: tuple[str, ...] = ()


def give(
    log: CustodyLog, checkpoint: Checkpoint | Recorded, *, to: str | None = None, reason: str | None = None
) -> Given:
    """Record that somebody gets the receipt of a checkpoint, and keep a copy as receipts/given-NNNNNN.txt.

    Args:
        log: Whose.
        checkpoint: Of this log.
        to: Who gets it.
        reason: In the actor's words.

    Raises:
        CustodyError: It is not in the log; or the checkpoint is of another log.
    """
    receipt = checkpoint.receipt
    if receipt.log != log.uuid:
        raise CustodyError(f"checkpoint {checkpoint.n} is of log {receipt.log}, not of {log.path!r}")
    content = file_of(receipt)
    data = _data(receipt, content) | {"n": checkpoint.n, "name": f"given-{checkpoint.name}.txt"}
    data |= {"to": to} if to else {}
    kept = keep(log, RECEIPTS, str(data["name"]), content, kind="receipt.given", data=data, reason=reason)
    if kept is None:
        raise CustodyError(f"custody log {log.path!r} was not appended to")
    return Given(receipt, kept.path, kept.line, kept.notices)


def take(log: CustodyLog, text: str, *, sender: str | None = None, reason: str | None = None) -> Taken:
    """Keep another party's receipt as receipts/taken-LLLLLLLL-SIZE.txt and record it.

    Args:
        log: Of whoever keeps it.
        text: What came: the line, or a text with it in it.
        sender: From whom.
        reason: In the actor's words.

    Raises:
        UsageError: It is a receipt of this very log: it proves nothing here.
        CustodyError: There is no receipt in the text, or it cannot be kept.
    """
    receipt = find_receipt(text)
    if receipt.log == log.uuid:
        raise UsageError(
            "this is a receipt of this very log: it proves something where somebody else keeps it",
            hint="imgkit log verify --receipt compares the log with it",
        )
    content = file_of(receipt)
    name, notices = _name(log, receipt, content)
    data = _data(receipt, content) | {"log": receipt.log, "name": name}
    data |= {"from": sender} if sender else {}
    kept = keep(log, RECEIPTS, name, content, kind="receipt.taken", data=data, reason=reason)
    if kept is None:
        raise CustodyError(f"custody log {log.path!r} was not appended to")
    return Taken(receipt, kept.path, kept.line, (*notices, *kept.notices))


def find_receipt(text: str) -> Receipt:
    """Return the one receipt in a text: a line, one that a mail broke into several, one among other words.

    Raises:
        CustodyError: There is none, or there are different ones.
    """
    words = text.split()
    starts = [at for at, word in enumerate(words) if word.lower() == RECEIPT_MAGIC]
    found = {Receipt.parse(" ".join(words[at : at + _WORDS])) for at in starts}
    if len(found) > 1:
        raise CustodyError(f"the text has {len(found)} different receipts", hint="take them one by one")
    return found.pop() if found else Receipt.parse(text)


def file_of(receipt: Receipt) -> bytes:
    """What a file of a receipt holds: its line."""
    return f"{receipt}\n".encode()


def _data(receipt: Receipt, content: bytes) -> dict[str, str | int]:
    return {
        "size": receipt.size,
        "bytes": receipt.bytes,
        "head": receipt.head,
        "file": receipt.file,
        "text": hashlib.sha256(content).hexdigest(),
    }


def _name(log: CustodyLog, receipt: Receipt, content: bytes) -> tuple[str, list[str]]:
    """Its name; two receipts of one log that differ at the same size are kept both, for they prove a fork."""
    stem = f"taken-{receipt.log[:8]}-{receipt.size}"
    path = os.path.join(log.folder, RECEIPTS, f"{stem}.txt")
    with acting_as(log.identity), told(f"look at {path!r}"):
        try:
            if read_whole(path, limit=TEXT_LIMIT) == content:
                return f"{stem}.txt", []
        except FileNotFoundError:
            return f"{stem}.txt", []
    told_before = f"receipts/{stem}.txt says otherwise of log {receipt.log} with {receipt.size} lines: there are two of it"
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.txt", [told_before]
