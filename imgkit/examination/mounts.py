"""mount: attach, mount read-only, prove; the mount itself then holds the device, and unmounting frees it."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.attachment import SharedSource, signals_held
from imgkit.custody.record import path_fields
from imgkit.errors import CustodyError, ImgkitError
from imgkit.examination.acts import closing_failed
from imgkit.examination.attached import Attached, counters, mount_facts
from imgkit.examination.attaching import bind, open_acts, record_made, take_down_again
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import image_document
from imgkit.examination.inspecting import filesystem_document
from imgkit.examination.places import folder_below_run
from imgkit.examination.planning import Skipped, is_alone, plan_mount
from imgkit.mounting import mount, unmount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from imgkit.attachment import LoopDevice
    from imgkit.examination import Evidence, Examination
    from imgkit.examination.planning import Mountable
    from imgkit.mounting import Mount

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be mounted, and where it is to be seen."""

    item: Mountable
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
    found, skipped = plan_mount(examination, evidence, partitions, directory)
    mounted: list[Attached] = []
    with ExitStack() as undo:
        if directory is not None:
            alone = is_alone(evidence, partitions)
            planned = [
                Planned(item, item.directory(os.path.abspath(directory), alone=alone)) for item in found
            ]
        else:
            planned = undo.enter_context(_planned_below_run(examination, evidence, found))
        undo.push(_Undo(examination, mounted).__exit__)
        below = undo.enter_context(SharedSource(evidence.image, identity=evidence.identity))
        for one in planned:
            try:
                with signals_held():
                    mounted.append(_mount_one(examination, evidence, one, below))
            except CustodyError:
                raise
            except ImgkitError as error:
                skipped.append(Skipped(one.item.target.partition, error.message, error.hint, empty=False))
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


@contextmanager
def _planned_below_run(
    examination: Examination, evidence: Evidence, found: Sequence[Mountable]
) -> Iterator[list[Planned]]:
    """Directories below /run/imgkit; those that nothing was mounted on are taken away at the end."""
    if not found:
        yield []
        return
    name, log = _name(examination, evidence), examination.log.uuid
    with folder_below_run(name, [item.part for item in found], evidence.image, log) as base:
        yield [Planned(item, item.directory(base, alone=False)) for item in found]


def _name(examination: Examination, evidence: Evidence) -> str:
    """EX1 in a case, the image's stem in one's own log."""
    if examination.case.why != "own":
        return evidence.exhibit
    return os.path.splitext(os.path.basename(evidence.image.path))[0]


def _mount_one(examination: Examination, evidence: Evidence, one: Planned, below: SharedSource) -> Attached:
    """Attach, mount, prove, record; anything that fails leaves neither mount nor device."""
    target = replace(one.item.target, filesystem=one.item.filesystem)
    (act,) = open_acts(examination, evidence, [target])
    (device,) = bind(evidence, [target], [act], below)
    with device:
        record_made(examination, evidence, [target], [act], [device])
        try:
            mounted = _mount_device(examination, evidence, one, device, act.intent.seq)
        except ImgkitError as error:
            take_down_again(examination, evidence, [act], [device], why=error.message)
            raise
        device.hand_over()
    return Attached(
        device.attachment,
        image_document(evidence.image),
        evidence.exhibit,
        target.partition,
        filesystem_document(target.filesystem),
        mounted,
        counters(device.attachment.proof),
    )


def _mount_device(
    examination: Examination, evidence: Evidence, one: Planned, device: LoopDevice, line: int
) -> Mount:
    kind = one.item.filesystem.type
    source: Record = {
        "source": device.device,
        "diskseq": device.attachment.diskseq or 0,
        "attached_line": line,
        "filesystem": kind,
    }
    asked = {**source, **path_fields(one.directory, key="target")}
    act = examination.act("evidence.mounted", asked, exhibit=evidence.exhibit)
    act.__enter__()
    with closing_failed([act]):
        mounted = mount(
            device.attachment,
            one.directory,
            filesystem=kind,
            identity=identity_in(os.path.dirname(one.directory)),
        )
    act.data.update(
        mount_facts(mounted),
        options_asked=list(mounted.options_asked),
        created=[path_fields(path) for path in mounted.created],
        notices=list(mounted.notices),
    )
    try:
        act.write()
    except CustodyError as error:  # only the spool has it, or nothing
        data = {**source, **mount_facts(mounted), "why": error.message}
        with examination.taking_down("evidence.unmounted", data, exhibit=evidence.exhibit):
            unmount(mounted.target, source=mounted.source, created=mounted.created)
        raise
    return mounted
