"""Checkpoint: what a log was at one moment, as thirteen lines of ASCII that a person signs (docs/custody-log.md, section 11).

Only the format: what makes, signs and stamps checkpoints builds upon it, and so does the verifier, which shares no more
than this with them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from imgkit.custody.record import ZEROS
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = "imgkit-checkpoint/v1"
NAMESPACE = "custody@imgkit"  # of the signature: one made for anything else does not pass
BODY_LIMIT = 4096  # bytes
Body = bytes  # a field of the class is called bytes, as in the format
NONE = "-"  # a case without a number, a checkpoint that nobody signs

_HEX64 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_TEXT = re.compile(r"[\x20-\x7e]{1,1024}")
_FIELDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("n", _NUMBER),
    ("log", _UUID),
    ("case", _TEXT),
    ("size", _NUMBER),
    ("bytes", _NUMBER),
    ("head", _HEX64),
    ("file", _HEX64),
    ("merkle", _HEX64),
    ("prev", _HEX64),
    ("time", _TIME),
    ("signer", _TEXT),
    ("reason", _TEXT),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was when it had `size` complete lines.

    Attributes:
        n: Counts from 1 in each log.
        log: The log's uuid.
        case: Number of the case, or `-`.
        size: Complete lines.
        bytes: Bytes of these lines.
        head: Hash of the last of them (H of docs/custody-log.md, section 4).
        file: SHA-256 of these bytes.
        merkle: RFC 6962 root over these lines.
        prev: SHA-256 of the body of checkpoint n - 1, or 64 zeros.
        time: RFC 3339, microseconds, Z; of the maker's clock.
        signer: Principal that is to sign it, or `-`.
        reason: Why it was made: `transfer`, `seal` …
    """

    n: int
    log: str
    case: str
    size: int
    bytes: int
    head: str
    file: str
    merkle: str
    prev: str
    time: str
    signer: str
    reason: str

    @property
    def body(self) -> Body:
        """The lines that are signed.

        Raises:
            CustodyError: A value that no checkpoint can hold.
        """
        values = [(name, str(getattr(self, name)), pattern) for name, pattern in _FIELDS]
        for name, value, pattern in values:
            if not pattern.fullmatch(value):
                raise CustodyError(f"a checkpoint cannot say {name}: {value!r}")
        return "".join([f"{MAGIC}\n", *(f"{name}: {value}\n" for name, value, _ in values)]).encode("ascii")

    @property
    def name(self) -> str:
        """`000012`: what its files are called."""
        return f"{self.n:06}"

    @classmethod
    def parse(cls, body: Body) -> Self:
        """Read a body, which must be exactly what `body` writes.

        Raises:
            CustodyError: Another format, or any byte more or less.
        """
        lines = _lines(body)
        values: dict[str, str | int] = {}
        for line, (name, pattern) in zip(lines, _FIELDS, strict=True):
            key, colon, value = line.partition(": ")
            if key != name or not colon or not pattern.fullmatch(value):
                raise CustodyError(f"is no checkpoint: {line[:80]!a} stands where {name!r} should be")
            values[name] = int(value) if pattern is _NUMBER else value
        return cls(**values)  # type: ignore[arg-type]  # the patterns are the types

    @property
    def receipt(self) -> Receipt:
        """The same, for somebody else to keep."""
        return Receipt(self.log, self.size, self.bytes, self.head, self.file)


def _lines(body: bytes) -> list[str]:
    if len(body) > BODY_LIMIT or not body.isascii() or not body.endswith(b"\n"):
        raise CustodyError(f"is no checkpoint: {len(body)} bytes that are not all ASCII lines")
    magic, *lines = body.decode("ascii")[:-1].split("\n")
    if magic != MAGIC or len(lines) != len(_FIELDS):
        raise CustodyError(f"is no checkpoint: {magic[:80]!a} and {len(lines)} lines after it")
    return lines


def body_digest(body: bytes) -> str:
    """SHA-256 of a body: `prev` of the next checkpoint."""
    return hashlib.sha256(body).hexdigest()


FIRST_PREV = ZEROS


def case_word(number: object) -> str:
    """`case` of a checkpoint for a case number as the log has it: ASCII on one line, or `-` where there is none."""
    text = str(number).encode("unicode_escape").decode("ascii") if number else ""
    return text[:200] or NONE


@dataclass(frozen=True, slots=True)
class Receipt:
    """One line that somebody else keeps: what the log was when they were given something.

    Attributes:
        log, size, bytes, head, file: As in Checkpoint.
    """

    log: str
    size: int
    bytes: int
    head: str
    file: str

    def __str__(self) -> str:
        return f"{RECEIPT_MAGIC} {self.log} {self.size} {self.bytes} {self.head} {self.file}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a receipt that was kept on paper, in a mail or a file: capitals and line breaks in it do not matter.

        Raises:
            CustodyError: It is none.
        """
        words = text.lower().split()
        checks: tuple[Callable[[str], object], ...] = (
            _UUID.fullmatch, _NUMBER.fullmatch, _NUMBER.fullmatch, _HEX64.fullmatch, _HEX64.fullmatch,
        )  # fmt: skip
        if len(words) != 1 + len(checks) or words[0] != RECEIPT_MAGIC:
            raise _no_receipt(text)
        log, size, count, head, file = words[1:]
        if not all(check(word) for check, word in zip(checks, words[1:], strict=True)):
            raise _no_receipt(text)
        return cls(log, int(size), int(count), head, file)


RECEIPT_MAGIC = "imgkit-receipt/1"


def _no_receipt(text: str) -> CustodyError:
    return CustodyError(
        f"{text.strip()[:80]!a} is no receipt",
        hint=f"a receipt is one line: {RECEIPT_MAGIC}, the log, lines, bytes and two hashes of 64 digits",
    )
