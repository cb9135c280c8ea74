"""info and partitions: how the media is stored and how it is divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgkit.cli import options
from imgkit.cli.options import ImageArgument
from imgkit.cli.output import emit, human, is_terminal, notice, say, say_fact, table

if TYPE_CHECKING:
    from imgkit.examination import Examination

Document = dict[str, Any]

TROUBLE = 3


def info(
    image: ImageArgument,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    sector_size: options.SectorSizeOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Show how an image is stored: container, sizes, segments, sectors, data and holes."""
    options.check_sector_size(sector_size)
    with (
        options.open_examination(case, examiner, exhibit, reason) as examination,
        examination.evidence(image, sector_size=sector_size) as evidence,
    ):
        document = examination.info(evidence) | recorded_as(examination)
    if as_json:
        emit(document)
    else:
        _print_info(document)
    return TROUBLE if examination.spooled else 0


def recorded_as(examination: Examination) -> Document:
    """What every document says of the records: which lines, and whether an outcome is not yet among them."""
    said: Document = {"records": examination.records}
    if examination.spooled is not None:
        said["not_yet_in_log"] = examination.spooled
    return said


def _print_info(document: Document) -> None:
    facts, sparse = document["image"], document["sparse"]
    size, source = document["sector_size"], document["sector_size_source"]
    sector = f"{size} bytes ({source})" if size else "not stated"
    rows = [
        ("image", facts["path"]),
        ("container", facts["format"]),
        ("media", f"{facts['size']} bytes ({human(facts['size'])})"),
        ("sectors", sector),
        ("data", f"{sparse['data']} bytes in {sparse['extents']} extents, holes {sparse['holes']} bytes"),
        ("table", f"{document['table']['scheme']}, {document['table']['partitions']} partitions"),
        ("exhibit", document["exhibit"]),
    ]
    rows += [(f"stored {name}", value) for name, value in document["stored_digests"].items()]
    rows += [(name, str(value)) for name, value in document["metadata"].items()]
    segments = facts["segments"]
    rows += [("segments", str(document["image"].get("segment_count", len(segments))))]
    table(("fact", "value"), rows, narrow=say_fact)
    if len(segments) > 1:
        say()
        table(("segment", "bytes"), [(item["path"], str(item["size"])) for item in segments], right=(1,))


def partitions(
    image: ImageArgument,
    sector_size: options.SectorSizeOption = None,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Show the partition table, its gaps and findings, and the file system of each partition."""
    options.check_sector_size(sector_size)
    with (
        options.open_examination(case, examiner, exhibit, reason) as examination,
        examination.evidence(image, sector_size=sector_size) as evidence,
    ):
        document = examination.partitions(evidence) | recorded_as(examination)
        facts, size = evidence.table, evidence.image.size
    if as_json:
        emit(document)
        return TROUBLE if examination.spooled else 0
    _print_partitions(document)
    if is_terminal() and size:
        from imgkit.cli.disk_map import print_disk_map

        print_disk_map(facts, size)
    return TROUBLE if examination.spooled else 0


def _print_partitions(document: Document) -> None:
    facts = document["table"]
    identity = f", id {facts['id']}" if facts["id"] else ""
    if facts["scheme"] == "none":
        say("no partition table")
    else:
        say(f"{facts['scheme']} table, {facts['sector_size']}-byte sectors{identity}")
    if document["filesystem"]:
        say(f"the media itself holds {document['filesystem']['type']}")
    rows = [(_partition_row(item), item["offset"]) for item in document["partitions"]]
    rows += [
        (("", str(item["offset"]), str(item["length"]), "(gap)", "", ""), item["offset"])
        for item in document["gaps"]
    ]
    if rows:
        ordered = [row for row, _ in sorted(rows, key=lambda pair: pair[1])]
        table(("nr", "offset", "length", "type", "holds", "name"), ordered, right=(0, 1, 2))
    for item in document["findings"]:
        notice(f"{item['severity']}: {item['message']} [{item['code']}]")


def _partition_row(item: Document) -> tuple[str, ...]:
    found = item["filesystem"]
    holds = "" if found is None else found["type"] + (f" {found['label']}" if found["label"] else "")
    flags = " *" if item["bootable"] else ""
    return (
        str(item["number"]),
        str(item["offset"]),
        str(item["length"]),
        (item["type_name"] or item["type"]) + flags,
        holds,
        item["name"],
    )


# name -> the function, and an example for its --help
COMMANDS = {
    "info": (info, "imgkit info disk.dd"),
    "partitions": (partitions, "imgkit partitions disk.dd"),
}
