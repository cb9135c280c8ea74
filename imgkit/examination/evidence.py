"""The image on the table: opened read-only, stated as facts for records and documents."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from imgkit.containers import open_image
from imgkit.custody.record import LIST_LIMIT, path_fields
from imgkit.errors import NotPermitted, UsageError
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.examination.examiner import User
    from imgkit.image import Image, Segment
    from imgkit.linux.files import Identity

Record = dict[str, Any]

MANY_SEGMENTS = LIST_LIMIT  # above it a document holds count and digest of the list


def open_evidence(path: str, user: User, *, sector_size: int | None = None) -> tuple[Image, Identity | None]:
    """Open an image read-only; where root itself is refused (a file server squashes root), as the invoking user.

    Returns:
        The image, and with whose rights its files have to be touched further on: None is our own.

    Raises:
        ImageError, NotPermitted: As containers.open_image.
        UsageError: The name is empty: a variable of a script that was not set.
    """
    if not path:
        raise UsageError("the name of the image is empty")
    try:
        return open_image(path, sector_size=sector_size), None
    except NotPermitted:
        if os.geteuid() != 0 or user.uid == 0:
            raise
    with acting_as(user.identity):
        return open_image(path, sector_size=sector_size), user.identity


def notices_of(image: Image) -> Iterator[str]:
    """What the examiner should know of how the image was opened."""
    if image.metadata.get("atime_may_change"):
        yield f"{image.path} belongs to another user: reading it may change its access time"
    notices = image.metadata.get("notices", ())
    yield from notices if isinstance(notices, tuple) else ()


def stat_facts(found: os.stat_result, size: int) -> Record:
    """What tells whether a file was changed: {bytes, dev, ino, mtime, ctime}; times in ns, as strings like dev and ino."""
    return {
        "bytes": size,
        "dev": str(found.st_dev),
        "ino": str(found.st_ino),
        "mtime": str(found.st_mtime_ns),
        "ctime": str(found.st_ctime_ns),
    }


def file_facts(image: Image) -> list[Record]:
    """The files of an image for a record, first segment first: path and stat_facts of each at open."""
    return [
        {**path_fields(segment.path), **stat_facts(segment.stat, segment.size)} for segment in image.segments
    ]


def files_record(files: list[Record]) -> Record:
    """The files of an image in a record's data; a list that is too long goes to an enclosure, its first entry stays."""
    if len(files) > LIST_LIMIT:
        return {"files": files, "first_file": files[0]}
    return {"files": files}


def files_now(image: Image) -> list[Record]:
    """file_facts as they are at this moment: through the open descriptor where there is one, else by path."""
    fd = image.backing_fileno()
    if fd is not None:
        found = os.fstat(fd)
        segment = image.segments[0]
        size = segment.size if stat.S_ISBLK(found.st_mode) else found.st_size
        return [{**path_fields(segment.path), **stat_facts(found, size)}]
    return [_segment_now(segment) for segment in image.segments]


def _segment_now(segment: Segment) -> Record:
    try:
        found = os.stat(segment.path)
    except OSError as error:
        return {**path_fields(segment.path), "missing": str(error.strerror)}
    return {**path_fields(segment.path), **stat_facts(found, found.st_size)}


def changed_files(before: list[Record], after: list[Record]) -> tuple[list[str], list[str]]:
    """Compare two file_facts: paths whose content may differ (size, mtime, inode), and paths whose ctime alone differs."""
    changed, touched = [], []
    for old, new in zip(before, after, strict=True):
        if any(old.get(key) != new.get(key) for key in ("bytes", "dev", "ino", "mtime")):
            changed.append(str(old["path"]))
        elif old.get("ctime") != new.get("ctime"):
            touched.append(str(old["path"]))
    return changed, touched


def image_document(image: Image) -> Record:
    """`image` as it stands in every JSON document (docs/cli.md)."""
    document: Record = {
        **path_fields(image.path),
        "format": image.format,
        "size": image.size,
        "sector_size": image.sector_size,
    }
    segments = [{**path_fields(segment.path), "size": segment.size} for segment in image.segments]
    if len(segments) > MANY_SEGMENTS:
        text = json.dumps(segments, sort_keys=True, separators=(",", ":"))
        document["segments"] = []
        document["segment_count"] = len(segments)
        document["segments_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    else:
        document["segments"] = segments
    return document
