"""Reading a part of the media for its digests: the act, what was compared, what came of it."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from imgkit.custody.record import path_fields, printable
from imgkit.examination.evidence import (
    FileChanges,
    file_changes,
    file_facts,
    file_of,
    files_now,
    files_record,
    notices_of,
)
from imgkit.hashing import hash_range
from imgkit.image import Extent
from imgkit.linux.files import acting_as
from imgkit.references.reference import Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgkit.examination import Evidence, Examination
    from imgkit.hashing import Digest, HashPass
    from imgkit.references.reference import Reference

Record = dict[str, Any]
Verdict = Literal["match", "mismatch", "unchanged", "no-reference", "unreadable"]


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the media that is hashed as one.

    Attributes:
        of: `media`, `container`, `partition:N`, `segment:N`.
        extent: Bytes of the media (where `file` is given: of that file); of a partition that was recorded earlier those
            of then, perhaps past the end by now.
        name: What checksum lines call it.
        sector_size: Of the table that gave the partition, or as the examiner stated it, or None.
        differences: What of the part itself is not as it was recorded: it moved, it is gone, the media ends before it.
        file: Place in `image.segments` of the file that is read as it lies; None: the media is read.
    """

    of: str
    extent: Extent
    name: str
    sector_size: int | None = None
    differences: tuple[str, ...] = ()
    file: int | None = None

    def is_part_of(self, reference: Reference) -> bool:
        """Whether a reference speaks of these bytes."""
        return reference.of == self.of and reference.extent in (None, self.extent)


@dataclass(slots=True)
class Hashed:
    """What hashing or verifying one part gave.

    Attributes:
        part: What was read.
        digests: Empty where a byte could not be read.
        zero_filled: Digests with unreadable sectors as zeros, where asked for.
        read_errors: Extents that could not be read.
        reasons: (offset, length, text) of the first of them, as the reader of the container named each.
        anomalies: What the read came upon that took no byte away.
        comparisons: With every reference of this part.
        changes: Files that changed while they were read: then the digests are of no state that ever was.
        seconds: Wall clock of the read.
    """

    part: Part
    digests: tuple[Digest, ...] = ()
    zero_filled: tuple[Digest, ...] = ()
    read_errors: tuple[Extent, ...] = ()
    reasons: tuple[tuple[int, int, str], ...] = ()
    anomalies: tuple[str, ...] = ()
    comparisons: list[Comparison] = field(default_factory=list)
    changes: FileChanges = field(default_factory=FileChanges)
    seconds: float = 0.0

    @property
    def changed(self) -> list[str]:
        """Paths of the files that changed while they were read."""
        return list(self.changes.changed)


def part_verdict(result: Hashed) -> Verdict:
    """What the comparisons of one part say."""
    differs = any(not item.matches for item in result.comparisons)
    if differs or result.changes.changed or result.part.differences:
        return "mismatch"
    if result.read_errors:
        return "unreadable"
    if any(item.reference.source.origin != "own" for item in result.comparisons):
        return "match"
    return "unchanged" if result.comparisons else "no-reference"


class Reader:
    """Reads the parts of one image, each as an act, with one progress over all of them."""

    def __init__(
        self,
        examination: Examination,
        evidence: Evidence,
        parts: Sequence[Part],
        *,
        zero_fill: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._examination = examination
        self._evidence = evidence
        self._zero_fill = zero_fill
        self._progress = progress
        self._total = sum(self._there(part).length for part in parts)
        self._before = 0
        self._told: set[str] = set()

    def _there(self, part: Part) -> Extent:
        return part.extent if part.file is not None else part.extent.clipped_to(self._evidence.image.size)

    def read(
        self,
        kind: str,
        part: Part,
        names: list[str],
        references: Sequence[Reference] = (),
        also: Callable[[Hashed], Record] = lambda _result: {},
    ) -> Hashed:
        """One act: intent, read, compare, outcome.

        Args:
            kind: Type of the record.
            part: What to read.
            names: Algorithms.
            references: What to compare with.
            also: What else the outcome says, asked once the part was compared.
        """
        evidence = self._evidence
        before = file_facts(evidence.image)
        result = Hashed(part)
        with self._examination.act(kind, self._asked(part, names, before), exhibit=evidence.exhibit) as act:
            started = monotonic()
            done = self._pass(part, names)
            result.seconds = round(monotonic() - started, 3)
            result.digests, result.zero_filled = done.digests, done.zero_filled
            result.read_errors = tuple(Extent(*extent) for extent in done.read_errors)
            result.reasons = done.reasons
            result.anomalies = self._news()
            result.comparisons = _compare(references, done.digests)
            with acting_as(evidence.identity):
                after = files_now(evidence.image)
            result.changes = file_changes(before, after)
            act.data.update(_outcome_data(kind, result, after), **also(result))
        self._before += self._there(part).length
        if result.changes.changed:
            self._examination.event(
                "evidence.changed",
                {"files": after, "during": act.intent.seq, "details": list(result.changes.details)},
                exhibit=evidence.exhibit,
            )
        return result

    def _asked(self, part: Part, names: list[str], files: list[Record]) -> Record:
        asked: Record = {
            "of": part.of,
            "offset": part.extent.offset,
            "length": part.extent.length,
            "algorithms": names,
            "format": self._evidence.image.format,
            **files_record(files),
        }
        if part.sector_size is not None:
            asked["sector_size"] = part.sector_size
        notices = [*self._evidence.device_notices, *notices_of(self._evidence.image)]
        if notices:
            asked["notices"] = [printable(text) for text in notices]
        return asked

    def _news(self) -> tuple[str, ...]:
        """What the image found wrong with itself since it was last asked."""
        found = [text for text in self._evidence.image.anomalies if text not in self._told]
        self._told.update(found)
        return tuple(found)

    def _pass(self, part: Part, names: list[str]) -> HashPass:
        progress, there = self._progress, self._there(part)
        step = None if progress is None else lambda done: progress(self._before + done, self._total)
        image = self._evidence.image
        with nullcontext(image) if part.file is None else file_of(self._evidence, part.file) as source:
            return hash_range(
                source,
                there.offset,
                there.length,
                algorithms=names,
                zero_fill=self._zero_fill,
                progress=step,
            )


def _compare(references: Sequence[Reference], digests: Sequence[Digest]) -> list[Comparison]:
    actual = {digest.algorithm: digest for digest in digests}
    return [
        Comparison(reference, actual[reference.digest.algorithm])
        for reference in references
        if reference.digest.algorithm in actual
    ]


def _outcome_data(kind: str, result: Hashed, after: list[Record]) -> Record:
    changes = result.changes
    data: Record = {
        "digests": {digest.algorithm: digest.value for digest in result.digests},
        "read_errors": read_error_documents(result),
        "files_after": after,
        "milliseconds": round(result.seconds * 1000),
    }
    if result.anomalies:
        data["anomalies"] = [printable(text) for text in result.anomalies]
    if result.zero_filled:
        data["zero_filled_digests"] = {digest.algorithm: digest.value for digest in result.zero_filled}
    if changes.details:
        data["changed"], data["touched"] = list(changes.changed), list(changes.touched)
        data["details"] = list(changes.details)
    if result.part.differences:
        data["differences"] = list(result.part.differences)
    if kind == "evidence.verified":
        data["comparisons"] = [comparison_document(item) for item in result.comparisons]
        data["verdict"] = part_verdict(result)
    elif changes.changed:
        data["verdict"] = "mismatch"
    elif result.read_errors:
        data["verdict"] = "unreadable"
    return data


def read_error_documents(result: Hashed) -> list[Record]:
    """Each range that could not be read, with why: as the reader said of its first piece, and how many more it has."""
    documents: list[Record] = []
    reasons = deque(result.reasons)
    for extent in result.read_errors:
        document: Record = {"offset": extent.offset, "length": extent.length}
        said: list[str] = []
        while reasons and reasons[0][0] < extent.end:
            said.append(reasons.popleft()[2])
        if said:
            more = len(dict.fromkeys(said)) - 1
            document["reason"] = printable(said[0]) + (f" (and {more} more like it)" if more else "")
        documents.append(document)
    return documents


def comparison_document(item: Comparison) -> Record:
    """A comparison as it stands in records and documents."""
    source = item.reference.source
    where: Record = {"kind": source.kind, "origin": source.origin, "protection": source.protection}
    if source.path is not None:
        where.update(path_fields(source.path))
    if source.line is not None:
        where["line"] = source.line
    return {
        "algorithm": item.actual.algorithm,
        "expected": item.reference.digest.value,
        "actual": item.actual.value,
        "matches": item.matches,
        "source": where,
    }
