"""What vouches for which lines, range by range, and what a verification shows and does not show, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.verify.finding import CODES, Severity, lines_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from imgkit.custody.verify.receipts import Held
    from imgkit.custody.verify.signatures import Signed
    from imgkit.custody.verify.stamps import Stamped

_OF_LINES = frozenset({"BAD_LINE", "CHAIN_BREAK", "SEQ", "FOREIGN_LOG", "SCHEMA"})
_SELF = " (self-asserted)"
_OUR_MARKS = frozenset('(),;:"')
_NAMED = 5  # receipts in a sentence
_NEVER = (
    "that the person named in a record was at the keyboard",
    "that nothing happened to the evidence outside imgkit",
    "what the media held before its first hash",
)


@dataclass(frozen=True, slots=True)
class Covered:
    """A range of lines and what vouches for it.

    Attributes:
        first, last: The lines.
        signed_by: Who signed that these lines were so: `jane.doe@lab.example (trusted)`, or `(self-asserted)`.
        stamped: The earliest time stamp by which they were there: `2026-05-01T12:35:02Z by TSA`, or nothing.
        receipts: Sizes of the receipts, held by others, that they agree with.
        memory: Whether this host remembers them so.
    """

    first: int
    last: int
    signed_by: tuple[str, ...]
    stamped: tuple[str, ...]
    receipts: tuple[int, ...]
    memory: bool

    def __str__(self) -> str:
        lines = lines_from(self.first, self.last)
        told = [f"signed by {', '.join(self.signed_by)}"] if self.signed_by else ["not signed"]
        told += [f"stamped {', '.join(self.stamped)}"] if self.stamped else ["no time stamp"]
        told += [f"held by {_receipts(self.receipts)}"] if self.receipts else ["no receipt"]
        told += ["remembered by this host"] if self.memory else []
        return f"{lines}: {'; '.join(told)}"


def _receipts(sizes: tuple[int, ...]) -> str:
    noun = "receipt" if len(sizes) == 1 else "receipts"
    more = " …" if len(sizes) > _NAMED else ""
    unit = "line" if sizes == (1,) else "lines"
    return f"{noun} of {', '.join(f'{size:,}' for size in sizes[:_NAMED])} {unit}{more}"


def covered(
    lines: int, signed: Sequence[Signed], stamped: Sequence[Stamped], held: Sequence[Held], remembered: range
) -> tuple[Covered, ...]:
    """Return the ranges between which something changes; but for memory, what speaks of line N speaks of all before it.

    Args:
        lines: Complete lines.
        signed: Good signatures.
        stamped: Good time stamps.
        held: Receipts that agree.
        remembered: The lines that this host's memory vouches for.
    """
    signers = _last_of_each(signed)
    stamps = _earliest(stamped)
    receipts = sorted({one.size for one in held})
    ends = {*signers.values(), *(one.size for one in stamps), *receipts, lines}
    ends |= {remembered.start - 1, remembered.stop - 1}
    ends -= {-1, 0}
    found, first = [], 1
    for last in sorted(end for end in ends if end <= lines):
        stamp = next((one for one in stamps if one.size >= last), None)
        found.append(
            Covered(
                first,
                last,
                tuple(sorted(name for name, size in signers.items() if size >= last)),
                (_said(stamp),) if stamp is not None else (),
                tuple(size for size in receipts if size >= last),
                memory=last in remembered,
            )
        )
        first = last + 1
    return tuple(found)


def _last_of_each(signed: Sequence[Signed]) -> dict[str, int]:
    """Signer -> the last line they signed for."""
    last: dict[str, int] = {}
    for one in signed:
        name = f"{_quoted(one.principal)} ({'trusted' if one.trusted else 'self-asserted'})"
        last[name] = max(one.size, last.get(name, 0))
    return last


def _earliest(stamped: Sequence[Stamped]) -> list[Stamped]:
    """The stamps that date some lines better than any other, by growing size and time; trusted ones rule."""
    trusted = [one for one in stamped if one.trusted] or list(stamped)
    kept: list[Stamped] = []
    for one in sorted(trusted, key=lambda one: (-one.size, one.time)):
        if not kept or one.time < kept[-1].time:
            kept.append(one)
    return kept[::-1]


def _said(stamp: Stamped) -> str:
    return f"{stamp.time} by {_quoted(stamp.tsa)}" + ("" if stamp.trusted else _SELF)


def _quoted(name: str) -> str:
    """A name that somebody chose; one that could be read as words of ours stands in quotation marks."""
    return '"' + name.replace('"', "'") + '"' if _OUR_MARKS & set(name) else name


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
        coverage: What vouches for which lines.
        accepted: Lines at which somebody accepted that the log was not what this host remembered.
        unjoined: Lines of each log.recovered that does not say which line stood before the torn ones.
    """

    log: str | None
    lines: int
    codes: AbstractSet[str]
    newer: int | None
    remembered: int | None
    folder: bool
    unchanged: int
    coverage: tuple[Covered, ...]
    accepted: tuple[int, ...]
    unjoined: tuple[int, ...]

    def foreign(self) -> int:
        """The last line for which something outside the folder vouches."""
        last = 0
        for one in self.coverage:
            if one.receipts or one.memory or any(not stamp.endswith(_SELF) for stamp in one.stamped):
                last = one.last
        return last

    def signed(self) -> int:
        """The last line that a trusted signature covers."""
        return max(
            (one.last for one in self.coverage if any(by.endswith("(trusted)") for by in one.signed_by)),
            default=0,
        )


def proved(seen: Seen) -> Iterator[str]:
    """What is shown, one sentence each."""
    if seen.lines and not seen.codes & _OF_LINES:
        upto = " up to the next torn one" if seen.unjoined else ""
        yield (
            f"lines 1 to {seen.lines:,} are one unbroken chain of log {seen.log}: "
            f"no line was edited, moved, inserted or taken out since, unless all after it{upto} were written anew"
        )
        if seen.newer is None and "OUTCOME_NO_INTENT" not in seen.codes:
            yield "every outcome was announced before by its intent"
    if signed := seen.signed():
        yield f"lines 1 to {signed:,} are as somebody signed them whose key the given list of signers trusts"
    yield from _outside(seen)
    if seen.remembered is not None:
        yield _memory(seen, seen.remembered)
    if seen.unchanged:
        yield f"{seen.unchanged:,} enclosures have the SHA-256 that the log states"


def _memory(seen: Seen, last: int) -> str:
    first = next(one.first for one in seen.coverage if one.memory)
    return f"{lines_from(first, last)} {'is' if first == last else 'are'} as this host left {'it' if first == last else 'them'}"


def _outside(seen: Seen) -> Iterator[str]:
    for one in seen.coverage:
        if one.stamped and not one.stamped[0].endswith(_SELF):
            yield f"lines {one.first:,} to {one.last:,} were there, as they are, at {one.stamped[0]}"
    receipts = [one.last for one in seen.coverage if one.receipts]
    if receipts:
        yield f"lines 1 to {max(receipts):,} are what a receipt says that somebody else holds"


def not_proved(seen: Seen) -> Iterator[str]:
    """What is not shown, one sentence each."""
    failed = sorted(code for code in seen.codes if CODES[code] is Severity.FAIL)
    if failed:
        yield f"that the log is what it says: {', '.join(failed)}"
    if seen.newer is not None:
        yield f"what line {seen.newer:,} and other lines of a newer imgkit mean: use that version"
    foreign = seen.foreign()
    beyond = "that" if not foreign else f"after line {foreign:,}, that"
    yield (
        f"{beyond} no lines were cut off the end and that the log was not written anew as a whole: "
        "no time stamp, receipt or memory from outside the folder speaks of it"
    )
    signed = seen.signed()
    if signed < seen.lines:
        yield f"who answers for {lines_from(signed + 1, seen.lines)}: no trusted signature covers them"
    if not any(one.stamped for one in seen.coverage):
        yield "when anything was written: the times are those of the writers' clocks"
    if not seen.folder:
        yield "anything about enclosures: the log was looked at alone"
        yield "anything about signatures and time stamps: they lie in checkpoints/, beside the log"
    if any(one.signed_by for one in seen.coverage):
        yield "that a key was in its owner's hands when it signed"
    if seen.unjoined:
        lines = ", ".join(f"{line:,}" for line in seen.unjoined[:_NAMED])
        more = " …" if len(seen.unjoined) > _NAMED else ""
        yield (
            f"by the chain alone, which lines stood before the torn ones that line {lines}{more} explains: "
            "it does not name them"
        )
    if seen.accepted:
        lines = ", ".join(f"{line:,}" for line in seen.accepted)
        yield f"what stood before line {lines}: there somebody accepted that the log was not what a host remembered"
    yield from _NEVER
