"""mount: attach, mount read-only, prove; the mount itself then holds the device, and unmounting frees it."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.attachment import signals_held
from imgkit.custody.record import path_fields
from imgkit.errors import CustodyError, ImgkitError, NotMountable, OutcomeSpooled
from imgkit.examination.attached import Attached, counters
from imgkit.examination.attaching import (
    Target,
    bind,
    check_attachable,
    open_acts,
    record_made,
    take_down_again,
    targets_of,
)
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import image_document
from imgkit.examination.inspecting import filesystem_document
from imgkit.examination.places import folder_below_run
from imgkit.filesystems.signatures import identify
from imgkit.image import Extent
from imgkit.mounting import check_mountable, mount, unmount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from imgkit.attachment import LoopDevice
    from imgkit.examination import Evidence, Examination
    from imgkit.filesystems.signatures import Filesystem
    from imgkit.mounting import Mount

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A partition that was not mounted, and why.

    Attributes:
        partition: Its number, or None for media without a table.
        reason: One sentence.
        hint: The next command, or None.
        empty: It holds no file system (swap, LUKS, nothing recognised): not a failure of a whole-image mount.
    """

    partition: int | None
    reason: str
    hint: str | None
    empty: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A target, what it holds, and where it is to be seen."""

    target: Target
    filesystem: Filesystem
    directory: str


@contextmanager
def mounted_image(
    examination: Examination,
    evidence: Evidence,
    *,
    partitions: Sequence[int] = (),
    directory: str | None = None,
) -> Iterator[tuple[list[Attached], list[Skipped]]]:
    """Mount what is asked for (all that can be mounted where nothing is) and say why the others are not.

    A signal or an error inside the block takes the mounts down again, recorded.

    Raises:
        NotPermitted, AttachError: Nothing can be mounted by us, or from this image.
        PartitionError: A partition that was asked for does not exist.
        CustodyError: The log refused an intent or an outcome: everything was taken down again.
    """
    check_attachable(evidence)
    found, skipped = _found(evidence, partitions)
    mounted: list[Attached] = []
    with ExitStack() as undo:
        alone = len(set(partitions)) == 1 or not (partitions or evidence.table.partitions)
        if directory is not None:
            planned = _planned(found, os.path.abspath(directory), alone=alone)
        else:
            planned = undo.enter_context(_planned_below_run(examination, evidence, found))
        undo.push(_Undo(examination, mounted).__exit__)
        for item in planned:
            try:
                with signals_held():
                    mounted.append(_mount_one(examination, evidence, item))
            except CustodyError:
                raise
            except ImgkitError as error:
                hint = error.hint
                if isinstance(error, NotMountable):  # its hint names the device, which has gone again
                    hint = _next_command(evidence, item.target, error)
                skipped.append(Skipped(item.target.partition, error.message, hint, empty=False))
        yield mounted, sorted(skipped, key=lambda item: item.partition or 0)


class _Undo:
    """The exit of a block whose mounts stay only if nothing was raised in it (a signal, a log that refuses)."""

    def __init__(self, examination: Examination, mounted: list[Attached]) -> None:
        self._examination = examination
        self._mounted = mounted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not self._mounted:
            return
        from imgkit.examination.detaching import Selection, Takedown

        with signals_held():
            names = tuple(item.attachment.device for item in self._mounted)
            presence, notify = self._examination.presence, self._examination.notify
            why = f"{type(error).__name__} before the result was shown"
            takedown = Takedown(presence, reason=why, notify=notify)
            try:
                done = takedown.unmount(Selection(names))
            except ImgkitError as failure:
                notify(f"{', '.join(names)}: {failure.message}")
                return
            for item in done:
                device = item.attached.attachment.device
                told = (
                    f"is still there: {item.error.message}" if item.error else f"was taken down again: {why}"
                )
                notify(f"{device} {told}")


def _found(
    evidence: Evidence, numbers: Sequence[int]
) -> tuple[list[tuple[Target, Filesystem]], list[Skipped]]:
    """What holds a file system that is known to be mountable, and why the rest is left out."""
    targets, skipped = _targets(evidence, numbers)
    found = []
    for target in targets:
        filesystem = identify(evidence.image, target.extent or Extent(0, evidence.image.size))
        if filesystem is None:
            skipped.append(Skipped(target.partition, "no file system was recognised", None, empty=True))
            continue
        try:
            check_mountable(filesystem.type, device="/dev/loopN")
        except NotMountable as error:
            hint = _next_command(evidence, target, error)
            skipped.append(Skipped(target.partition, error.message, hint, empty=True))
        else:
            found.append((target, filesystem))
    return found, skipped


def _planned(found: Sequence[tuple[Target, Filesystem]], base: str, *, alone: bool) -> list[Planned]:
    """DIR itself for one partition, or media without a table; else DIR/pN."""
    return [
        Planned(target, filesystem, base if alone else os.path.join(base, _part(target)))
        for target, filesystem in found
    ]


@contextmanager
def _planned_below_run(
    examination: Examination, evidence: Evidence, found: Sequence[tuple[Target, Filesystem]]
) -> Iterator[list[Planned]]:
    """Directories below /run/imgkit; those that nothing was mounted on are taken away at the end."""
    if not found:
        yield []
        return
    parts = [_part(target) for target, _ in found]
    name, log = _name(examination, evidence), examination.log.uuid
    with folder_below_run(name, parts, evidence.image, log) as base:
        yield _planned(found, base, alone=False)


def _part(target: Target) -> str:
    return f"p{target.partition or 0}"


def _targets(evidence: Evidence, numbers: Sequence[int]) -> tuple[list[Target], list[Skipped]]:
    """Every partition, or those asked for; the whole media where there is no table."""
    if numbers:
        return targets_of(evidence, partitions=numbers), []
    if not evidence.table.partitions:
        return targets_of(evidence), []
    targets, skipped = [], []
    for partition in evidence.table.partitions:
        try:
            targets += targets_of(evidence, partitions=[partition.number])
        except ImgkitError as error:
            skipped.append(Skipped(partition.number, error.message, error.hint, empty=False))
    return targets, skipped


def _next_command(evidence: Evidence, target: Target, error: NotMountable) -> str | None:
    """How to go on with LUKS, LVM and their like: attach first, then the tool that knows it."""
    if error.hint is None:
        return None
    part = f" -p {target.partition}" if target.partition else ""
    hint = re.sub(r"/dev/loop\d+", "/dev/loopN", error.hint)
    return f"imgkit attach {shlex.quote(evidence.image.path)}{part}, then: {hint}"


def _name(examination: Examination, evidence: Evidence) -> str:
    """EX1 in a case, the image's stem in one's own log."""
    if examination.case.why != "own":
        return evidence.exhibit
    return os.path.splitext(os.path.basename(evidence.image.path))[0]


def _mount_one(examination: Examination, evidence: Evidence, item: Planned) -> Attached:
    """Attach, mount, prove, record; anything that fails leaves neither mount nor device."""
    (act,) = open_acts(examination, evidence, [item.target])
    (device,) = bind(evidence, [item.target], [act])
    with device:
        record_made(examination, evidence, [act], [device])
        try:
            mounted = _mount_device(examination, evidence, item, device, act.intent.seq)
        except ImgkitError as error:
            take_down_again(examination, evidence, [act], [device], why=error.message)
            raise
        device.hand_over()
    return Attached(
        device.attachment,
        image_document(evidence.image),
        evidence.exhibit,
        item.target.partition,
        filesystem_document(item.filesystem),
        mounted,
        counters(device.attachment.proof),
    )


def _mount_device(
    examination: Examination, evidence: Evidence, item: Planned, device: LoopDevice, line: int
) -> Mount:
    asked: Record = {
        "source": device.device,
        "diskseq": device.attachment.diskseq or 0,
        "attached_line": line,
        **path_fields(item.directory, key="target"),
        "filesystem": item.filesystem.type,
    }
    act = examination.act("evidence.mounted", asked, exhibit=evidence.exhibit)
    act.__enter__()
    try:
        mounted = mount(
            device.attachment,
            item.directory,
            filesystem=item.filesystem.type,
            identity=identity_in(os.path.dirname(item.directory)),
        )
    except BaseException as error:
        act.fail(error)
        act.write()
        raise
    act.data.update(
        path_fields(mounted.target, key="target"),
        driver=mounted.filesystem,
        options_asked=list(mounted.options_asked),
        options=list(mounted.options),
        view=mounted.view,
        journal=mounted.journal,
        created=[path_fields(path) for path in mounted.created],
        notices=list(mounted.notices),
    )
    try:
        act.write()
    except OutcomeSpooled as error:
        data = {
            "source": device.device,
            "attached_line": line,
            "why": error.message,
            **path_fields(mounted.target, key="target"),
        }
        with examination.taking_down("evidence.unmounted", data, exhibit=evidence.exhibit):
            unmount(mounted.target, source=mounted.source, created=mounted.created)
        raise
    return mounted
