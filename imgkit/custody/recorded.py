"""The checkpoints that a log records, as the log alone tells them: what can be stamped and given a receipt for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.checkpoint import Receipt
from imgkit.custody.checkpoint_files import BODY, RECORDED, SIGNATURE
from imgkit.custody.reading import lines_of
from imgkit.custody.record import MALFORMED, decode
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from imgkit.custody.log import CustodyLog

# What may follow a checkpoint without anything new to vouch for: its own record, stamps, receipts that were given.
_PAPERS = (RECORDED, b'"type":"log.anchored"', b'"type":"receipt.given"')


@dataclass(frozen=True, slots=True)
class Recorded:
    """A checkpoint as its record has it.

    Attributes:
        n: Its number.
        log, size, bytes, head, file: As in Checkpoint.
        body: SHA-256 of its body.
        signature: SHA-256 of its signature, or None.
        line: Of its record.
    """

    n: int
    log: str
    size: int
    bytes: int
    head: str
    file: str
    body: str
    signature: str | None
    line: int

    @property
    def name(self) -> str:
        """`000012`: what its files are called."""
        return f"{self.n:06}"

    @property
    def receipt(self) -> Receipt:
        """The same, for somebody else to keep."""
        return Receipt(self.log, self.size, self.bytes, self.head, self.file)

    @property
    def sums(self) -> Sums:
        """What its `.sums` must hold: the lines that a time stamp is made over."""
        files = [(BODY, self.body), *([(SIGNATURE, self.signature)] if self.signature else [])]
        return "".join(f"{digest}  {self.name}{end}\n" for end, digest in files).encode()


Sums = bytes  # a field of the class is called bytes, as in the format


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What a log says of its checkpoints.

    Attributes:
        found: In order.
        settled: Whether nothing that is to be vouched for follows the last one.
    """

    found: tuple[Recorded, ...]
    settled: bool

    def chosen(self, number: int | None) -> Recorded:
        """Return the one with this number, the last one by default.

        Raises:
            CustodyError: There is none.
        """
        if not self.found:
            raise CustodyError("the log has no checkpoint yet", hint="imgkit log checkpoint makes one")
        if number is None:
            return self.found[-1]
        for one in self.found:
            if one.n == number:
                return one
        raise CustodyError(
            f"the log has no checkpoint {number}", hint=f"it has {self.found[0].n} to {self.found[-1].n}"
        )


def checkpoints_of(log: CustodyLog) -> Checkpoints:
    """Read which checkpoints a log records.

    Raises:
        CustodyError: The log cannot be read.
    """
    found, settled = list[Recorded](), False
    for _offset, line in lines_of(log.path, log.identity):
        if RECORDED in line and (one := _recorded(line)) is not None:
            found.append(one)
            settled = True
        elif not any(kind in line for kind in _PAPERS):
            settled = False
    settled = settled and bool(found) and _only_papers_between(log, found[-1])
    return Checkpoints(tuple(found), settled)


def _only_papers_between(log: CustodyLog, last: Recorded) -> bool:
    """Whether no other run wrote between what the checkpoint covers and its record."""
    if last.line == last.size + 1:
        return True
    lines = (
        line for number, (_, line) in enumerate(lines_of(log.path, log.identity), 1) if number > last.size
    )
    return all(any(kind in line for kind in _PAPERS) for line in lines)


def _recorded(line: bytes) -> Recorded | None:
    with contextlib.suppress(CustodyError, *MALFORMED):  # torn, or of somebody else: it counts for nothing
        record = decode(line)
        data: dict[str, Any] = record["data"]
        if record["type"] == "log.checkpointed":
            return Recorded(
                n=data["n"],
                log=record["log"],
                size=data["size"],
                bytes=data["bytes"],
                head=data["head"],
                file=data["file"],
                body=data["body"],
                signature=data.get("signature"),
                line=record["seq"],
            )
    return None
