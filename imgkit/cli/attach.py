"""attach, detach, mount, unmount, status: partitions as read-only devices and directories, and what is there now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.ending import final
from imgkit.cli.exit_codes import TROUBLE
from imgkit.cli.options import ImageArgument
from imgkit.cli.output import emit, flush, is_terminal, notice, ranges, say, say_bytes, table, tell_error
from imgkit.cli.taken_down import code_of, tell_ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.examination.attached import Attached
    from imgkit.examination.detaching import TakenDown
    from imgkit.examination.planning import Skipped

Document = dict[str, Any]
Records = Document | list[Document] | None

_TOLD = 10  # reasons that are told one by one

AllOption = Annotated[
    bool, typer.Option("--all", help="Everything that this examiner (with --case: this case) attached.")
]
EveryoneOption = Annotated[bool, typer.Option("--everyone", help="With --all: what others attached, too.")]
OfCaseOption = Annotated[
    str | None,
    typer.Option(
        "--case", metavar="DIR", help="With --all: what this case attached, whoever did.", show_default=False
    ),
]


def attach(
    image: ImageArgument,
    partition: options.PartitionOption = None,
    offset: Annotated[
        int | None,
        typer.Option("--offset", metavar="BYTES", min=0, help="First byte of an extent.", show_default=False),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option("--length", metavar="BYTES", min=1, help="Bytes of an extent.", show_default=False),
    ] = None,
    sector_size: options.SectorSizeOption = None,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Attach partitions, an extent or the whole media as read-only loop devices, all or none."""
    from imgkit.examination.planning import check_asked

    options.check_sector_size(sector_size)
    check_asked(partition or (), offset, length)
    with (
        options.open_examination(case, examiner, exhibit, reason) as examination,
        examination.evidence(image, sector_size=sector_size) as evidence,
    ):
        notice(examination.last_check(evidence))
        with (
            examination.attached(
                evidence, partitions=partition or (), offset=offset, length=length
            ) as attached,
            final(),
        ):
            _show_attached("imgkit.attach.v1", attached, [], as_json=as_json, records=examination.records)
    return 0


def _show_attached(
    schema: str, attached: list[Attached], skipped: list[Document], *, as_json: bool, records: Document | None
) -> None:
    from imgkit.examination.attached import attachment_document

    for item in attached:
        for text in (*item.attachment.notices, *(item.mount.notices if item.mount else ())):
            notice(f"{item.attachment.device}: {text}")
    if as_json:
        documents = [attachment_document(item) for item in attached]
        emit({"schema": schema, "attachments": documents, "skipped": skipped, "records": records})
    elif is_terminal() and attached:
        _attachment_table(attached)
    else:
        for item in attached:
            say_bytes(_shown(item))
    flush()  # while what cannot be shown is still taken down again


def _shown(item: Attached) -> str:
    """What a script takes: the directory of a mount, the device of an attachment."""
    return item.mount.target if item.mount else item.attachment.device


def _attachment_table(attached: list[Attached]) -> None:
    rows = [
        (
            item.attachment.device,
            str(item.partition or ""),
            str(item.attachment.extent.offset),
            str(item.attachment.extent.length),
            "read-only" if item.attachment.read_only else "WRITABLE",
            item.attachment.guard,
            item.mount.target if item.mount else "",
        )
        for item in attached
    ]
    mounted = any(item.mount for item in attached)
    headers = ("device", "nr", "offset", "length", "proof", "guard", "mounted at")
    count = len(headers) if mounted else len(headers) - 1
    table(headers[:count], [row[:count] for row in rows], right=(1, 2, 3))


def mount(
    image: ImageArgument,
    directory: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Where; else below /run/imgkit.", show_default=False)
    ] = None,
    partition: options.PartitionOption = None,
    sector_size: options.SectorSizeOption = None,
    case: options.CaseOption = None,
    exhibit: options.ExhibitOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Attach and mount partitions read-only; without -p every one that can be mounted."""
    options.check_named(directory)
    options.check_sector_size(sector_size)
    with (
        options.open_examination(case, examiner, exhibit, reason) as examination,
        examination.evidence(image, sector_size=sector_size) as evidence,
    ):
        notice(examination.last_check(evidence))
        with (
            examination.mounted(evidence, partitions=partition or (), directory=directory) as (
                mounted,
                skipped,
            ),
            final(),
        ):
            documents = [
                {"partition": item.partition, "reason": item.reason, "hint": item.hint} for item in skipped
            ]
            _show_attached(
                "imgkit.mount.v1", mounted, documents, as_json=as_json, records=examination.records
            )
            _tell_skipped(skipped, image, asked=bool(partition))
    return TROUBLE if skipped and (partition or not all(item.empty for item in skipped)) else 0


def _tell_skipped(skipped: list[Skipped], image: str, *, asked: bool) -> None:
    """What is not mounted and why: partitions of one reason together, and of a hundred reasons the first few."""
    alike: dict[tuple[bool, str], list[Skipped]] = {}
    for item in skipped:
        alike.setdefault((asked or not item.empty, item.reason), []).append(item)
    told = sorted(alike.items(), key=lambda entry: not entry[0][0])  # errors first
    for (is_error, reason), items in told[:_TOLD]:
        text = f"{_named(items, image)} not mounted: {reason}"
        hint = items[0].hint
        if is_error:
            tell_error(text, hint)
        else:
            notice(f"{text}; {hint}" if hint else text)
    if rest := sum(len(items) for _, items in told[_TOLD:]):
        notice(f"{rest} more are not mounted: --json has each of them, and why")


def _named(items: list[Skipped], image: str) -> str:
    """`partition 5 is`, `partitions 1-4, 7 are`: neighbours together."""
    numbers = sorted(item.partition for item in items if item.partition is not None)
    if not numbers:
        return f"{image} is"
    words = ranges(numbers)
    return f"partitions {words} are" if len(numbers) > 1 else f"partition {words} is"


def detach(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="DEVICE|IMAGE...", help="Devices or images.", show_default=False),
    ] = None,
    everything: AllOption = False,
    everyone: EveryoneOption = False,
    case: OfCaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Detach what imgkit attached; returns when the kernel has let go."""
    done, records = _take_down("detach", what, everything, everyone, case, examiner, reason)
    return _show_taken_down("imgkit.detach.v1", done, records, as_json=as_json)


def unmount(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="DIR|IMAGE...", help="Mount points or images.", show_default=False),
    ] = None,
    everything: AllOption = False,
    everyone: EveryoneOption = False,
    case: OfCaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Unmount what imgkit mounted, and detach it."""
    done, records = _take_down("unmount", what, everything, everyone, case, examiner, reason)
    return _show_taken_down("imgkit.unmount.v1", done, records, as_json=as_json)


def _take_down(
    verb: str,
    what: list[str] | None,
    everything: bool,
    everyone: bool,
    case: str | None,
    examiner: str | None,
    reason: str | None,
) -> tuple[list[TakenDown], Records]:
    from imgkit.cli.options import asker
    from imgkit.examination.cases import log_path, stated
    from imgkit.examination.detaching import Selection, Takedown
    from imgkit.examination.presence import be_present

    presence = be_present(examiner=examiner, argv=None, ask=asker())
    named = stated(case, "IMGKIT_CASE", os.environ)
    log = log_path(named, presence.user, must_exist=False) if named is not None and everything else None
    selection = Selection(tuple(what or ()), everything, everyone, log)
    with presence.session:
        takedown = Takedown(presence, reason=reason, notify=notice)
        done = takedown.detach(selection) if verb == "detach" else takedown.unmount(selection)
    return done, takedown.records


def _show_taken_down(schema: str, done: list[TakenDown], records: Records, *, as_json: bool) -> int:
    for item in done:
        _tell_taken_down(item)
    if as_json:
        documents = [_taken_down_document(item) for item in done]
        emit({"schema": schema, "attachments": documents, "skipped": [], "records": records})
    else:
        for item in done:
            if item.error is None:
                say(" ".join([item.attached.attachment.device, *item.unmounted]))
    return code_of(done)


def _tell_taken_down(item: TakenDown) -> None:
    device = item.attached.attachment.device
    tell_ending(device, item)
    exposed = item.attached.attachment.exposed
    if item.error is None and exposed is not None and not exposed.alive:
        notice(f"{device}: the process that served the image did not answer any more: reads had failed")
    elif item.error is None and item.guard == "none":
        notice(f"{device}: not guarded against writers while attached: verify the image")
    if item.error is None and not item.compared:
        notice(f"{device} was attached by {item.by}: the image was not compared with how it was at attach")


def _taken_down_document(item: TakenDown) -> Document:
    from imgkit.examination.attached import attachment_document
    from imgkit.examination.recorder import records_of
    from imgkit.examination.takedown import ending_document

    document = attachment_document(item.attached) | {
        "detached": item.error is None,
        "unmounted": item.unmounted,
        "guard_at_detach": item.guard,
    }
    return document | ending_document(item, records_of(item.log or "", item.lines))


def status(as_json: options.JsonOption = False) -> int:
    """Show what is attached and mounted, by whom and for which case, with the read-only proof read back now."""
    from imgkit.examination.presence import memory_of
    from imgkit.examination.standing import NEEDS_ROOT, standing

    found = standing(memory_of(os.environ))
    there = found.attachments
    if as_json:
        document = {"schema": "imgkit.status.v1", "attachments": there, "skipped": []}
        emit(document | {"exposures": found.exposures, "proved": found.proved})
    elif there:
        headers = ("device", "nr", "proof", "guard", "case: by", "mounted at", "image")
        table(headers, [_status_row(item) for item in there], right=(1,), narrow=_say_attachment)
    if found.exposures and not as_json:
        table(("exposed at", "pid", "case: by", "image"), [_exposure_row(item) for item in found.exposures])
    if not found.proved:
        notice(NEEDS_ROOT)
    elif not there and not found.exposures and not as_json:
        notice("nothing is attached")
    for item in () if as_json else found.exposures:
        for text in item["notices"]:
            notice(f"{item['file'] or _image_path(item)}: {text}")
    for item in () if as_json else there:
        for text in item["notices"]:
            notice(f"{item['device']}: {text}")
    return 0


_PROOF = {True: "read-only", False: "WRITABLE", None: "unknown"}


def _status_row(item: Document) -> tuple[str, ...]:
    return (
        item["device"],
        str(item["partition"] or ""),
        _PROOF[item["read_only"]],
        item["guard"],
        _whose(item),
        item["mountpoint"] or "",
        _served_image(item),
    )


def _served_image(item: Document) -> str:
    """The path, and of what a process serves the format and that process."""
    path, served = str(item["image"]["path"]), item["exposed"]
    if served is None:
        return path
    state = "" if served["alive"] else ", silent" if served["pid"] else ", gone"
    process = f", pid {served['pid']}" if served["pid"] else ""
    return f"{path} ({item['image']['format'] or 'container'}{process}{state})"


def _exposure_row(item: Document) -> tuple[str, ...]:
    path = _image_path(item)
    return (item["file"] or "nothing", str(item["exposed"]["pid"] or "gone"), _whose(item), path)


def _image_path(item: Document) -> str:
    return str(item["image"]["path"]) if item["image"] else "?"


def _whose(item: Document) -> str:
    return f"{item['case'] or '?'}: {(item['examiner'] or 'unknown').partition(' <')[0]}"


def _say_attachment(row: Sequence[str]) -> None:
    device, number, proof, guard, who, mounted, image = row
    part = f"partition {number}" if number else "whole"
    say(f"{device}  {part}  {proof}  {guard}  {who}")
    say(f"  {image}")
    if mounted:
        say(f"  mounted at {mounted}")


# name -> the function, and an example for its --help
COMMANDS = {
    "attach": (attach, "dev=$(sudo imgkit attach disk.dd -p 2)"),
    "detach": (detach, "sudo imgkit detach disk.dd"),
    "mount": (mount, "sudo imgkit mount disk.dd -p 2 /mnt/evidence"),
    "unmount": (unmount, "sudo imgkit unmount /mnt/evidence"),
    "status": (status, "sudo imgkit status"),
}
