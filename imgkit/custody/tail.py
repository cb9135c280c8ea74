"""The end of a log, read under its lock: against this host's memory of the head, and for what a crash tore."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import ZEROS, decode, is_json, line_hash
from imgkit.custody.schema import is_newer
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from imgkit.custody.state import Head

WINDOW = 1 << 20  # bytes read back at most: sixteen of the longest lines
_TORN_SHOWN = 1024  # bytes of a torn line that log.recovered quotes
_ASK = "run imgkit log verify; nothing was written"


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the next line goes.

    Attributes:
        length: Bytes of the file as it lies.
        seq: Number of the last line, torn or not.
        head: H(seq), with the LF that may still be missing.
        last: Bytes of line `seq`, with its LF.
        last_good: Number of the last line that is a record.
        good_head: H(last_good); None where that line was not read.
        torn: The lines after it, with their LF.
        closed: Whether the file's last byte is LF.
    """

    length: int
    seq: int
    head: str
    last: int
    last_good: int
    good_head: str | None
    torn: tuple[bytes, ...]
    closed: bool

    @property
    def complete_bytes(self) -> int:
        """Bytes of the file once its last line is closed."""
        return self.length + (0 if self.closed else 1)

    def recovery(self) -> dict[str, Any]:
        """Return the `data` of the log.recovered that seals the torn lines."""
        first = self.seq - len(self.torn) + 1
        return {
            "last_good": self.last_good,
            "head": self.good_head,  # a torn line names no line before it: this does in its place
            "torn": [
                {
                    "line": number,
                    "bytes": len(line),
                    "sha256": line_hash(line),
                    "base64": base64.b64encode(line[:_TORN_SHOWN]).decode("ascii"),
                }
                for number, line in enumerate(self.torn, first)
            ],
        }


def difference(fd: int, remembered: Head) -> str | None:
    """Return ROLLBACK where the log is shorter than remembered, FORK where it holds other bytes there, else None.

    Raises:
        OSError: The log cannot be read.
    """
    if os.fstat(fd).st_size < remembered.bytes:
        return "ROLLBACK"
    line = _read(fd, remembered.bytes - remembered.last, remembered.last)
    return None if line_hash(line) == remembered.head else "FORK"


def refuse_difference(fd: int, remembered: Head, path: str) -> None:
    """Raise unless the log still is what this host remembers, or more.

    Raises:
        CustodyError: Code ROLLBACK or FORK.
        OSError: The log cannot be read.
    """
    code = difference(fd, remembered)
    if code is None:
        return
    what = "is shorter than" if code == "ROLLBACK" else "holds other records than"
    raise CustodyError(
        f"custody log {path!r} {what} this host remembers ({remembered.size} lines, head {remembered.head:.16})",
        code=code,
        hint="find out who replaced it; imgkit log accept-rollback --reason TEXT records that you go on with it",
    )


def read_tail(fd: int, log: str, remembered: Head | None, path: str) -> Tail:
    """Read the end of the log, bounded by WINDOW, and check all of it that was read.

    Args:
        fd: The log, open and locked.
        log: Its uuid.
        remembered: This host's memory, already found to agree; None: read back a whole window.
        path: For messages.

    Raises:
        CustodyError: The end is no crash but damage (BAD_LINE, CHAIN_BREAK, SEQ, FOREIGN_LOG), or from a newer imgkit.
        OSError: The log cannot be read.
    """
    size = os.fstat(fd).st_size
    if size == 0:
        raise CustodyError(f"custody log {path!r} is empty; imgkit never leaves it so", hint=_ASK)
    reader = _Reader(log, path)
    start = max(0, size - WINDOW)
    if remembered is not None and remembered.bytes >= start:
        start = remembered.bytes
        reader.know(remembered.size, remembered.head, remembered.last)
    elif start == 0:
        reader.know(0, ZEROS, 0)
    if start != size:
        os.posix_fadvise(fd, start, 0, os.POSIX_FADV_DONTNEED)  # after a failed fsync the page cache may lie
    pieces = _read(fd, start, size - start).split(b"\n")
    rest = pieces.pop()
    lines = [piece + b"\n" for piece in pieces]
    if reader.seq is None:
        lines = lines[1:]  # its beginning lies before the window
    for line in lines:
        reader.take(line)
    if rest:
        reader.take(rest + b"\n")
    return reader.tail(size, closed=not rest)


class _Reader:
    """Follows the chain over the lines it is given; `seq` is None as long as the number of a line is not known."""

    def __init__(self, log: str, path: str) -> None:
        self.seq: int | None = None
        self._log = log
        self._path = path
        self._prev: str | None = None
        self._last = 0
        self._good = 0
        self._good_head: str | None = None
        self._torn: list[bytes] = []

    def know(self, seq: int, head: str, last: int) -> None:
        self.seq, self._good, self._prev, self._last = seq, seq, head, last
        self._good_head = head

    def take(self, line: bytes) -> None:
        """The next line, with its LF (added where the file lacks it: it hashes as it will lie)."""
        try:
            record = decode(line)
        except CustodyError as error:
            if is_json(line):
                raise self._damage("BAD_LINE", error.message) from error
            self._torn.append(line)
        else:
            self._take_record(record)
            self._good_head = line_hash(line)
        self.seq = None if self.seq is None else self.seq + 1
        self._prev, self._last = line_hash(line), len(line)

    def _take_record(self, record: dict[str, Any]) -> None:
        if is_newer(record):
            hint = "append to it with that version, or a later one"
            raise CustodyError(f"custody log {self._path!r} was written by a newer imgkit", hint=hint)
        if record.get("log") != self._log:
            raise self._damage("FOREIGN_LOG", f"a line belongs to log {record.get('log')}")
        seq, prev = record.get("seq"), record.get("prev")
        if self._torn and record.get("type") != "log.recovered":
            raise self._damage("BAD_LINE", f"the line before line {seq} is no record")
        if type(seq) is not int or (self.seq is not None and seq != self.seq + 1):
            raise self._damage("SEQ", f"a line says it is number {seq}, not {(self.seq or 0) + 1}")
        if self._prev is not None and prev != self._prev:
            raise self._damage("CHAIN_BREAK", f"line {seq} does not name the hash of the line before")
        stated = _stated_head(record) if self._torn else None
        if None not in (stated, self._good_head) and stated != self._good_head:
            raise self._damage(
                "CHAIN_BREAK", f"line {seq} does not name the hash of the line before the torn ones"
            )
        self.seq, self._good = seq - 1, seq
        self._torn.clear()

    def tail(self, size: int, *, closed: bool) -> Tail:
        if self.seq is None or self._prev is None:
            raise self._damage("BAD_LINE", f"no record within the last {WINDOW} bytes")
        if self.seq == len(self._torn):
            raise self._damage("BAD_LINE", "line 1 is no record")
        return Tail(
            size, self.seq, self._prev, self._last, self._good, self._good_head, tuple(self._torn), closed
        )

    def _damage(self, code: str, what: str) -> CustodyError:
        return CustodyError(f"cannot append to custody log {self._path!r}: {what}", code=code, hint=_ASK)


def _stated_head(recovered: dict[str, Any]) -> object:
    """The hash that a log.recovered states of the line before the torn ones, or None."""
    data = recovered.get("data")
    return data.get("head") if isinstance(data, dict) else None


def holds_since(fd: int, start: int, needle: bytes) -> bool:
    """Whether `needle` stands in the log at or after byte `start`: has somebody else recorded it meanwhile?

    Raises:
        OSError: The log cannot be read.
    """
    size = os.fstat(fd).st_size
    return needle in _read(fd, start, max(0, size - start))


def _read(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(fd, length, offset)
        if not part:
            break  # cut off while we look: what there is decides
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)
