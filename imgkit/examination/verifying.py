"""hash and verify: digests of the media, its partitions or its files, compared with whatever states one."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from imgkit.custody.record import path_fields
from imgkit.errors import ImageError, ImgkitError, UsageError
from imgkit.examination.evidence import changed_files, file_facts, files_now, files_record, image_document
from imgkit.hashing import Digest, hash_range
from imgkit.image import Extent
from imgkit.linux.files import acting_as
from imgkit.references import find_references
from imgkit.references.reference import Comparison, Reference, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgkit.examination import Evidence, Examination
    from imgkit.hashing import HashPass

Record = dict[str, Any]
Verdict = Literal["match", "mismatch", "unchanged", "no-reference", "unreadable"]

DEFAULT_ALGORITHMS = ("sha256", "blake3")


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the media that is hashed as one.

    Attributes:
        of: `media`, `container`, `partition:N`, `segment:N`.
        extent: Bytes of the media.
        name: What checksum lines call it.
    """

    of: str
    extent: Extent
    name: str


@dataclass(slots=True)
class Hashed:
    """What hashing or verifying one part gave.

    Attributes:
        part: What was read.
        digests: Empty where a byte could not be read.
        zero_filled: Digests with unreadable sectors as zeros, where asked for.
        read_errors: Extents that could not be read.
        comparisons: With every reference of this part.
        changed: Files whose size, times or inode changed while they were read.
        seconds: Wall clock of the read.
    """

    part: Part
    digests: tuple[Digest, ...] = ()
    zero_filled: tuple[Digest, ...] = ()
    read_errors: tuple[Extent, ...] = ()
    comparisons: list[Comparison] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Verified:
    """The answer about one image.

    Attributes:
        image: As in every JSON document.
        parts: What was read, the media (or the first partition) first.
        verdict: See `verdict_of`; None where nothing was to be compared (hash).
        notices: What the examiner should know.
        uncompared: References that could not be held against anything that was read.
    """

    image: Record
    parts: list[Hashed]
    verdict: Verdict | None = None
    notices: tuple[str, ...] = ()
    uncompared: tuple[Reference, ...] = ()


def parts_of(evidence: Evidence, *, partitions: Sequence[int], container: bool) -> list[Part]:
    """The ranges that `-p` and `--container` ask for; the whole media without either.

    Raises:
        UsageError: Both are asked for.
        PartitionError: No such partition, or one that runs past the end of the media.
    """
    image = evidence.image
    if partitions and container:
        raise UsageError("partitions are parts of the media, not of the container: use -p or --container")
    if container:
        return _segments(evidence)
    if not partitions:
        return [Part("media", Extent(0, image.size), media_name(evidence))]
    chosen = evidence.partitions(partitions)
    name = evidence.name
    return [Part(f"partition:{item.number}", item.extent, f"{name}:p{item.number}") for item in chosen]


def media_name(evidence: Evidence) -> str:
    """The file where the media is the file itself, else `media:FILE`, so that nobody checks it against the container."""
    image = evidence.image
    if len(image.segments) == 1 and image.backing_fileno() is not None:
        return "./-" if evidence.name == "-" else evidence.name  # `-` alone is standard input to every tool
    return f"media:{evidence.name}"


def _segments(evidence: Evidence) -> list[Part]:
    """Each file as it lies. Of raw images, split or not, a file is an extent of the media."""
    image = evidence.image
    if len(image.segments) == 1:
        return [Part("container", Extent(0, image.size), media_name(evidence))]
    folder = os.path.dirname(evidence.name)
    parts, at = [], 0
    for number, segment in enumerate(image.segments):
        name = os.path.join(folder, os.path.basename(segment.path))
        parts.append(Part(f"segment:{number}", Extent(at, segment.size), name))
        at += segment.size
    return parts


def hash_image(
    examination: Examination,
    evidence: Evidence,
    *,
    algorithms: Sequence[str],
    partitions: Sequence[int] = (),
    container: bool = False,
    zero_fill: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Compute digests, record them, compare them with nothing."""
    parts = parts_of(evidence, partitions=partitions, container=container)
    reader = _Reader(examination, evidence, parts, zero_fill=zero_fill, progress=progress)
    names = list(dict.fromkeys(algorithms))
    results = [reader.read("evidence.hashed", part, names, ()) for part in parts]
    return Verified(image_document(evidence.image), results)


def verify_image(
    examination: Examination,
    evidence: Evidence,
    *,
    expected: Sequence[Digest] = (),
    against: Sequence[str] = (),
    algorithms: Sequence[str] = (),
    zero_fill: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Compute what the references need, and sha256 where this log has none of the image yet; compare; record."""
    image = evidence.image
    references = [Reference(digest, "media", Source("option")) for digest in expected]
    stated, notices = _stated(examination, evidence, against)
    references += stated
    references += [
        Reference(digest, "media", Source("container", image.path, None, "container"))
        for digest in image.stored_digests
    ]
    references += examination.own_references(evidence)
    parts = _parts_needed(evidence, references)
    reader = _Reader(examination, evidence, parts, zero_fill=zero_fill, progress=progress)
    results = []
    for part in parts:
        concerning = [item for item in references if item.of == part.of]
        names = [item.digest.algorithm for item in concerning] + list(algorithms)
        if part.of == "media" and not examination.has_own(evidence, "media", "sha256"):
            names.append("sha256")
        results.append(
            reader.read("evidence.verified", part, list(dict.fromkeys(names)) or ["sha256"], concerning)
        )
    compared = {id(item.reference) for result in results for item in result.comparisons}
    return Verified(
        image_document(image),
        results,
        overall_verdict(results, segments=len(image.segments)),
        tuple(notices),
        tuple(item for item in references if id(item) not in compared),
    )


def _stated(
    examination: Examination, evidence: Evidence, against: Sequence[str]
) -> tuple[list[Reference], list[str]]:
    """What files say of an image, those that are named and those beside it, and notices on what is not used."""
    references: list[Reference] = []
    notices: list[str] = []
    files = []
    for path in against:
        from imgkit.examination.foreign import log_at, log_references

        log = log_at(path)
        if log is None:
            files.append(path)
            continue
        more, why_not = log_references(
            log, evidence.image, own=examination.log.uuid, memory=examination.presence.state
        )
        references += more
        notices += why_not
    for encoding in ("utf-16-le", "utf-16-be"):  # now: that user perhaps may not read this installation
        codecs.lookup(encoding)
    with acting_as(evidence.identity):
        found = find_references(evidence.image, against=files)
    return [*references, *found.references], [*notices, *found.notices]


def _parts_needed(evidence: Evidence, references: Sequence[Reference]) -> list[Part]:
    """The media, and each segment or partition that something states a digest of."""
    parts = parts_of(evidence, partitions=(), container=False)
    stated = {item.of for item in references}
    if any(of.startswith("segment:") for of in stated):
        parts += [part for part in _segments(evidence) if part.of in stated]
    numbers = {int(of.partition(":")[2]) for of in stated if of.startswith("partition:")}
    if numbers:  # a partition that is not there any more is told as not compared
        there = {item.number for item in evidence.table.partitions if item.extent.end <= evidence.image.size}
        parts += (
            parts_of(evidence, partitions=sorted(numbers & there), container=False) if numbers & there else []
        )
    return parts


def part_verdict(result: Hashed) -> Verdict:
    """What the comparisons of one part say."""
    if any(not item.matches for item in result.comparisons) or result.changed:
        return "mismatch"
    if result.read_errors:
        return "unreadable"
    if any(item.reference.source.origin != "own" for item in result.comparisons):
        return "match"
    return "unchanged" if result.comparisons else "no-reference"


def overall_verdict(results: Sequence[Hashed], *, segments: int) -> Verdict:
    """One word for the image: any mismatch, else anything unreadable, else what is said of the media.

    Of a split raw image the media is its segments one after the other: where each of them matches, the media does.
    """
    verdicts = {result.part.of: part_verdict(result) for result in results}
    bad: Verdict
    for bad in ("mismatch", "unreadable"):
        if bad in verdicts.values():
            return bad
    matching = [of for of, verdict in verdicts.items() if of.startswith("segment:") and verdict == "match"]
    if verdicts["media"] != "match" and segments > 1 and len(matching) == segments:
        return "match"
    return verdicts["media"]


class _Reader:
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
        self._total = sum(part.extent.length for part in parts)
        self._before = 0

    def read(self, kind: str, part: Part, names: list[str], references: Sequence[Reference]) -> Hashed:
        """One act: intent, read, compare, outcome."""
        evidence = self._evidence
        before = file_facts(evidence.image)
        asked: Record = {
            "of": part.of,
            "offset": part.extent.offset,
            "length": part.extent.length,
            "algorithms": names,
            **files_record(before),
        }
        result = Hashed(part)
        with self._examination.act(kind, asked, exhibit=evidence.exhibit) as act:
            started = monotonic()
            done = self._pass(part, names)
            result.seconds = round(monotonic() - started, 3)
            result.digests, result.zero_filled = done.digests, done.zero_filled
            result.read_errors = tuple(Extent(*extent) for extent in done.read_errors)
            result.comparisons = _compare(references, done.digests)
            with acting_as(evidence.identity):
                after = files_now(evidence.image)
            result.changed, touched = changed_files(before, after)
            act.data.update(_outcome_data(kind, result, after, touched))
        self._before += part.extent.length
        if result.changed:
            self._examination.event(
                "evidence.changed", {"files": after, "during": act.intent.seq}, exhibit=evidence.exhibit
            )
        return result

    def _pass(self, part: Part, names: list[str]) -> HashPass:
        progress = self._progress
        step = None if progress is None else lambda done: progress(self._before + done, self._total)
        return hash_range(
            self._evidence.image,
            part.extent.offset,
            part.extent.length,
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


def _outcome_data(kind: str, result: Hashed, after: list[Record], touched: list[str]) -> Record:
    data: Record = {
        "digests": {digest.algorithm: digest.value for digest in result.digests},
        "read_errors": [{"offset": item.offset, "length": item.length} for item in result.read_errors],
        "files_after": after,
        "milliseconds": round(result.seconds * 1000),
    }
    if result.zero_filled:
        data["zero_filled_digests"] = {digest.algorithm: digest.value for digest in result.zero_filled}
    if result.changed or touched:
        data["changed"], data["touched"] = result.changed, touched
    if kind == "evidence.verified":
        data["comparisons"] = [comparison_document(item) for item in result.comparisons]
        data["verdict"] = part_verdict(result)
    elif result.read_errors:
        data["verdict"] = "unreadable"
    return data


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


def failed_entry(path: str, error: ImgkitError) -> Record:
    """The entry of an image that could not be examined, where others of the same command could."""
    verdict = "unreadable" if isinstance(error, ImageError) else None
    entry: Record = {"image": path_fields(path), "error": {"kind": error.kind, "message": error.message}}
    if error.hint:
        entry["error"]["hint"] = error.hint
    if verdict:
        entry["verdict"] = verdict
    return entry
