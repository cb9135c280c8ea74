"""info and partitions: how the media is stored and how it is divided."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import INTEGER_LIMIT, printable
from imgkit.errors import ImageError, PartitionError
from imgkit.examination.completeness import completeness
from imgkit.examination.evidence import image_document, image_record, notices_of, stated_by, stored_digests
from imgkit.filesystems.signatures import identify
from imgkit.image import Extent
from imgkit.partitions.table import PartitionTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.examination import Evidence, Examination
    from imgkit.filesystems.signatures import Filesystem
    from imgkit.image import Image
    from imgkit.partitions.table import Partition

Record = dict[str, Any]

# What containers state, each a key of the document of `info`; here where a container states nothing of it.
_STATED: dict[str, Record | list[Record]] = {
    "container": {},
    "acquisition": {},
    "acquisition_errors": [],
    "sessions": [],
    "tracks": [],
    "snapshots": [],
    "chain": [],
}


def inspect_image(examination: Examination, evidence: Evidence) -> Record:
    """The document of `info`."""
    with examination.act(
        "evidence.inspected",
        {**image_record(evidence.image), "what": "container"},
        exhibit=evidence.exhibit,
    ) as act:
        image, unreadable = evidence.image, []
        try:
            table = evidence.table
        except (
            ImageError,
            PartitionError,
        ) as error:  # what the container states is worth knowing all the same
            table = PartitionTable("unknown", image.sector_size or 0)
            unreadable.append(error.message)
        try:
            sparse: Record | None = _sparse(image)
        except ImageError as error:
            sparse = None
            unreadable.append(error.message)
        notices = [*notices_of(image), *evidence.device_notices, *image.anomalies]
        act.data.update(_info_record(image, table, sparse, notices, unreadable))
    for text in image.anomalies:
        examination.notify(text)
    sector_size, source = _sector_size(image, table)
    return {
        "schema": "imgkit.info.v1",
        "image": image_document(image),
        "exhibit": evidence.exhibit,
        "sector_size": sector_size,
        "sector_size_source": source,
        **stored_digests(image),
        **{key: image.metadata.get(key, empty) for key, empty in _STATED.items()},
        "metadata": {
            key: value
            for key, value in image.metadata.items()
            if key not in _STATED and key not in ("notices", "acquisition_problems", "atime_may_change")
        },
        "notices": notices,
        "complete": not image.cut_short,  # a set that lacks a file does not open: MissingSegment
        "completeness": completeness(image),
        "unreadable": unreadable,
        "sparse": sparse,
        "table": {"scheme": table.scheme, "partitions": len(table.partitions)},
    }


def _info_record(
    image: Image, table: PartitionTable, sparse: Record | None, notices: list[str], unreadable: list[str]
) -> Record:
    """What the outcome of an `info` holds."""
    record = {**table_record(table), **stated_by(image)}
    if sparse is not None:
        record["sparse"] = sparse
    for key, texts in (("notices", notices), ("unreadable", unreadable)):
        if texts:
            record[key] = [printable(text) for text in texts]
    return record


def _sector_size(image: Image, table: PartitionTable) -> tuple[int | None, str | None]:
    """What the container or device states, else what the table was written for, and where that comes from."""
    if image.sector_size is not None:
        return image.sector_size, image.sector_size_source
    if table.scheme in {"none", "unknown"}:
        return None, None
    guessed = any(item.code == "sector-size.guessed" for item in table.findings)
    return table.sector_size, "guessed" if guessed else "partition table"


def _sparse(image: Image) -> Record:
    data = extents = 0
    for extent in image.data_extents():
        data += extent.length
        extents += 1
    return {"data": data, "holes": image.size - data, "extents": extents}


def inspect_partitions(examination: Examination, evidence: Evidence) -> Record:
    """The document of `partitions`."""
    with examination.act(
        "evidence.inspected",
        {**image_record(evidence.image), "what": "partitions"},
        exhibit=evidence.exhibit,
    ) as act:
        table = evidence.table
        found = {item.number: _identify(evidence.image, item.extent) for item in table.partitions}
        whole = _identify(evidence.image, Extent(0, evidence.image.size)) if table.scheme == "none" else None
        act.data.update(table_record(table, found, whole))
    return {
        "schema": "imgkit.partitions.v1",
        "image": image_document(evidence.image),
        "exhibit": evidence.exhibit,
        "table": {"scheme": table.scheme, "sector_size": table.sector_size, "id": table.id},
        "filesystem": filesystem_document(whole),
        "partitions": [partition_document(item, table, found[item.number]) for item in table.partitions],
        "containers": [
            {"offset": item.extent.offset, "length": item.extent.length, "type": item.type, "slot": item.slot}
            for item in table.containers
        ],
        "gaps": [{"offset": gap.offset, "length": gap.length} for gap in table.gaps],
        "findings": [asdict(item) for item in table.findings],
        "readers": dict(table.readers),
    }


def _identify(image: Image, extent: Extent) -> Filesystem | None:
    there = extent.clipped_to(image.size)
    return identify(image, there) if there.length else None


def filesystem_document(found: Filesystem | None) -> Record | None:
    """`filesystem` as it stands in every JSON document."""
    if found is None:
        return None
    return {"type": found.type, "label": found.label or None, "uuid": found.uuid or None}


def partition_document(item: Partition, table: PartitionTable, found: Filesystem | None) -> Record:
    """An entry of `partitions`."""
    return {
        "number": item.number,
        "slot": item.slot,
        "offset": item.extent.offset,
        "length": item.extent.length,
        "start_sector": item.extent.offset // table.sector_size,
        "sectors": item.extent.length // table.sector_size,
        "type": item.type,
        "type_name": item.type_name,
        "name": item.name,
        "guid": item.guid,
        "attributes": list(item.attributes),
        "bootable": item.bootable,
        "logical": item.logical,
        "filesystem": filesystem_document(found),
    }


def table_record(
    table: PartitionTable,
    found: Mapping[int, Filesystem | None] | None = None,
    whole: Filesystem | None = None,
) -> Record:
    """What a record keeps of a table; lists that are too long for a line go to an enclosure by themselves.

    Args:
        table: What was read.
        found: Partition number -> what it holds; None where nobody looked.
        whole: What the media itself holds, where there is no table.
    """
    record: Record = {
        "scheme": table.scheme,
        "sector_size": table.sector_size,
        "partitions": [_partition_record(item, found or {}) for item in table.partitions],
        "containers": [_place(item.extent) for item in table.containers],
        "gaps": [_place(gap) for gap in table.gaps],
        "findings": [
            {"code": item.code, "severity": item.severity, "message": printable(item.message)}
            for item in table.findings
        ],
        "readers": {name: printable(version) for name, version in table.readers},
    }
    return record if whole is None else {**record, "filesystem": _filesystem_record(whole)}


def _partition_record(item: Partition, found: Mapping[int, Filesystem | None]) -> Record:
    record = {"number": item.number, **_place(item.extent), "type": item.type, "name": printable(item.name)}
    if item.type_name:
        record["type_name"] = printable(item.type_name)
    filesystem = found.get(item.number)
    return record if filesystem is None else {**record, "filesystem": _filesystem_record(filesystem)}


def _filesystem_record(found: Filesystem) -> Record:
    facts = {"type": found.type, "label": found.label, "uuid": found.uuid}
    return {key: printable(value) for key, value in facts.items() if value}


def _place(extent: Extent) -> Record:
    return {"offset": _number(extent.offset), "length": _number(extent.length)}


def _number(value: int) -> int | str:
    """What a record holds exactly: a hostile table may state more than 2^53."""
    return value if value <= INTEGER_LIMIT else str(value)
