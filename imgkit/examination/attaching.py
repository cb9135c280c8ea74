"""attach: intents, devices, proofs, outcomes, and only then devices that stay; all or none."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imgkit.attachment import LoopDevice, SharedSource, attach_all, keep_all, signals_held
from imgkit.doctor import udev_rule_present, udevd_running
from imgkit.errors import AttachError, CustodyError, ImgkitError
from imgkit.examination.acts import closing_failed
from imgkit.examination.attached import Attached, attachment_facts, counters, detached_facts
from imgkit.examination.evidence import image_asked, image_document
from imgkit.examination.inspecting import filesystem_document
from imgkit.examination.planning import block_size_of, held_by
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from imgkit.examination import Evidence, Examination
    from imgkit.examination.acts import Act
    from imgkit.examination.planning import Target
    from imgkit.filesystems.signatures import Filesystem

Record = dict[str, Any]


@contextmanager
def attached_image(
    examination: Examination, evidence: Evidence, targets: Sequence[Target]
) -> Iterator[list[Attached]]:
    """Attach each target as a device that stays until it is detached; all or none.

    A signal or an error inside the block (the result could not be shown) takes them down again, recorded.

    Raises:
        NotPermitted, AttachError, HostError: Nothing is left attached; the outcomes say `failed`.
        CustodyError: An intent or outcome could not be recorded: everything was taken down again.
    """
    image = image_document(evidence.image)
    with ExitStack() as undo:
        with signals_held():
            acts = open_acts(examination, evidence, targets)
            targets = _identified(examination, evidence, targets, acts)
            with SharedSource(evidence.image, identity=evidence.identity) as below:
                devices = bind(evidence, targets, acts, below)
            with ExitStack() as closing:
                for device in devices:
                    closing.callback(device.close)
                record_made(examination, evidence, targets, acts, devices)
                _keep(examination, evidence, acts, devices)
                undo.push(_Undo(examination, evidence, acts, devices).__exit__)
        yield [
            Attached(
                device.attachment,
                image,
                evidence.exhibit,
                target.partition,
                filesystem_document(target.filesystem),
                counted=counters(device.attachment.proof),
            )
            for device, target in zip(devices, targets, strict=True)
        ]


class _Undo:
    """The exit of a block whose devices stay only if nothing was raised in it."""

    def __init__(
        self, examination: Examination, evidence: Evidence, acts: Sequence[Act], devices: Sequence[LoopDevice]
    ) -> None:
        self._all = (examination, evidence, acts, devices)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        with signals_held():
            take_down_again(*self._all, why=f"{type(error).__name__} before the result was shown")


_TAKEN_UP = {
    "LVM2_member": "LVM may activate its volumes",
    "linux_raid_member": "md may assemble its array",
    "btrfs": "btrfs may take it for a member of a file system of the host",
}


def quarantine_notice(found: Filesystem | None) -> str | None:
    """What this host may do by itself with what is about to be attached, or None where nothing keeps watch or acts."""
    if found is None or found.type not in _TAKEN_UP:
        return None
    if not udevd_running() or udev_rule_present() is not None:
        return None
    return f"udevd runs here without imgkit's rule: {_TAKEN_UP[found.type]} (imgkit doctor --print-udev-rule)"


def _identified(
    examination: Examination, evidence: Evidence, targets: Sequence[Target], acts: Sequence[Act]
) -> list[Target]:
    """The targets with what they hold, read after their intents; the examiner is told what the host may do with it."""
    with closing_failed(acts):
        found = [replace(target, filesystem=held_by(evidence, target)) for target in targets]
        for target in found:
            if (text := quarantine_notice(target.filesystem)) is not None:
                examination.notify(text)
    return found


def open_acts(examination: Examination, evidence: Evidence, targets: Sequence[Target]) -> list[Act]:
    """Write the intents of all targets before anything is done."""
    acts: list[Act] = []
    with closing_failed(acts):  # a later intent may be refused: nothing was done, and the earlier ones say so
        for target in targets:
            extent = target.extent or Extent(0, evidence.image.size)
            asked: Record = {
                "offset": extent.offset,
                "length": extent.length,
                "block_size": block_size_of(evidence, target),
                "read_only": True,
                **image_asked(evidence.image),
            }
            if target.partition is not None:
                asked["partition"] = target.partition
            act = examination.act("evidence.attached", asked, exhibit=evidence.exhibit)
            act.__enter__()
            acts.append(act)
    return acts


def bind(
    evidence: Evidence, targets: Sequence[Target], acts: Sequence[Act], below: SharedSource
) -> list[LoopDevice]:
    """Bind and prove a device for each target; on any failure none is left and every outcome says so."""
    with closing_failed(acts):
        return attach_all(
            evidence.image,
            [target.extent for target in targets],
            labels=[f"imgkit:{act.intent.log}:{act.intent.seq}" for act in acts],
            block_size=block_size_of(evidence, targets[0]),
            sharing=below,
        )


def record_made(
    examination: Examination,
    evidence: Evidence,
    targets: Sequence[Target],
    acts: Sequence[Act],
    devices: Sequence[LoopDevice],
) -> None:
    """Write every outcome, durable.

    Raises:
        CustodyError: One is only in the spool (OutcomeSpooled) or nowhere: all were tried, and every device is down.
    """
    missed: CustodyError | None = None
    for target, act, device in zip(targets, acts, devices, strict=True):
        found = filesystem_document(target.filesystem)
        act.data.update(attachment_facts(device.attachment), filesystem=found)
        try:
            act.write()
        except CustodyError as error:
            missed = error
    if missed is not None:
        take_down_again(examination, evidence, acts, devices, why=missed.message)
        raise missed


def _keep(
    examination: Examination, evidence: Evidence, acts: Sequence[Act], devices: Sequence[LoopDevice]
) -> None:
    """Make the recorded devices stay; if one does not, all are down and the log says so."""
    try:
        keep_all(devices)
    except AttachError as error:
        take_down_again(examination, evidence, acts, devices, why=error.message)
        raise


def take_down_again(
    examination: Examination,
    evidence: Evidence,
    acts: Sequence[Act],
    devices: Sequence[LoopDevice],
    *,
    why: str,
) -> None:
    """Take down what was recorded as attached, and record that; one that stays is named, and keeps none of the others."""
    for act, device in zip(acts, devices, strict=True):
        data: Record = {
            "device": device.device,
            "diskseq": device.attachment.diskseq or 0,
            "attached_line": act.intent.seq,
            "label": device.attachment.label,
            "why": why,
        }
        try:
            with examination.taking_down("evidence.detached", data, exhibit=evidence.exhibit) as down:
                result = device.detach()
                down.data.update(detached_facts(result, compared=True))
        except ImgkitError as error:
            examination.notify(f"{device.device} is still attached: {error.message}")
            continue
        examination.notify(f"{device.device} was taken down again: {why}")
        if down.unrecorded is not None:
            examination.notify(f"{device.device}: RECORDED NOWHERE: {down.unrecorded}; write it down by hand")
