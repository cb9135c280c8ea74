"""What a verification proves and what not, in words: the reader of a report needs both lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.verify.finding import CODES, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

_OF_LINES = frozenset({"BAD_LINE", "CHAIN_BREAK", "SEQ", "FOREIGN_LOG", "SCHEMA"})
_NEVER = (
    "that the person named in a record was at the keyboard",
    "that nothing happened to the evidence outside imgkit",
    "what the media held before its first hash",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the checks came to.

    Attributes:
        log: The log's uuid, or None.
        lines: Complete lines.
        codes: What was found.
        newer: First line of a newer imgkit, or None.
        remembered: The line up to which this host's memory agrees, or None.
        folder: Whether the files beside the log were looked at.
        unchanged: Enclosures that have the digest that was stated.
        checkpoints: Files in checkpoints/, none of which was checked.
        receipts: Files in receipts/, none of which was compared.
        accepted: Lines at which somebody accepted that the log is not what this host remembered.
    """

    log: str | None
    lines: int
    codes: AbstractSet[str]
    newer: int | None
    remembered: int | None
    folder: bool
    unchanged: int
    checkpoints: int
    receipts: int
    accepted: tuple[int, ...]


def proved(seen: Seen) -> Iterator[str]:
    """What is shown, one sentence each."""
    if seen.lines and not seen.codes & _OF_LINES:
        yield (
            f"lines 1 to {seen.lines:,} are one unbroken chain of log {seen.log}: "
            "no line was edited, moved, inserted or taken out since, unless all after it were written anew"
        )
        if seen.newer is None and "OUTCOME_NO_INTENT" not in seen.codes:
            yield "every outcome was announced before by its intent"
    if seen.remembered is not None:
        yield f"line {seen.remembered:,} is as this host left it, and so are all before it if the chain is unbroken"
    if seen.unchanged:
        yield f"{seen.unchanged:,} enclosures have the SHA-256 that the log states"


def not_proved(seen: Seen) -> Iterator[str]:
    """What is not shown, one sentence each."""
    failed = sorted(code for code in seen.codes if CODES[code] is Severity.FAIL)
    if failed:
        yield f"that the log is what it says: {', '.join(failed)}"
    if seen.newer is not None:
        yield f"what line {seen.newer:,} and other lines of a newer imgkit mean: use that version"
    beyond = "that" if seen.remembered is None else f"after line {seen.remembered:,}, that"
    yield (
        f"{beyond} no lines were cut off the end and that the log was not written anew as a whole: "
        "no signature, time stamp or receipt held by somebody else was compared"
    )
    if seen.checkpoints or seen.receipts:
        yield (
            f"what {seen.checkpoints:,} files in checkpoints/ and {seen.receipts:,} in receipts/ say: "
            "this imgkit does not read them"
        )
    if not seen.folder:
        yield "anything about enclosures: the log was looked at alone"
    if seen.accepted:
        lines = ", ".join(f"{line:,}" for line in seen.accepted)
        yield f"what stood before line {lines}: there somebody accepted that the log was not what a host remembered"
    yield from _NEVER
