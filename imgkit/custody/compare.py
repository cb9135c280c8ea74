"""Two copies of a log side by side: the same, one the beginning of the other, or from which line on they differ."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, NoReturn

from imgkit.custody.durable import told
from imgkit.custody.record import LINE_LIMIT, ZEROS, encode_document, printable
from imgkit.errors import CustodyError
from imgkit.linux.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_NAME = "custody.jsonl"
SHOWN = 200  # characters of a value
FIELDS_LIMIT = 64  # fields that are listed of a line

Relation = Literal["same", "prefix", "forked", "other-log"]

_BLOCK = 1 << 20
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Copy:
    """One of the two.

    Attributes:
        path: The log file.
        log: The uuid that its first line states, or None.
        lines: Complete lines.
        bytes: Bytes of these lines.
        head: Hash of the last of them; 64 zeros where there is none.
        rest: Bytes after the last LF.
    """

    path: str
    log: str | None
    lines: int
    bytes: int
    head: str
    rest: int


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that is not the same, as text; None where one of the two does not have it."""

    field: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The first line that is not the same.

    Attributes:
        line: Its number.
        fields: What of the two records differs, in the order of the fields; empty where the bytes alone do.
        remarks: Sentences about it.
    """

    line: int
    fields: tuple[FieldDifference, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogComparison:
    """What two copies are to each other.

    Attributes:
        relation: `same`; `prefix`: one is the beginning of the other; `forked`: they differ from a line on; `other-log`.
        shorter: `a` or `b` where it is a prefix.
        a, b: The copies.
        common: Complete lines that are the same in both.
        common_bytes: Bytes of these lines.
        common_head: Hash of the last of them.
        difference: The first line that differs, where one does.
    """

    relation: Relation
    shorter: Literal["a", "b"] | None
    a: Copy
    b: Copy
    common: int
    common_bytes: int
    common_head: str
    difference: Difference | None

    @property
    def more(self) -> int:
        """Complete lines that the longer copy has more."""
        return abs(self.a.lines - self.b.lines)

    @property
    def exit_code(self) -> int:
        """0: same, or one is the beginning of the other; else 1."""
        return 0 if self.relation in {"same", "prefix"} else 1

    def __bool__(self) -> NoReturn:
        raise TypeError("ask a LogComparison for .relation or .exit_code")


class _Line(NamedTuple):
    """A line, or the first 65,536 bytes of one that is longer; its hash is over all of it."""

    raw: bytes
    size: int
    hash: str
    ended: bool

    def record(self) -> dict[str, Any] | None:
        """What a lenient reader takes from it."""
        try:
            value = json.loads(self.raw.removeprefix(_BOM).decode())
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def compare_logs(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> LogComparison:
    """Compare two copies of a log, byte for byte; nothing is locked or written.

    Args:
        a: A case folder or a log file.
        b: Another.

    Raises:
        CustodyError: One of them cannot be read, or is compressed.
    """
    with ExitStack() as stack:
        sides = [_Side(stack, os.fspath(path)) for path in (a, b)]
        return _compare(*sides)


class _Side:
    """One copy while it is read: its lines, and what was counted so far."""

    def __init__(self, stack: ExitStack, path: str) -> None:
        self.path = os.path.join(path, LOG_NAME) if os.path.isdir(path) else path
        self._file = stack.enter_context(_opened(self.path))
        self._left = os.fstat(self._file.fileno()).st_size
        self.log: str | None = None
        self.lines = self.bytes = self.rest = 0
        self.head = ZEROS

    def next(self) -> _Line | None:
        """The next line; what has no LF at the end is one too, and is not counted."""
        with told(f"read custody log {self.path!r}", given=True):
            line = self._read()
        if line is None:
            return None
        if self.lines == 0:
            log = (line.record() or {}).get("log")
            self.log = printable(log)[:SHOWN] if isinstance(log, str) else None
        if line.ended:
            self.lines, self.bytes, self.head = self.lines + 1, self.bytes + line.size, line.hash
        else:
            self.rest = line.size
        return line

    def _read(self) -> _Line | None:
        first = piece = self._file.readline(min(LINE_LIMIT, self._left))
        if not first:
            return None
        size, hasher = len(first), hashlib.sha256(first)
        self._left -= len(first)
        while not piece.endswith(b"\n") and self._left:
            piece = self._file.readline(min(_BLOCK, self._left))
            if not piece:
                break  # cut while we read
            self._left -= len(piece)
            size += len(piece)
            hasher.update(piece)
        return _Line(first, size, hasher.hexdigest(), piece.endswith(b"\n"))

    def finish(self) -> Copy:
        while self.next() is not None:
            pass  # each counts itself
        return Copy(self.path, self.log, self.lines, self.bytes, self.head, self.rest)


def _opened(path: str) -> BinaryIO:
    with told(f"open custody log {path!r}", given=True):
        file = open_regular(path, follow=True, buffering=_BLOCK)
        start = os.pread(file.fileno(), 8, 0)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            file.close()
            raise CustodyError(
                f"{path!r} is compressed ({name}) and no log as it was written", hint="unpack it first"
            )
    return file


def _compare(a: _Side, b: _Side) -> LogComparison:
    common, common_bytes, head = 0, 0, ZEROS
    while True:
        one, other = a.next(), b.next()
        if one is None or other is None or one.hash != other.hash:
            break
        if one.ended:
            common, common_bytes, head = a.lines, a.bytes, a.head
    if _is_beginning(one, other):
        shorter: Literal["a", "b"] | None = None if one == other else "a" if _is_shorter(one, other) else "b"
        relation: Relation = "same" if shorter is None else "prefix"
        return LogComparison(relation, shorter, a.finish(), b.finish(), common, common_bytes, head, None)
    assert one is not None  # noqa: S101  (both have a line here, or it were the beginning)
    assert other is not None  # noqa: S101
    difference = _difference(common + 1, (one, other), (a.next(), b.next()), head)
    relation = "other-log" if common == 0 and a.log != b.log and None not in (a.log, b.log) else "forked"
    return LogComparison(relation, None, a.finish(), b.finish(), common, common_bytes, head, difference)


def _is_shorter(one: _Line | None, other: _Line | None) -> bool:
    return one is None or (other is not None and one.size < other.size)


def _is_beginning(one: _Line | None, other: _Line | None) -> bool:
    """Whether one of them ends here, perhaps within a line that the other has whole."""
    if one is None or other is None:
        return True
    short, long = (one, other) if one.size <= other.size else (other, one)
    return not short.ended and long.raw.startswith(short.raw)


def _difference(
    number: int, lines: tuple[_Line, _Line], after: tuple[_Line | None, _Line | None], head: str
) -> Difference:
    records = tuple(line.record() for line in lines)
    fields: tuple[FieldDifference, ...] = ()
    if records[0] is not None and records[1] is not None:
        fields = _fields(records[0], records[1])
    remarks = [
        f"line {number} of {name} {what}"
        for name, line, record in zip("AB", lines, records, strict=True)
        for what in _form(line, record)
    ]
    if None not in records and not fields:
        remarks.append("both say the same in other bytes: a copy was changed on its way")
    remarks += _pointers(number, lines, after, head)
    return Difference(number, fields, tuple(remarks))


def _form(line: _Line, record: dict[str, Any] | None) -> Iterator[str]:
    """What is wrong with the bytes of a line."""
    raw = line.raw
    if not line.ended:
        yield "is cut off"
    if raw.startswith(_BOM):
        yield "begins with a byte order mark"
    if raw.endswith(b"\r\n"):
        yield "ends in CR LF"
    elif raw.rstrip(b"\n") != raw.rstrip():
        yield "has blanks at its end"
    if record is None:
        yield f"is no record: {printable(raw[:SHOWN])}"
    elif not list(_outside(raw)) and _other_encoding(record, raw):
        yield "is not in the one encoding of a record"


def _outside(raw: bytes) -> Iterator[str]:
    if raw.startswith(_BOM) or raw.rstrip(b"\n") != raw.rstrip():
        yield "already said"


def _other_encoding(record: dict[str, Any], raw: bytes) -> bool:
    try:
        return encode_document(record) != raw
    except CustodyError:
        return True


def _pointers(
    number: int, lines: tuple[_Line, _Line], after: tuple[_Line | None, _Line | None], head: str
) -> Iterator[str]:
    """Which line the lines at and after the fork point at: an edit shows itself, two branches do not."""
    for name, line, other, following in zip("AB", lines, reversed(lines), after, strict=True):
        prev = (line.record() or {}).get("prev")
        if number > 1 and prev is not None and prev != head:
            yield f"line {number} of {name} does not point at line {number - 1}"
        prev = (following.record() or {}).get("prev") if following is not None else None
        if prev is not None and prev not in (line.hash, other.hash):
            yield f"line {number + 1} of {name} points at neither"
        elif prev == other.hash:
            yield f"line {number + 1} of {name} points at line {number} as the other copy has it: {name} was changed"


def _fields(one: dict[str, Any], other: dict[str, Any]) -> tuple[FieldDifference, ...]:
    a, b = dict(_flat(one, "", 1)), dict(_flat(other, "", 1))
    names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return tuple(FieldDifference(name, a.get(name), b.get(name)) for name in names[:FIELDS_LIMIT])


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every leaf as `data.digests.sha256` and its text; what is deeper than a record may be stays one text."""
    if depth <= 8 and isinstance(value, dict) and value:  # noqa: PLR2004  (DEPTH_LIMIT)
        for key, item in value.items():
            yield from _flat(item, f"{name}.{printable(key)}" if name else printable(key), depth + 1)
    elif depth <= 8 and isinstance(value, list) and value:  # noqa: PLR2004
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}[{index}]", depth + 1)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield name, _shortened(printable(text))


def _shortened(text: str) -> str:
    """Long texts that differ must not look alike: their hash stands beside their beginning."""
    if len(text) <= SHOWN:
        return text
    return (
        f"{text[:SHOWN]}… ({len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
    )
