"""hash and verify: digests of images, of their parts, and what was stated of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.evidence import recorded_as
from imgkit.cli.exit_codes import MISMATCH, TROUBLE
from imgkit.cli.output import Progress, emit, flush, notice, say, say_bytes, tell_error
from imgkit.errors import ImgkitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgkit.examination import Evidence, Examination
    from imgkit.examination.reading import Hashed
    from imgkit.examination.verifying import Verified
    from imgkit.references.reference import Kind, Origin, Protection, Source

Document = dict[str, Any]

_MOST_RANGES = 1000  # of read errors in a document; the record has them all

ImagesArgument = Annotated[
    list[str], typer.Argument(metavar="IMAGE...", help="Image files, any segment of a set, or block devices.")
]
AlgorithmOption = Annotated[
    list[str] | None,
    typer.Option(
        "-a", "--algorithm", metavar="ALG", help="Hash algorithm; may be repeated.", show_default=False
    ),
]
ZeroFillOption = Annotated[
    bool, typer.Option("--zero-fill-digest", help="Also the digest with unreadable sectors as zeros.")
]


def hash_(
    images: ImagesArgument,
    algorithm: AlgorithmOption = None,
    partition: options.PartitionOption = None,
    sector_size: options.SectorSizeOption = None,
    container: Annotated[
        bool, typer.Option("--container", help="Hash the files as they lie, not the media.")
    ] = False,
    zero_fill: ZeroFillOption = False,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
    as_lines: options.JsonLinesOption = False,
    progress: options.ProgressOption = None,
) -> int:
    """Compute digests of the media, of partitions or of files in one read (default: sha256 and blake3)."""
    from imgkit.examination.verifying import DEFAULT_ALGORITHMS

    def work(examination: Examination, evidence: Evidence, step: Progress) -> Verified:
        names = _algorithms(algorithm) or _algorithms(list(examination.presence.settings.algorithms))
        result: Verified = examination.hash(
            evidence,
            algorithms=names or DEFAULT_ALGORITHMS,
            partitions=partition or (),
            container=container,
            zero_fill=zero_fill,
            progress=step,
        )
        return result

    _algorithms(algorithm)
    options.check_sector_size(sector_size)
    run = _Run("imgkit.hash.v1", images, sector_size, as_json=as_json, as_lines=as_lines, progress=progress)
    with options.open_examination(case, examiner, exhibit, reason) as examination:
        return run.over(examination, work, _print_hashes)


def verify(
    images: ImagesArgument,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="ALG:HEX", help="A digest the media must have.", show_default=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="PATH",
            help="A checksum file, case or log that states digests.",
            show_default=False,
        ),
    ] = None,
    algorithm: AlgorithmOption = None,
    sector_size: options.SectorSizeOption = None,
    zero_fill: ZeroFillOption = False,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
    as_lines: options.JsonLinesOption = False,
    progress: options.ProgressOption = None,
) -> int:
    """Compare an image with everything that states a digest of it; say for each where it came from."""
    from imgkit.hashing import Digest

    expected = [Digest.parse(text) for text in expect or ()]
    names = _algorithms(algorithm)
    options.check_sector_size(sector_size)
    if expected and len(images) > 1:
        raise UsageError(
            "--expect states the digest of one image",
            hint="for several images use --against with a checksum file",
        )

    def work(examination: Examination, evidence: Evidence, step: Progress) -> Verified:
        result: Verified = examination.verify(
            evidence,
            expected=expected,
            against=against or (),
            algorithms=names,
            zero_fill=zero_fill,
            progress=step,
        )
        return result

    run = _Run("imgkit.verify.v1", images, sector_size, as_json=as_json, as_lines=as_lines, progress=progress)
    with options.open_examination(case, examiner, exhibit, reason) as examination:
        return run.over(examination, work, _print_verified)


def _algorithms(names: list[str] | None) -> list[str]:
    from imgkit.hashing import algorithm_name

    return list(dict.fromkeys(algorithm_name(name) for name in names or ()))


class _Run:
    """One command over several images: each is opened, examined and shown on its own; 1 beats 3 beats 0."""

    def __init__(
        self,
        schema: str,
        images: list[str],
        sector_size: int | None,
        *,
        as_json: bool,
        as_lines: bool,
        progress: str | None,
    ) -> None:
        options.check_progress(progress)
        if as_json and as_lines:
            raise UsageError("--json prints one document, --jsonl one a line: choose")
        self._schema = schema
        self._images = images
        self._sector_size = sector_size
        self._json = as_json
        self._lines = as_lines
        self._progress = progress
        self._entries: list[Document] = []
        self._codes = {0}

    def over(
        self,
        examination: Examination,
        work: Callable[[Examination, Evidence, Progress], Verified],
        show: Callable[[Verified], None],
    ) -> int:
        """Examine every image in the order given."""
        for path in self._images:
            try:
                result = self._one(examination, path, work)
            except ImgkitError as error:
                if len(self._images) == 1 or isinstance(error, UsageError):
                    raise
                self._failed(path, error)
                continue
            self._codes.add(_code(result))
            entries = list(_entries(result))
            self._add(entries, examination)
            for text in result.notices:
                notice(text)
            if not (self._json or self._lines):
                show(result)
                flush()
            for item in result.unusable:
                tell_error(item.message, item.hint)
        if self._json:
            emit({"schema": self._schema, "images": self._entries} | recorded_as(examination))
        if examination.spooled is not None:
            self._codes.add(TROUBLE)
        return next(code for code in (MISMATCH, TROUBLE, 0) if code in self._codes)

    def _one(
        self, examination: Examination, path: str, work: Callable[[Examination, Evidence, Progress], Verified]
    ) -> Verified:
        with (
            examination.evidence(path, sector_size=self._sector_size) as evidence,
            Progress(path, style=self._progress) as step,
        ):
            return work(examination, evidence, step)

    def _failed(self, path: str, error: ImgkitError) -> None:
        from imgkit.examination.verifying import failed_entry

        self._codes.add(error.exit_code)
        entry = failed_entry(path, error)
        if self._lines:
            emit({"schema": self._schema, "images": [entry]})
        self._entries.append(entry)
        tell_error(error.message, error.hint)

    def _add(self, entries: list[Document], examination: Examination) -> None:
        self._entries += entries
        if self._lines:
            emit({"schema": self._schema, "images": entries} | recorded_as(examination))


def _code(result: Verified) -> int:
    if any(part.changed for part in result.parts) or result.verdict == "mismatch":
        return MISMATCH
    if result.verdict in ("unreadable", "no-reference") or any(part.read_errors for part in result.parts):
        return TROUBLE
    if result.unusable:  # the verdict is of the rest
        return TROUBLE
    return 0


def _entries(result: Verified) -> Iterator[Document]:
    """One entry a part; the image's verdict stands in the first, each further part has its own."""
    from imgkit.examination.reading import comparison_document, part_verdict, read_error_documents
    from imgkit.examination.verifying import unusable_document

    for number, part in enumerate(result.parts):
        entry: Document = {
            "image": result.image,
            "of": part.part.of,
            "offset": part.part.extent.offset,
            "length": part.part.extent.length,
            "digests": {digest.algorithm: digest.value for digest in part.digests},
            "read_errors": read_error_documents(part)[:_MOST_RANGES],
            "read_error_count": len(part.read_errors),
            "changed": part.changed,
            "seconds": part.seconds,
        }
        if part.zero_filled:
            entry["zero_filled_digests"] = {digest.algorithm: digest.value for digest in part.zero_filled}
        if part.changes.details:
            entry["details"] = list(part.changes.details)
        if result.verdict is not None:
            entry["comparisons"] = [comparison_document(item) for item in part.comparisons]
            entry["differences"] = list(part.part.differences)
            entry["verdict"] = result.verdict if number == 0 else part_verdict(part)
        elif part.changed or part.read_errors:
            entry["verdict"] = "mismatch" if part.changed else "unreadable"
        if number == 0:
            entry["notices"] = list(result.notices)
            if result.verdict is not None:
                entry["unusable"] = [unusable_document(item) for item in result.unusable]
                entry["matched_line"] = result.matched_line
        yield entry


def _print_hashes(result: Verified) -> None:
    from imgkit.references.coreutils import gnu_line, tag_line

    for part in result.parts:
        line = gnu_line if len(part.digests) == 1 else tag_line
        for digest in part.digests:
            if part.changed:  # nothing to be checked against later
                notice(f"of no state that ever was: {tag_line(digest, part.part.name)}")
            else:
                say_bytes(line(digest, part.part.name))
        _tell_trouble(part)


def _tell_trouble(part: Hashed) -> None:
    from imgkit.examination.reading import read_error_documents

    name = part.part.name
    for item in read_error_documents(part)[:20]:
        why = f": {item['reason']}" if "reason" in item else ""
        notice(f"{name}: cannot read {item['length']} bytes at {item['offset']}{why}")
    if len(part.read_errors) > 20:  # noqa: PLR2004  (enough for a screen; --json has them all)
        notice(f"{name}: and {len(part.read_errors) - 20} more ranges; --json and the record list them")
    if part.read_errors:
        notice(f"{name}: unreadable: no digest of it is given")
    for digest in part.zero_filled:
        say(f"{digest.algorithm} with unreadable sectors as zeros ({name}) = {digest.value}")
    for path in part.changed:
        notice(f"{path} changed while it was read")
    for text in part.changes.details:
        notice(text)


_WORDS = {
    "match": "match",
    "mismatch": "MISMATCH",
    "unchanged": "unchanged since our own earlier record; never compared with an acquisition hash",
    "no-reference": "no reference: nothing states a digest of this image",
    "unreadable": "unreadable",
}
# Where others state digests of parts or files, and none of the whole.
_WORDS_OF_PARTS = {
    "unchanged": "unchanged since our own earlier record; as a whole never compared with an acquisition hash",
    "no-reference": "no reference: nothing states a digest of the whole, only of parts that were compared",
}

_KINDS: dict[Kind, str] = {
    "option": "on the command line",
    "against": "given by --against",
    "sidecar": "beside the image",
    "container": "inside the container",
    "report": "an imager's report",
    "manifest": "a list of digests",
    "custody": "a custody log",
}
_ORIGINS: dict[Origin, str] = {
    "acquisition": "of the acquisition",
    "container": "of the container",
    "own": "our own earlier record",
}
_PROTECTIONS: dict[Protection, str] = {"loose": "unprotected", "log": "chained", "signed": "signed"}


def _verdict_in_words(result: Verified) -> str:
    verdict = str(result.verdict)
    if result.matched_line is not None:
        return f"unchanged since our own earlier record; it matched an acquisition hash at line {result.matched_line}"
    stated = (item.reference.source.origin for part in result.parts for item in part.comparisons)
    if verdict in _WORDS_OF_PARTS and any(origin != "own" for origin in stated):
        return _WORDS_OF_PARTS[verdict]
    return _WORDS[verdict]


def _stated_by(source: Source) -> str:
    """Where a digest was stated, who states it there, and what keeps that from being replaced."""
    words = [_KINDS[source.kind], _PROTECTIONS[source.protection]]
    if source.origin != source.kind:  # a container speaks for itself
        words.insert(1, _ORIGINS[source.origin])
    line = f" line {source.line}" if source.line else ""
    return f"{source.path or '--expect'}{line} ({'; '.join(words)})"


def _print_verified(result: Verified) -> None:
    from imgkit.custody.record import printable

    say(printable(str(result.image["path"])))
    for part in result.parts:
        of = (
            part.part.of if part.part.file is None else f"{part.part.of} ({os.path.basename(part.part.name)})"
        )
        for item in part.comparisons:
            where = item.reference.source
            say(f"  {'ok  ' if item.matches else 'BAD '} {of} {item.actual}", hang=5)
            if not item.matches:
                say(f"       expected {item.reference.digest}")
            say(f"       stated by {printable(_stated_by(where))}")
        for text in part.part.differences:
            say(f"  BAD  {text}")
        compared = {item.actual for item in part.comparisons}
        for digest in part.digests:
            if digest not in compared:
                say(f"       {of} {digest} (nothing to compare with)")
        _tell_trouble(part)
    for missed in result.uncompared:
        if not any(part.read_errors for part in result.parts):
            notice(f"nothing to hold {missed.digest} of {missed.of} against: there is no such part")
    say(f"verdict: {_verdict_in_words(result)}")


COMMANDS = {
    "hash": (hash_, "imgkit hash -a sha256 disk.dd > SHA256SUMS"),
    "verify": (verify, "imgkit verify disk.dd --expect sha256:9f86d081..."),
}
