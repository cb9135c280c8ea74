"""CaseView: what a custody log says, as facts that every report writes down in its own form.

Made of the log's lines, its enclosures and a Verification alone: of two views of the same lines every report is the same
bytes. Texts are as recorded, and may hold anything: each report escapes for its own form. Nothing here is read from
evidence, from this host or from a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgkit.reports.acts import Act, Actor, Correction, Moment, Session
from imgkit.reports.exhibits import (
    Comparison,
    Enclosed,
    Exhibit,
    File,
    OwnDigest,
    Partition,
    ReadError,
    StatedDigest,
    Table,
    TableFinding,
    Verdict,
)
from imgkit.reports.presences import Attachment, Mount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.custody.verify import LogFinding

__all__ = [
    "Act",
    "Actor",
    "Attachment",
    "CaseView",
    "Checkpoint",
    "Comparison",
    "Correction",
    "Coverage",
    "Enclosed",
    "Exhibit",
    "File",
    "Moment",
    "Mount",
    "OwnDigest",
    "Partition",
    "ReadError",
    "Session",
    "StatedDigest",
    "Table",
    "TableFinding",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of what the log was, as its record tells; what it is worth, findings and coverage say.

    Attributes:
        line: Line of `log.checkpointed`.
        n: Its number, or None.
        size: Lines it covers.
        bytes: Bytes of them.
        head: H of the last of them.
        signer: Principal; empty where nobody signed.
        fingerprint: Of the key; empty where nobody signed.
        reason: In words.
        act: The event.
    """

    line: int
    n: int | None
    size: int
    bytes: int
    head: str
    signer: str
    fingerprint: str
    reason: str
    act: Act = field(repr=False)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What stands behind a range of lines, each in words; empty where nothing does.

    Attributes:
        first: Line.
        last: Line.
        signed_by: Who signed for them, and whether the reader trusts the key.
        stamped: By when they were there, and who says so.
        receipts: `of lines 1 to 84`.
        memory: `yes` where the host that verified remembers them so.
        vouched: Whether a trusted signature, a trusted time stamp or a receipt is among these.
    """

    first: int
    last: int
    signed_by: str
    stamped: str
    receipts: str
    memory: str
    vouched: bool = False


@dataclass(frozen=True, slots=True)
class CaseView:
    """Everything a report can say.

    Attributes:
        log: The log's uuid, or empty where no line states one.
        lines: N: the report covers lines 1 to N, and no other.
        bytes: Bytes of these lines.
        head: H(N).
        first: Wall clock of the first sound record, or empty.
        last: Wall clock of the last one.
        case: Facts of line 1: number, title, agency, lead, authority, policy, in words and in this order.
        opened: The opening record, or None where line 1 is none.
        exhibits: In the order of their lines.
        acts: Everything that was done or stated, in the order of the lines; an outcome stands with its intent.
        sessions: Runs of the tool, in order.
        people: Everybody who acted, in order.
        enclosed: Notes and enclosures, in order.
        corrections: In order.
        possession: `custody.*` events, in order.
        checkpoints: In order.
        stamps: `log.anchored` events.
        receipts: `receipt.given` and `receipt.taken` events.
        reviews: `record.reviewed` events.
        unread: Numbers of lines that are no record that this version can read.
        verdict: `in order`, `FAILED`, `cannot tell`.
        findings: Of the verifier.
        counts: How often each code was found.
        coverage: Line range by line range; empty where nothing was asked.
        proved: One sentence each.
        not_proved: One sentence each.
    """

    log: str
    lines: int
    bytes: int
    head: str
    first: str
    last: str
    case: tuple[tuple[str, str], ...]
    opened: Act | None
    exhibits: tuple[Exhibit, ...]
    acts: tuple[Act, ...]
    sessions: tuple[Session, ...]
    people: tuple[Actor, ...]
    enclosed: tuple[Enclosed, ...]
    corrections: tuple[Correction, ...]
    possession: tuple[Act, ...]
    checkpoints: tuple[Checkpoint, ...]
    stamps: tuple[Act, ...]
    receipts: tuple[Act, ...]
    reviews: tuple[Act, ...]
    unread: tuple[int, ...]
    verdict: str
    findings: tuple[LogFinding, ...]
    counts: Mapping[str, int]
    coverage: tuple[Coverage, ...]
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]

    @property
    def read_errors(self) -> tuple[ReadError, ...]:
        """Of all exhibits."""
        return tuple(error for exhibit in self.exhibits for error in exhibit.read_errors)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Of all exhibits."""
        return tuple(item for exhibit in self.exhibits for item in exhibit.attachments)

    @property
    def name(self) -> str:
        """The case's number, else its title, else the log's uuid, else that there is none."""
        facts = dict(self.case)
        return facts.get("number") or facts.get("title") or self.log or "without a name"

    @property
    def covered(self) -> str:
        """`lines 1 to 57`, `line 1`, `no line`: what a report is of."""
        return {0: "no line", 1: "line 1"}.get(self.lines, f"lines 1 to {self.lines:,}")

    @property
    def vouched(self) -> int:
        """The last line that a trusted signature, a trusted time stamp or a receipt covers, with all before it; else 0."""
        return max((one.last for one in self.coverage if one.vouched), default=0)
