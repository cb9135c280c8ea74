"""hash and verify: digests of the media, its partitions or its files, compared with whatever states one."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import path_fields, printable
from imgkit.errors import (
    CustodyError,
    ImageError,
    ImgkitError,
    ReferenceFileError,
)
from imgkit.examination.evidence import image_document
from imgkit.examination.parts import (
    files_stated,
    is_of_file,
    partitions_stated,
    parts_of,
    where_stated,
)
from imgkit.examination.reading import Reader, part_verdict
from imgkit.linux.files import acting_as
from imgkit.references import Unusable, find_references
from imgkit.references.reference import Reference, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgkit.examination import Evidence, Examination
    from imgkit.examination.ledger import Exhibit
    from imgkit.examination.reading import Hashed, Verdict
    from imgkit.hashing import Digest

Record = dict[str, Any]

DEFAULT_ALGORITHMS = ("sha256", "blake3")


@dataclass(slots=True)
class Verified:
    """The answer about one image.

    Attributes:
        image: As in every JSON document.
        parts: What was read, the media (or the first partition) first.
        verdict: See `overall_verdict`; None where nothing was to be compared (hash).
        notices: What the examiner should know.
        unusable: What should have been compared and could not be: the verdict is of the rest.
        uncompared: References that could not be held against anything that was read.
        matched_line: Where the verdict is `unchanged`: at which line of this log the media, with one of these digests,
            matched what somebody else stated of it; None: at none.
    """

    image: Record
    parts: list[Hashed]
    verdict: Verdict | None = None
    notices: tuple[str, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    uncompared: tuple[Reference, ...] = ()
    matched_line: int | None = None


def mismatches(verified: Verified) -> list[str]:
    """What was compared and differs, in words: each digest once, whoever states it."""
    told = (
        f"{item.actual.algorithm} of {part.part.of} is {item.actual.value}, "
        f"and {item.reference.digest.value} was expected"
        for part in verified.parts
        for item in part.comparisons
        if not item.matches
    )
    return list(dict.fromkeys(told))


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
    """Compute digests and record them. They decide nothing, but one that differs from this log's earlier one is told."""
    parts = parts_of(evidence, partitions=partitions, container=container)
    notices = list(table_notices(evidence)) if partitions else []
    reader = Reader(examination, evidence, parts, zero_fill=zero_fill, progress=progress)
    names = list(dict.fromkeys(algorithms))
    results = [reader.read("evidence.hashed", part, names) for part in parts]
    for result in results:
        notices += _differs_from_earlier(examination, evidence, result)
        notices += result.anomalies
    return Verified(image_document(evidence.image), results, notices=tuple(notices))


def table_notices(evidence: Evidence) -> Iterator[str]:
    """What is wrong with the table that says where a partition is."""
    for item in evidence.table.findings:
        if item.severity != "info":
            yield f"{item.severity}: {item.message} [{item.code}]"


def _differs_from_earlier(examination: Examination, evidence: Evidence, result: Hashed) -> Iterator[str]:
    if result.changes.changed:
        return  # of no state that ever was
    for item in examination.own_references(evidence):
        for digest in result.digests if item.source.origin == "own" and result.part.is_part_of(item) else ():
            if digest.algorithm == item.digest.algorithm and digest != item.digest:
                yield (
                    f"{evidence.exhibit}: {digest.algorithm} of {result.part.of} differs from line {item.source.line} "
                    f"of this log, which has {item.digest.value}"
                )


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
    """Compute what the references need, and sha256 where this log has none of the image yet; compare; record.

    The media is read first, whatever is found of its parts: a table that is gone keeps nothing from being compared.
    """
    image = evidence.image
    found = _stated(examination, evidence, against)
    references = [Reference(digest, "media", Source("option")) for digest in expected]
    references += found.references
    references += [
        Reference(digest, "media", Source("container", image.path, None, "container"))
        for digest in image.stored_digests
    ]
    references += examination.own_references(evidence)
    references = [_of_media(evidence, item) for item in references]
    parts = parts_of(evidence, partitions=(), container=False)
    parts += files_stated(evidence, references)
    parts += partitions_stated(evidence, references, found.unusable)
    reader = Reader(examination, evidence, parts, zero_fill=zero_fill, progress=progress)
    results: list[Hashed] = []
    for part in parts:
        concerning = [item for item in references if part.is_part_of(item)]
        names = [item.digest.algorithm for item in concerning] + list(algorithms)
        if part.of == "media" and not examination.has_own(evidence, "media", "sha256"):
            names.append("sha256")
        also = _said_of_the_whole(
            results, found.unusable, last=part is parts[-1], segments=len(image.segments)
        )
        wanted = list(dict.fromkeys(names)) or ["sha256"]
        results.append(reader.read("evidence.verified", part, wanted, concerning, also))
    compared = {id(item.reference) for result in results for item in result.comparisons}
    verdict = overall_verdict(results, segments=len(image.segments))
    exhibit = examination.ledger.exhibits[evidence.exhibit]
    return Verified(
        image_document(image),
        results,
        verdict,
        (
            *found.notices,
            *(text for result in results for text in result.anomalies),
            *_taken_for_another(references, results),
        ),
        tuple(found.unusable),
        tuple(item for item in references if id(item) not in compared),
        _matched_line(exhibit, results[0]) if verdict == "unchanged" else None,
    )


def _matched_line(exhibit: Exhibit, result: Hashed) -> int | None:
    """The last line at which a part with one of these digests matched what somebody else stated of it."""
    for own in reversed(exhibit.own):
        if own.matched and own.of == result.part.of and own.digest in result.digests:
            return own.line
    return None


def _said_of_the_whole(
    results: list[Hashed], unusable: Sequence[Unusable], *, last: bool, segments: int
) -> Callable[[Hashed], Record]:
    """What a part's outcome says beyond the part: the first what could not be used, the last the verdict of all."""

    def also(result: Hashed) -> Record:
        said: Record = {}
        if unusable and not results:
            said["unusable"] = [unusable_document(item) for item in unusable]
        if last:
            said["overall"] = overall_verdict([*results, result], segments=segments)
        return said

    return also


def unusable_document(item: Unusable) -> Record:
    """What could not be used, as it stands in records and documents."""
    return {**path_fields(item.path), "message": printable(item.message)}


@dataclass(frozen=True, slots=True)
class _Stated:
    """What files say of an image: those that are named, and those beside it."""

    references: list[Reference]
    notices: list[str]
    unusable: list[Unusable]


def _stated(examination: Examination, evidence: Evidence, against: Sequence[str]) -> _Stated:
    stated = _Stated([], [], [])
    files = _take_logs(examination, evidence, against, stated)
    for encoding in ("utf-16-le", "utf-16-be"):  # now: that user perhaps may not read this installation
        codecs.lookup(encoding)
    with acting_as(evidence.identity):
        found = find_references(evidence.image, against=files)
    stated.references.extend(found.references)
    stated.notices.extend(found.notices)
    stated.unusable.extend(found.unusable)
    silent = not any(item.source.kind == "against" for item in found.references) and not stated.unusable
    if files and len(files) == len(against) and silent:
        base = os.path.basename(evidence.image.path)
        text = f"nothing that --against names states a digest of {base}: it was not compared with that"
        stated.unusable.append(Unusable(os.path.abspath(files[0]), text))
    return stated


def _take_logs(
    examination: Examination, evidence: Evidence, against: Sequence[str], stated: _Stated
) -> list[str]:
    """Add what the custody logs among `against` state; return the other files."""
    files = []
    for path in against:
        from imgkit.examination.foreign import log_at, log_references

        try:
            log = log_at(path)
            if log is None:
                files.append(path)
                continue
            more, why_not = log_references(
                log, evidence.image, own=examination.log.uuid, memory=examination.presence.state
            )
        except (ReferenceFileError, CustodyError) as error:
            stated.unusable.append(Unusable(os.path.abspath(path), error.message, error.hint))
            continue
        stated.references.extend(more)
        stated.notices.extend(why_not)
    return files


def _of_media(evidence: Evidence, reference: Reference) -> Reference:
    """A digest of a container that is the media itself is one of the media."""
    plain = reference.of == "container" and evidence.image.backing_fileno() is not None
    return replace(reference, of="media", extent=None) if plain else reference


def _taken_for_another(references: Sequence[Reference], results: Sequence[Hashed]) -> Iterator[str]:
    """Of digests that differ: those that are right of something else. A file's digest is often taken for the media's."""
    files = {item.digest: item.of for item in references if is_of_file(item.of)}
    media: dict[Digest, str] = {item.digest: item.of for item in references if item.of == "media"}
    for result in results:
        for digest in result.digests:
            (files if is_of_file(result.part.of) else media)[digest] = result.part.of
    for result in results:
        others = media if is_of_file(result.part.of) else files
        for item in result.comparisons:
            of = others.get(item.reference.digest)
            if not item.matches and of is not None:
                yield (
                    f"{item.reference.digest} ({where_stated(item.reference)}) was held against {result.part.of}, but it is the "
                    f"digest of {of}: the digest of a container's file is never that of its media"
                )


def overall_verdict(results: Sequence[Hashed], *, segments: int) -> Verdict:
    """One word for the image: any mismatch, else anything unreadable, else what is said of the media.

    Where every file that the media is made of is the one that was stated, the media is: a container's files have it all.
    """
    verdicts = [(result.part.of, part_verdict(result)) for result in results]
    said = [verdict for _, verdict in verdicts]
    bad: Verdict
    for bad in ("mismatch", "unreadable"):
        if bad in said:
            return bad
    matching = {of for of, verdict in verdicts if is_of_file(of) and verdict == "match"}
    if said[0] != "match" and matching and len(matching) == segments:
        return "match"
    return said[0]


def failed_entry(path: str, error: ImgkitError) -> Record:
    """The entry of an image that could not be examined, where others of the same command could."""
    verdict = "unreadable" if isinstance(error, ImageError) else None
    entry: Record = {"image": path_fields(path), "error": {"kind": error.kind, "message": error.message}}
    if error.hint:
        entry["error"]["hint"] = error.hint
    if verdict:
        entry["verdict"] = verdict
    return entry
