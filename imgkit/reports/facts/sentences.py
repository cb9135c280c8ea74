"""Sentences of a facts sheet: wrapped, harmless, each with the line of the log that says so."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from imgkit.custody.record import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgkit.reports.view import Act, Correction

WIDTH = 100
_LONGEST = 2_000  # characters of one text; the log has the rest
_LISTED = 200  # of one kind in a row: a sheet is to be read


def say(sentence: str, indent: int = 0) -> Iterator[str]:
    """A sentence over as many lines as it needs, the further ones set in."""
    shown = printable(sentence)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]} [cut: {len(shown):,} characters, in full in the log or its enclosures]"
    lead = "  " * indent
    yield from textwrap.wrap(
        shown, WIDTH, initial_indent=lead, subsequent_indent=f"{lead}  ", break_on_hyphens=False
    )


def whole(words: str) -> Iterator[str]:
    """A digest on a line of its own: never parted, for who copies it."""
    yield f"      {printable(words)[:_LONGEST]}"


def head(title: str) -> Iterator[str]:
    """A title, underlined."""
    yield title
    yield "-" * len(title)


def correction(one: Correction, indent: int = 0) -> Iterator[str]:
    """What somebody said later of a line, which stays as it is."""
    yield from say(
        f"Line {one.of}, {one.field}: corrected from {one.was!r} to {one.now!r} by {one.actor} on {one.time}, "
        f"because: {one.why} {at([one.line])}",
        indent,
    )


def few(found: Sequence[Iterable[str]]) -> Iterator[str]:
    """The first of a long row, and how many more there are."""
    for lines in found[:_LISTED]:
        yield from lines
    if len(found) > _LISTED:
        yield f"    and {len(found) - _LISTED:,} more: the csv reports have all of them"


def at(lines: Iterable[int]) -> str:
    """`[line 5]`: where the log says so."""
    numbers = [str(line) for line in dict.fromkeys(lines) if line]
    return f"[line {numbers[0]}]" if len(numbers) == 1 else f"[lines {', '.join(numbers)}]"


def count(number: int, one: str, more: str) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number:,} {one if number == 1 else more}"


def tool(act: Act) -> str:
    """The tool of an act, with its version."""
    return act.session.tool or "a tool that is not stated"
