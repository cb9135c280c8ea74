"""attach: intents, devices, proofs, outcomes, and only then devices that stay; all or none."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.attachment import LoopDevice, attach_all, check_extent, keep_all, signals_held
from imgkit.attachment.bind import need_privilege
from imgkit.attachment.source import open_source
from imgkit.doctor import udev_rule_present, udevd_running
from imgkit.errors import AttachError, ImgkitError, OutcomeSpooled, UsageError
from imgkit.examination.attached import Attached, attachment_facts, counters
from imgkit.examination.evidence import file_facts, files_record, image_document
from imgkit.filesystems.signatures import identify
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from imgkit.examination import Evidence, Examination
    from imgkit.examination.acts import Act

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to become a device.

    Attributes:
        extent: Bytes of the media; None is the whole media.
        partition: Number of the partition, or None.
    """

    extent: Extent | None
    partition: int | None = None


def targets_of(
    evidence: Evidence,
    *,
    partitions: Sequence[int] = (),
    offset: int | None = None,
    length: int | None = None,
) -> list[Target]:
    """What `-p`, `--offset` and `--length` ask for; the whole media without any.

    Raises:
        UsageError: They contradict each other, or only one of offset and length is given.
        PartitionError: No such partition, or it runs past the end.
        AttachError: The kernel would show something else than was asked for.
    """
    size = evidence.image.size
    if partitions and (offset is not None or length is not None):
        raise UsageError("a partition has its own offset and length: use -p, or --offset and --length")
    if (offset is None) != (length is None):
        raise UsageError("an extent needs both --offset and --length, in bytes")
    if partitions:
        targets = [Target(item.extent, item.number) for item in evidence.partitions(partitions)]
    elif offset is not None and length is not None:
        targets = [Target(Extent(offset, length))]
    else:
        targets = [Target(None)]
    for target in targets:
        check_extent(target.extent, size, block_size=block_size_of(evidence, target))
    return targets


def block_size_of(evidence: Evidence, target: Target) -> int:
    """512 for a partition or extent (4096 breaks ext4 with 1k blocks); the table's sector size for the whole media."""
    if target.extent is not None:
        return 512
    size = evidence.image.sector_size or evidence.table.sector_size
    return size if evidence.image.size >= size else 512


@contextmanager
def attached_image(
    examination: Examination, evidence: Evidence, targets: Sequence[Target]
) -> Iterator[list[Attached]]:
    """Attach each target as a device that stays until it is detached; all or none.

    A signal or an error inside the block (the result could not be shown) takes them down again, recorded.

    Raises:
        NotPermitted, AttachError, HostError: Nothing is left attached; the outcomes say `failed`.
        OutcomeSpooled: The outcome could not be recorded: everything was taken down again.
    """
    check_attachable(evidence)
    for target in targets:
        if (text := quarantine_notice(evidence, target)) is not None:
            examination.notify(text)
    image = image_document(evidence.image)
    with ExitStack() as undo:
        with signals_held():
            acts = open_acts(examination, evidence, targets)
            devices = bind(evidence, targets, acts)
            with ExitStack() as closing:
                for device in devices:
                    closing.callback(device.close)
                record_made(examination, evidence, acts, devices)
                _keep(examination, evidence, acts, devices)
                undo.push(_Undo(examination, evidence, acts, devices).__exit__)
        yield [
            Attached(
                device.attachment,
                image,
                evidence.exhibit,
                target.partition,
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


def quarantine_notice(evidence: Evidence, target: Target) -> str | None:
    """What this host may do by itself with what is about to be attached, or None where nothing keeps watch or acts."""
    if not udevd_running() or udev_rule_present() is not None:
        return None
    found = identify(evidence.image, target.extent or Extent(0, evidence.image.size))
    if found is None or found.type not in _TAKEN_UP:
        return None
    return f"udevd runs here without imgkit's rule: {_TAKEN_UP[found.type]} (imgkit doctor --print-udev-rule)"


def check_attachable(evidence: Evidence) -> None:
    """Refuse before any intent what the kernel or we would refuse after it.

    Raises:
        NotPermitted, AttachError, Busy: As attachment.attach.
    """
    with open_source(evidence.image):
        need_privilege(f"attach {evidence.image.path}")


def open_acts(examination: Examination, evidence: Evidence, targets: Sequence[Target]) -> list[Act]:
    """Write the intents of all targets before anything is done."""
    acts: list[Act] = []
    try:
        for target in targets:
            extent = target.extent or Extent(0, evidence.image.size)
            asked: Record = {
                "offset": extent.offset,
                "length": extent.length,
                "block_size": block_size_of(evidence, target),
                "read_only": True,
                **files_record(file_facts(evidence.image)),
            }
            if target.partition is not None:
                asked["partition"] = target.partition
            act = examination.act("evidence.attached", asked, exhibit=evidence.exhibit)
            act.__enter__()
            acts.append(act)
    except BaseException as error:
        close_failed(acts, error)  # a later intent was refused: nothing was done, and the earlier ones say so
        raise
    return acts


def bind(evidence: Evidence, targets: Sequence[Target], acts: Sequence[Act]) -> list[LoopDevice]:
    """Bind and prove a device for each target; on any failure none is left and every outcome says so."""
    try:
        return attach_all(
            evidence.image,
            [target.extent for target in targets],
            labels=[f"imgkit:{act.intent.log}:{act.intent.seq}" for act in acts],
            block_size=block_size_of(evidence, targets[0]),
        )
    except BaseException as error:
        close_failed(acts, error)
        raise


def close_failed(acts: Sequence[Act], error: BaseException) -> None:
    """Write the outcome of acts that did not come to be; what only the spool has is imported by a later run."""
    for act in acts:
        act.fail(error)
        try:
            act.write()
        except OutcomeSpooled as spooled:
            error.add_note(spooled.message)


def record_made(
    examination: Examination, evidence: Evidence, acts: Sequence[Act], devices: Sequence[LoopDevice]
) -> None:
    """Write every outcome, durable.

    Raises:
        OutcomeSpooled: One is only in the spool: all were tried, and every device was taken down and is recorded so.
    """
    missed: OutcomeSpooled | None = None
    for act, device in zip(acts, devices, strict=True):
        act.data.update(attachment_facts(device.attachment))
        try:
            act.write()
        except OutcomeSpooled as spooled:
            missed = spooled
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
            "why": why,
        }
        try:
            with examination.taking_down("evidence.detached", data, exhibit=evidence.exhibit) as down:
                result = device.detach()
                down.data.update(gone_before=result.gone_before, details=list(result.changes.details))
        except ImgkitError as error:
            examination.notify(f"{device.device} is still attached: {error.message}")
        else:
            examination.notify(f"{device.device} was taken down again: {why}")
