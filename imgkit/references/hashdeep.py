"""hashdeep's files: a `%%%%` header that names the columns, then comma-separated lines (md5deep's lines are coreutils.py's).

https://md5deep.sourceforge.net/hashdeep.html. Names are not escaped: one with a newline cannot be read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.errors import UsageError
from imgkit.hashing import Digest, algorithm_name
from imgkit.references.reference import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARK = "%%%% "
_MOST_COLUMNS = 16


def is_hashdeep(first_line: str) -> bool:
    """Whether a file that begins with this line is hashdeep's."""
    return first_line.startswith(f"{_MARK}HASHDEEP-1.")


def read(lines: Iterable[tuple[int, str]]) -> Iterator[Statement]:
    """Yield what the lines (number from 1, text) state; columns of algorithms that nobody computes are passed over."""
    columns: list[str | None] = []
    for number, text in lines:
        if text.startswith(_MARK):
            columns = _columns(text.removeprefix(_MARK).strip())
        elif columns and not text.startswith("##"):
            yield from _read_line(number, text.removesuffix("\r"), columns)


def _columns(header: str) -> list[str | None]:
    """The algorithm of each column between size and filename; empty where the line is no list of columns."""
    names = header.lower().split(",")
    if names[0] != "size" or names[-1] != "filename" or len(names) > _MOST_COLUMNS:
        return []
    return [_known(name) for name in names[1:-1]]


def _known(name: str) -> str | None:
    try:
        return algorithm_name(name)
    except UsageError:
        return None  # tiger, whirlpool


def _read_line(number: int, text: str, columns: list[str | None]) -> Iterator[Statement]:
    fields = text.split(",", len(columns) + 1)
    if len(fields) != len(columns) + 2 or not fields[0].strip().isdecimal() or not fields[-1]:
        return
    for algorithm, value in zip(columns, fields[1:-1], strict=True):
        if algorithm is None:
            continue
        try:
            yield Statement(Digest(algorithm, value.lower()), fields[-1], number)
        except UsageError:
            continue  # cut short
