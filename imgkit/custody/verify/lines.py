"""The lines of a log, one at a time: their bytes, their hash, and what they are."""

from __future__ import annotations

import hashlib
import json
import os
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from imgkit.custody.record import LINE_LIMIT, decode, is_json
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

# How often, and how long each time, to wait for the end of a line that a running imgkit may be writing just now.
SETTLE_TRIES = 4
SETTLE_SECONDS = 0.003


class Kind(Enum):
    """What the bytes of a line are."""

    RECORD = "a record in the one encoding"
    BAD = "made by something else: JSON in another encoding, or longer than a line may be"
    TORN = "no JSON at all: the rest of a write that did not come to its end"


class Line(NamedTuple):
    """One line.

    Attributes:
        number: From 1.
        raw: Its bytes with the LF; only the first 65,536 where it is longer than a line may be.
        size: How many bytes it has, with the LF.
        end: Offset of the byte after it.
        hash: H(number), as if it had its LF.
        ended: Whether it has its LF; only the last line can lack it.
        kind: What the bytes are.
        record: What they say; of a bad line what a lenient reader would take from it, {} where nothing.
        why: What is wrong with a bad line.
    """

    number: int
    raw: bytes
    size: int
    end: int
    hash: str
    ended: bool
    kind: Kind
    record: dict[str, Any]
    why: str


def settled_size(fd: int) -> int:
    """Return the size of a log at a moment when no line was half written, as far as a short wait shows it."""
    size = 0
    for attempt in range(SETTLE_TRIES):
        if attempt:
            time.sleep(SETTLE_SECONDS)
        size = os.fstat(fd).st_size
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            break
    return size


def read_lines(file: BinaryIO, size: int) -> Iterator[Line]:
    """Yield the lines in the first `size` bytes.

    Memory: one line of at most 65,536 bytes, however long the lines are.
    """
    number = end = 0
    readline = file.readline
    while end < size:
        raw = readline(min(LINE_LIMIT, size - end))
        if not raw:
            return  # cut while we read; what was there is judged
        number += 1
        end += len(raw)
        if raw[-1] == 10:  # noqa: PLR2004  (LF)
            try:
                record = decode(raw)
            except CustodyError as error:
                yield _judged(number, raw, end, error)
            else:
                digest = hashlib.sha256(raw).hexdigest()
                yield Line(number, raw, len(raw), end, digest, True, Kind.RECORD, record, "")  # noqa: FBT003  (a fact)
        elif end == size and len(raw) < LINE_LIMIT:
            yield _without_end(number, raw, end)
        else:
            line = _overlong(file, number, raw, end, size)
            end = line.end
            yield line


def _judged(number: int, raw: bytes, end: int, error: CustodyError) -> Line:
    """A whole line that is no record of ours: made by something else, or torn."""
    kind = Kind.BAD if is_json(raw) else Kind.TORN
    record = _leniently(raw) if kind is Kind.BAD else {}
    why = error.message.removeprefix("a line of the custody log ")
    digest = hashlib.sha256(raw).hexdigest()
    return Line(number, raw, len(raw), end, digest, ended=True, kind=kind, record=record, why=why)


def _without_end(number: int, raw: bytes, end: int) -> Line:
    """The last line where it lacks its LF: a whole record counts, anything else is torn or bad like any line."""
    whole = raw + b"\n"
    try:
        record = decode(whole)
    except CustodyError as error:
        return _judged(number, whole, end, error)._replace(size=len(raw), ended=False)
    digest = hashlib.sha256(whole).hexdigest()
    return Line(number, whole, len(raw), end, digest, ended=False, kind=Kind.RECORD, record=record, why="")


def _overlong(file: BinaryIO, number: int, start: bytes, end: int, size: int) -> Line:
    """A line that goes on after the limit: hashed piece by piece, never held or parsed."""
    hasher = hashlib.sha256(start)
    length, ended = len(start), False
    while end < size and not ended:
        piece = file.readline(min(LINE_LIMIT, size - end))
        if not piece:
            break
        hasher.update(piece)
        length += len(piece)
        end += len(piece)
        ended = piece.endswith(b"\n")
    if not ended:
        hasher.update(b"\n")
    why = f"has {length:,} bytes, more than the {LINE_LIMIT:,} a line may have"
    return Line(
        number, start, length, end, hasher.hexdigest(), ended=ended, kind=Kind.BAD, record={}, why=why
    )


def _leniently(raw: bytes) -> dict[str, Any]:
    """What a reader that is not strict would take from a line; is_json has said that it is JSON."""
    value = json.loads(raw.decode())
    return value if isinstance(value, dict) else {}
