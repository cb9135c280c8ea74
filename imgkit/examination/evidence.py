"""The image on the table: opened read-only, stated as facts for records and documents."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.containers import RawImage, open_image
from imgkit.containers.evidence_file import open_evidence as open_evidence_file
from imgkit.custody.record import (
    INTEGER_LIMIT,
    LINE_LIMIT,
    LIST_LIMIT,
    encode_document,
    path_fields,
    printable,
)
from imgkit.errors import ImageError, NotPermitted, PartitionError, UsageError
from imgkit.examination.acquisition import acquisition_record
from imgkit.examination.devices import device_changes, device_facts, device_notices, device_of
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.examination.examiner import User
    from imgkit.image import Image, Segment
    from imgkit.linux.files import Identity
    from imgkit.partitions.table import Partition, PartitionTable

Record = dict[str, Any]

MANY_SEGMENTS = LIST_LIMIT  # above it a document holds count and digest of the list


class Evidence:
    """An opened image and the exhibit it is in this case.

    Attributes:
        image: The open image.
        exhibit: EX1 ...
        name: The path as it was stated, which checksum lines repeat.
        identity: With whose rights what lies beside the image is opened, where a file server refuses root; None is our
            own. The image itself keeps to the rights it was opened with.
        sector_size: Of the table, as the examiner stated it, or None.
    """

    def __init__(
        self,
        image: Image,
        exhibit: str,
        *,
        sector_size: int | None = None,
        name: str | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.image = image
        self.exhibit = exhibit
        self.name = name or image.path
        self.identity = identity
        self.sector_size = sector_size
        self._table: PartitionTable | None = None
        self._device_notices: tuple[str, ...] | None = None

    @property
    def device_notices(self) -> tuple[str, ...]:
        """What the examiner should know of a block device before it is read; looked at once."""
        if self._device_notices is None:
            self._device_notices = tuple(device_notices(self.image))
        return self._device_notices

    @property
    def table(self) -> PartitionTable:
        """The partition table, read once."""
        if self._table is None:
            from imgkit.partitions import read_partition_table

            self._table = read_partition_table(self.image, sector_size=self.sector_size)
        return self._table

    def table_read_with(self, sector_size: int | None) -> PartitionTable:
        """The table as it reads with this sector size: how an earlier run read it, perhaps because it was told to."""
        if sector_size in (None, self.table.sector_size):
            return self.table
        from imgkit.partitions import read_partition_table

        return read_partition_table(self.image, sector_size=sector_size)

    def partitions(self, numbers: Sequence[int]) -> list[Partition]:
        """Return the partitions with these numbers, in this order, each once.

        Raises:
            PartitionError: No such number, or the partition runs past the end of the media.
        """
        known = {item.number: item for item in self.table.partitions}
        chosen = []
        for number in dict.fromkeys(numbers):
            if number not in known:
                names = ", ".join(str(item) for item in sorted(known)) or "none"
                raise PartitionError(
                    f"{self.image.path} has no partition {number} (scheme {self.table.scheme}; it has {names})"
                )
            self._inside(known[number])
            chosen.append(known[number])
        return chosen

    def _inside(self, partition: Partition) -> None:
        size, extent = self.image.size, partition.extent
        if extent.end <= size:
            return
        there = extent.clipped_to(size)
        hint = None
        if there.length >= 512:  # noqa: PLR2004  (the smallest block a loop device has)
            hint = f"the part that is there: --offset {there.offset} --length {there.length // 512 * 512}"
        raise PartitionError(
            f"partition {partition.number} of {self.image.path} ends at byte {extent.end}, "
            f"the media already at {size}",
            hint=hint,
        )


def open_evidence(path: str, user: User, *, sector_size: int | None = None) -> tuple[Image, Identity | None]:
    """Open an image read-only; where root itself is refused (a file server squashes root), as the invoking user.

    Returns:
        The image, and with whose rights its files have to be touched further on: None is our own.

    Raises:
        ImageError, NotPermitted: As containers.open_image; media of 8 PiB or more, whose places no record can tell.
        UsageError: The name is empty: a variable of a script that was not set.
    """
    if not path:
        raise UsageError("the name of the image is empty")
    image, identity = _open_with_rights(path, user, sector_size)
    if image.size > INTEGER_LIMIT:
        image.close()
        raise ImageError(
            f"{path} states {image.size} bytes of media, more than the {INTEGER_LIMIT} that a record can tell of",
            hint="no disk holds that many: what states it is damaged or made up",
        )
    return image, identity


def _open_with_rights(path: str, user: User, sector_size: int | None) -> tuple[Image, Identity | None]:
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
        what = "belongs" if len(image.segments) == 1 else "or another of its files belongs"
        yield f"{image.path} {what} to another user: reading it may change its access time"
    notices = image.metadata.get("notices", ())
    yield from notices if isinstance(notices, tuple) else ()


def stored_digests(image: Image) -> dict[str, dict[str, str]]:
    """The digests that a container states, algorithm to value; another one that it states in a second place."""
    stated: dict[str, str] = {}
    disputed: dict[str, str] = {}
    for digest in image.stored_digests:
        (disputed if digest.algorithm in stated else stated)[digest.algorithm] = digest.value
    return {"stored_digests": stated, "disputed_digests": disputed}


def stated_by(image: Image) -> Record:
    """What a container says of itself, for the record that adds it: digests, what tells its set from others, acquisition."""
    facts: Record = {key: digests for key, digests in stored_digests(image).items() if digests}
    container = image.metadata.get("container")
    identifier = container.get("set_identifier") if isinstance(container, dict) else None
    if isinstance(identifier, str) and identifier:
        facts["set_identifier"] = printable(identifier)
    if acquisition := acquisition_record(image):
        facts["acquisition"] = acquisition
    return facts


@contextmanager
def file_of(evidence: Evidence, index: int) -> Iterator[Image]:
    """A file of the image as it lies, by its place in `segments`: the very one that was there at open.

    Raises:
        ImageError, NotPermitted: It cannot be opened any more, or is another one.
    """
    segment = evidence.image.segments[index]
    with acting_as(evidence.identity):
        file = open_evidence_file(segment.path)
    with RawImage(file) as image:
        if not file.is_same_file(segment.stat):
            raise ImageError(f"{segment.path} is not the file that was there when the image was opened")
        yield image


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
    """The files of an image for a record, first segment first: path and stat_facts of each at open.

    Of a block device, whose node says nothing of the disk: path, bytes, dev and ino of the node, and `source`, the
    disk's own words, at this moment.
    """
    fd = device_of(image)
    if fd is not None:
        node = stat_facts(os.fstat(fd), image.size)
        facts = {key: node[key] for key in ("bytes", "dev", "ino")}
        return [{**path_fields(image.path), **facts, "source": device_facts(fd)}]
    return [{**_named(segment), **stat_facts(segment.stat, segment.size)} for segment in image.segments]


def _named(segment: Segment) -> Record:
    """Path of a file of an image, and what it is where it is no segment: `descriptor`, `parent`."""
    role = {} if segment.role == "segment" else {"role": segment.role}
    return {**path_fields(segment.path), **role}


def image_asked(image: Image) -> Record:
    """image_record of what is to be shown to others: also its size, and its sector size where something states that."""
    sectors = {} if image.sector_size is None else {"sector_size": image.sector_size}
    return {"size": image.size, **sectors, **image_record(image)}


def image_record(image: Image) -> Record:
    """What a record's data says of an image: its format and every file of it at open."""
    return {"format": image.format, **files_record(file_facts(image))}


def files_record(files: list[Record]) -> Record:
    """The files of an image in a record's data; a list that is too long goes to an enclosure, its first entry stays.

    A list that takes much of a line may have to go as well: an exhibit is known again by its first file.
    """
    if len(files) > LIST_LIMIT or len(encode_document(files)) > LINE_LIMIT // 4:
        return {"files": files, "first_file": files[0]}
    return {"files": files}


def files_now(image: Image) -> list[Record]:
    """file_facts as they are at this moment: through the open descriptor where there is one, else by path."""
    fd = image.backing_fileno()
    if fd is None:
        return [_segment_now(segment) for segment in image.segments]
    if device_of(image) is not None:
        return _device_now(image)
    found = os.fstat(fd)
    return [{**path_fields(image.segments[0].path), **stat_facts(found, found.st_size)}]


def _device_now(image: Image) -> list[Record]:
    try:
        return file_facts(image)
    except OSError as error:  # unplugged
        return [{**path_fields(image.path), "missing": str(error.strerror)}]


def _segment_now(segment: Segment) -> Record:
    try:
        found = os.stat(segment.path)
    except OSError as error:
        return {**_named(segment), "missing": str(error.strerror)}
    return {**_named(segment), **stat_facts(found, found.st_size)}


@dataclass(frozen=True, slots=True)
class FileChanges:
    """How the files of an image differ after a read from what they were before.

    Attributes:
        changed: Paths whose content may differ: size, mtime or inode, of a device its number or write counters.
        touched: Paths whose ctime alone differs.
        details: Both in words, one sentence each.
    """

    changed: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


_CONTENT = ("bytes", "dev", "ino", "mtime")


def file_changes(before: list[Record], after: list[Record]) -> FileChanges:
    """Compare two file_facts."""
    changed, touched, details = [], [], []
    for old, new in zip(before, after, strict=True):
        path = str(old["path"])
        found = _content_changes(path, old, new)
        if found:
            changed.append(path)
        elif old.get("ctime") != new.get("ctime"):
            touched.append(path)
            found = [
                f"{path}: only ctime differs ({old.get('ctime')} ns before the read, {new.get('ctime')} ns after it)"
            ]
        details += found
    return FileChanges(tuple(changed), tuple(touched), tuple(details))


def _content_changes(path: str, old: Record, new: Record) -> list[str]:
    if "missing" in new:
        return [f"{path} cannot be looked at after the read: {new['missing']}"]
    if "source" in old:
        return device_changes(path, old["source"], new["source"])
    return [
        f"{path}: {key} {old.get(key)} before the read, {new.get(key)} after it"
        for key in _CONTENT
        if old.get(key) != new.get(key)
    ]


def image_document(image: Image) -> Record:
    """`image` as it stands in every JSON document (docs/cli.md)."""
    document: Record = {
        **path_fields(image.path),
        "format": image.format,
        "size": image.size,
        "sector_size": image.sector_size,
    }
    return document | segments_document(
        [{**_named(segment), "size": segment.size} for segment in image.segments]
    )


def segments_document(segments: list[Record]) -> Record:
    """`segments` of `image`: path and size of every file; of a long list its count and digest."""
    document: Record = {}
    if len(segments) > MANY_SEGMENTS:
        text = json.dumps(segments, sort_keys=True, separators=(",", ":"))
        document["segments"] = []
        document["segment_count"] = len(segments)
        document["segments_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    else:
        document["segments"] = segments
    return document
