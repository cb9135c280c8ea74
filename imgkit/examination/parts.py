"""Which ranges are hashed as one: the media, partitions, and the files that an image is stored in, each under its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgkit.errors import ImageError, PartitionError, UsageError
from imgkit.examination.reading import Part
from imgkit.image import Extent
from imgkit.references import Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.examination import Evidence
    from imgkit.references.reference import Reference


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
        return _files(evidence)
    if not partitions:
        return [Part("media", Extent(0, image.size), media_name(evidence), evidence.sector_size)]
    return [
        Part(
            f"partition:{item.number}",
            item.extent,
            f"{evidence.name}:p{item.number}",
            evidence.table.sector_size,
        )
        for item in evidence.partitions(partitions)
    ]


def media_name(evidence: Evidence) -> str:
    """The file where the media is the file itself, else `media:FILE`, so that nobody checks it against the container."""
    image = evidence.image
    if len(image.segments) == 1 and image.backing_fileno() is not None:
        return "./-" if evidence.name == "-" else evidence.name  # `-` alone is standard input to every tool
    return f"media:{evidence.name}"


def _files(evidence: Evidence) -> list[Part]:
    """Each file as it lies, of the images built upon, too. Of raw images a file is an extent of the media."""
    image = evidence.image
    if image.backing_fileno() is not None:
        return [Part("container", Extent(0, image.size), media_name(evidence))]
    parts, at = [], 0
    for number, segment in enumerate(image.segments):
        of = f"segment:{number}" if len(image.segments) > 1 else "container"
        name = _file_name(evidence, segment.path)
        if image.format == "split-raw":
            parts.append(Part(of, Extent(at, segment.size), name))
        else:
            parts.append(Part(of, Extent(0, segment.size), name, file=number))
        at += segment.size
    return parts


def _file_name(evidence: Evidence, path: str) -> str:
    """A file of the image as checksum lines name it: below the folder as it was stated, else by its whole path."""
    below = os.path.relpath(path, os.path.dirname(evidence.image.path))
    if below.startswith("../"):
        return path
    name = os.path.join(os.path.dirname(evidence.name), below)
    return "./-" if name == "-" else name


def files_stated(evidence: Evidence, references: Sequence[Reference]) -> list[Part]:
    """The files that digests are stated of, in their order."""
    stated = {item.of for item in references if is_of_file(item.of)}
    return [part for part in _files(evidence) if part.of in stated] if stated else []


def is_of_file(of: str) -> bool:
    """Whether what a digest is `of` is a file as it lies."""
    return of == "container" or of.startswith("segment:")


def partitions_stated(
    evidence: Evidence, references: Sequence[Reference], unusable: list[Unusable]
) -> list[Part]:
    """The partitions that digests are stated of: the bytes that were hashed then, with how the table differs now."""
    first: dict[tuple[int, Extent | None], Reference] = {}
    for reference in references:
        kind, _, word = reference.of.partition(":")
        if kind == "partition" and word.isascii() and word.isdecimal():
            first.setdefault((int(word), reference.extent), reference)
    parts = []
    for (number, _), reference in sorted(
        first.items(), key=lambda item: (item[0][0], item[0][1] or Extent(0, 0))
    ):
        part, trouble = _partition_stated(evidence, number, reference)
        if part is not None:
            parts.append(part)
        if trouble is not None and trouble not in unusable:
            unusable.append(trouble)
    return parts


def _partition_stated(
    evidence: Evidence, number: int, reference: Reference
) -> tuple[Part | None, Unusable | None]:
    """Return the part to read, and why what is known of it could not be compared with the table."""
    image, trouble, differences = evidence.image, None, []
    extent, now = reference.extent, None
    try:
        table = evidence.table_read_with(reference.sector_size)
    except (PartitionError, ImageError, UsageError) as error:
        trouble = Unusable(image.path, error.message, error.hint)
    else:
        now = next((item.extent for item in table.partitions if item.number == number), None)
        if extent is not None and now != extent:
            place = (
                "the table has none of that number now"
                if now is None
                else f"the table has it at {_bytes(now)} now"
            )
            differences.append(
                f"partition {number} was at {_bytes(extent)} ({where_stated(reference)}): {place}"
            )
    extent = extent or now
    if extent is None:
        text = f"{where_stated(reference)} states a digest of partition {number}, but not of which bytes"
        return None, trouble or Unusable(image.path, text)
    if extent.end > image.size:
        differences.append(f"partition {number} ends at byte {extent.end}, the media already at {image.size}")
    name = f"{evidence.name}:p{number}"
    return Part(reference.of, extent, name, reference.sector_size, tuple(differences)), trouble


def _bytes(extent: Extent) -> str:
    return f"byte {extent.offset}, {extent.length} bytes long"


def where_stated(reference: Reference) -> str:
    """`/evidence/SHA256SUMS line 3`, or the kind of source where there is no file."""
    source = reference.source
    return f"{source.path or source.kind}" + (f" line {source.line}" if source.line else "")
