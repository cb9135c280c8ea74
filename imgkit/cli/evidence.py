"""info and partitions: how the media is stored and how it is divided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgkit.cli import options
from imgkit.cli.exit_codes import TROUBLE
from imgkit.cli.options import ImageArgument
from imgkit.cli.output import columns, emit, human, is_terminal, notice, say, say_fact, table, tell_error
from imgkit.custody.record import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.examination import Examination

Document = dict[str, Any]


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
    for text in document["unreadable"]:
        tell_error(text, None)
    return TROUBLE if examination.spooled or document["unreadable"] else 0


def recorded_as(examination: Examination) -> Document:
    """What every document says of the records: which lines, and whether an outcome is not yet among them."""
    said: Document = {"records": examination.records}
    if examination.spooled is not None:
        said["not_yet_in_log"] = examination.spooled
    return said


def _print_info(document: Document) -> None:
    facts, sparse = document["image"], document["sparse"]
    data = "cannot be told"
    if sparse is not None:
        data = f"{sparse['data']} bytes in {_counted(sparse['extents'], 'extent')}, holes {sparse['holes']} bytes"
    size, source = document["sector_size"], document["sector_size_source"]
    sector = f"{size} bytes ({source})" if size else "not stated"
    rows = [
        ("image", facts["path"]),
        ("container", facts["format"]),
        ("complete", document["completeness"]["text"]),
        ("checked", "; ".join(document["completeness"]["checked"])),
        ("media", f"{facts['size']} bytes ({human(facts['size'])})"),
        ("sectors", sector),
        ("data", data),
        ("table", f"{document['table']['scheme']}, {_counted(document['table']['partitions'], 'partition')}"),
        ("exhibit", document["exhibit"]),
    ]
    for key in ("stored", "disputed"):
        rows += [(f"{key} {name}", value) for name, value in document[f"{key}_digests"].items()]
    for key in ("container", "acquisition", "metadata"):
        rows += list(_facts(document[key], "" if key == "metadata" else f"{key} "))
    segments = facts["segments"]
    rows += [("segments", str(document["image"].get("segment_count", len(segments))))]
    _print_facts(rows)
    for key, title in _LISTS.items():
        _print_list(title, document[key])
    if len(segments) > 1:
        say()
        named = [(item["path"], str(item["size"]), item.get("role", "segment")) for item in segments]
        table(("file", "bytes", "role"), named, right=(1,))


def _print_facts(rows: list[tuple[str, str]]) -> None:
    """A table whose sentences break between words; where a path or a digest would be broken, too, plain lines."""
    names = max(len(name) for name, _ in rows)
    longest = max(len(word) for _, value in rows for word in [*printable(value).split(), ""])
    table(("fact", "value"), rows, narrow=say_fact if names + longest + 2 > columns() else None)


# Lists that containers state, and what an entry of each is called.
_LISTS = {
    "acquisition_errors": "acquisition error",
    "sessions": "session",
    "tracks": "track",
    "snapshots": "snapshot",
    "chain": "builds upon",
}
_MOST_SHOWN = 20  # entries of a list on a screen; --json has them all


def _facts(value: Document, lead: str = "") -> Iterator[tuple[str, str]]:
    """What a container states, a row each; nested facts under both their names."""
    for key, item in value.items():
        name = f"{lead}{key}".replace("_", " ")
        if isinstance(item, dict):
            yield from _facts(item, f"{name} ")
        elif isinstance(item, list | tuple):
            # What has fields of its own gets a line of its own: a value with a comma in it must not pass for the next one.
            structured = any(isinstance(one, dict) for one in item)
            yield from (
                ((name, _said(one)) for one in item) if structured else [(name, ", ".join(map(_said, item)))]
            )
        elif (key.endswith("_epoch") or key == "date") and isinstance(item, int):
            yield name, f"{item}{_as_utc(item)}"
        elif item is not None and item != "":
            yield name, _said(item)


def _as_utc(seconds: int) -> str:
    """The date that a number of seconds since 1970 means, for reading; nothing where it means none."""
    from datetime import UTC, datetime, timedelta

    try:
        return f" ({datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC)"
    except OverflowError:
        return ""


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(item)}" for key, item in value.items())
    return str(value)


def _print_list(title: str, entries: Sequence[Document]) -> None:
    """A table of what a container lists, a column for each fact."""
    if not entries:
        return
    say()
    shown = [dict(_facts(item)) for item in entries[:_MOST_SHOWN]]
    names = list(dict.fromkeys(name for item in shown for name in item))
    rows = [
        (str(number), *(item.get(name, "") for name in names)) for number, item in enumerate(shown, start=1)
    ]
    table((title, *names), rows)
    if len(entries) > _MOST_SHOWN:
        say(f"and {len(entries) - _MOST_SHOWN} more; --json lists them all")


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
