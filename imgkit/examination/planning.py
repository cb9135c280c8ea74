"""What attach and mount are going to do: decided by reading the table and the signatures, which is an inspection on record."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgkit.attachment import check_extent
from imgkit.attachment.bind import need_privilege
from imgkit.attachment.source import check_source
from imgkit.custody.record import INTEGER_LIMIT
from imgkit.errors import ImgkitError, MountError, NotMountable, UsageError
from imgkit.examination.cases import identity_in
from imgkit.examination.evidence import image_record
from imgkit.examination.exposures import exposure_named_in_hint
from imgkit.examination.inspecting import table_record
from imgkit.filesystems.mount_options import FILESYSTEMS, not_filesystem
from imgkit.filesystems.signatures import identify
from imgkit.image import Extent
from imgkit.mounting import check_directory, check_driver, check_mountable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.examination import Evidence, Examination
    from imgkit.filesystems.signatures import Filesystem

Record = dict[str, Any]

MOST_MOUNTS = 128  # that one command makes unasked; a table may state 60,000 partitions
_DEVICE = "/dev/loopN"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to become a device.

    Attributes:
        extent: Bytes of the media; None is the whole media.
        partition: Number of the partition, or None.
        filesystem: What was recognised there; None where nothing was, or nobody looked yet.
    """

    extent: Extent | None
    partition: int | None = None
    filesystem: Filesystem | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A partition that is not mounted, and why.

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
class Mountable:
    """A target whose file system this kernel can mount."""

    target: Target
    filesystem: Filesystem

    @property
    def part(self) -> str:
        """The name of its directory beside others."""
        return f"p{self.target.partition or 0}"

    def directory(self, base: str, *, alone: bool) -> str:
        """DIR itself for one partition, or media without a table; else DIR/pN."""
        return base if alone else os.path.join(base, self.part)


def check_attachable(evidence: Evidence) -> None:
    """Refuse before any intent what the kernel or we would refuse after it.

    Raises:
        NotPermitted, AttachError, Busy: As attachment.attach.
    """
    check_source(evidence.image)
    need_privilege(f"attach {evidence.image.path}")


def check_asked(partitions: Sequence[int], offset: int | None, length: int | None) -> None:
    """Refuse options that contradict each other; no image is needed for that.

    Raises:
        UsageError: As said.
    """
    if partitions and (offset is not None or length is not None):
        raise UsageError("a partition has its own offset and length: use -p, or --offset and --length")
    if (offset is None) != (length is None):
        raise UsageError("an extent needs both --offset and --length, in bytes")


def plan_attach(
    examination: Examination,
    evidence: Evidence,
    *,
    partitions: Sequence[int] = (),
    offset: int | None = None,
    length: int | None = None,
) -> list[Target]:
    """What `-p`, `--offset` and `--length` ask for; the whole media without any.

    An extent is checked by its numbers alone, and recorded here only where it is refused.

    Raises:
        UsageError: They contradict each other, or only one of offset and length is given.
        PartitionError: No such partition, or it runs past the end.
        AttachError: The kernel would show something else than was asked for.
    """
    check_asked(partitions, offset, length)
    files = image_record(evidence.image)
    if offset is None or length is None:
        asked = {"what": "attach", "asked": _numbers(partitions), **files}
        with examination.act("evidence.inspected", asked, exhibit=evidence.exhibit) as act:
            check_attachable(evidence)
            act.data.update(table_record(evidence.table))
            return targets_of(evidence, partitions)
    target = Target(Extent(offset, length))
    try:
        check_attachable(evidence)
        _check(evidence, target)
    except ImgkitError:
        start, size = _numbers((offset, length))
        asked = {"offset": start, "length": size, "read_only": True, **files}
        with examination.act("evidence.attached", asked, exhibit=evidence.exhibit):
            raise
    return [target]


def targets_of(evidence: Evidence, numbers: Sequence[int]) -> list[Target]:
    """The partitions with these numbers; the whole media without any.

    Raises:
        PartitionError: No such partition, or it runs past the end.
        AttachError: The kernel would show something else than was asked for.
    """
    targets = [Target(item.extent, item.number) for item in evidence.partitions(numbers)] or [Target(None)]
    for target in targets:
        _check(evidence, target)
    return targets


def _numbers(typed: Sequence[int]) -> list[int | str]:
    """For a record, which holds no integer above 2^53-1; a user may type any."""
    return [number if abs(number) <= INTEGER_LIMIT else str(number) for number in typed]


def _check(evidence: Evidence, target: Target) -> None:
    check_extent(target.extent, evidence.image.size, block_size=block_size_of(evidence, target))


def block_size_of(evidence: Evidence, target: Target) -> int:
    """512 for a partition or extent (4096 breaks ext4 with 1k blocks); the table's sector size for the whole media."""
    if target.extent is not None:
        return 512
    size = evidence.image.sector_size or evidence.table.sector_size
    return size if evidence.image.size >= size else 512


def held_by(evidence: Evidence, target: Target) -> Filesystem | None:
    """What a target holds."""
    return identify(evidence.image, target.extent or Extent(0, evidence.image.size))


# -- mount -----------------------------------------------------------------------------------------


def plan_mount(
    examination: Examination, evidence: Evidence, numbers: Sequence[int], directory: str | None
) -> tuple[list[Mountable], list[Skipped]]:
    """What can be mounted of the partitions asked for (without any: of the image), and why the rest is left out.

    Whatever can be found out before a device is bound is found out here: type, driver, directory.

    Raises:
        NotPermitted, AttachError: Nothing can be mounted by us, or from this image.
        PartitionError: A partition that was asked for does not exist.
        MountError: The image has more partitions than are mounted unasked.
    """
    asked = {"what": "mount", "asked": _numbers(numbers), **image_record(evidence.image)}
    with examination.act("evidence.inspected", asked, exhibit=evidence.exhibit) as act:
        check_attachable(evidence)
        targets, skipped = _mount_targets(evidence, numbers)
        found = []
        held = {target: held_by(evidence, target) for target in targets}
        for target, filesystem in held.items():
            why = _why_not(evidence, target, filesystem)
            if why is None and filesystem is not None:
                found.append(Mountable(target, filesystem))
            elif why is not None:
                skipped.append(why)
        if directory is not None:
            found = _with_directory(found, skipped, directory, alone=is_alone(evidence, numbers))
        left = [{"partition": item.partition, "reason": item.reason} for item in skipped]
        numbered = {target.partition: item for target, item in held.items() if target.partition is not None}
        act.data.update(table_record(evidence.table, numbered, held.get(Target(None))), skipped=left)
    return found, skipped


def is_alone(evidence: Evidence, numbers: Sequence[int]) -> bool:
    """Whether one file system is asked for, so that DIR itself shows it."""
    return len(set(numbers)) == 1 or not (numbers or evidence.table.partitions)


def _mount_targets(evidence: Evidence, numbers: Sequence[int]) -> tuple[list[Target], list[Skipped]]:
    """Every partition, or those asked for; the whole media where there is no table."""
    if numbers or not evidence.table.partitions:
        return targets_of(evidence, numbers), []
    count, path = len(evidence.table.partitions), evidence.image.path
    if count > MOST_MOUNTS:
        raise MountError(
            f"{path} has {count} partitions, more than the {MOST_MOUNTS} that are mounted at once unasked",
            hint=f"imgkit partitions {shlex.quote(path)} shows them; name those to mount with -p",
        )
    targets, skipped = [], []
    for partition in evidence.table.partitions:
        try:
            targets += targets_of(evidence, [partition.number])
        except ImgkitError as error:
            skipped.append(Skipped(partition.number, error.message, error.hint, empty=False))
    return targets, skipped


def _why_not(evidence: Evidence, target: Target, filesystem: Filesystem | None) -> Skipped | None:
    """Why a target is left out, or None where it can be mounted."""
    if filesystem is None:
        return Skipped(target.partition, "no file system was recognised", None, empty=True)
    try:
        check_mountable(filesystem.type, device=_DEVICE)
        check_driver(filesystem.type, device=_DEVICE)
    except NotMountable as error:
        reason = error.message.removeprefix(f"cannot mount {_DEVICE}: ")
        empty = not_filesystem(filesystem.type) is not None
        hint = _next_command(evidence, target, filesystem.type) or error.hint
        return Skipped(target.partition, reason, hint, empty=empty)
    return None


def _next_command(evidence: Evidence, target: Target, kind: str) -> str | None:
    """How to go on with LUKS, LVM and their like, or by FUSE: attach first, then the tool that knows it."""
    part = f" -p {target.partition}" if target.partition else ""
    attach = f"imgkit attach {shlex.quote(evidence.image.path)}{part}"
    other, row = not_filesystem(kind), FILESYSTEMS.get(kind)
    if other is not None and not other.is_command:
        return other.hint.format(device=f"the device that `{attach}` makes")
    command = other.hint if other is not None else row.fuse if row is not None else None
    return f"{attach}, then: {command.format(device=_DEVICE)}" if command else None


def _with_directory(
    found: Sequence[Mountable], skipped: list[Skipped], directory: str, *, alone: bool
) -> list[Mountable]:
    """Those whose directory will do; the others join `skipped`."""
    good = []
    for item in found:
        place = item.directory(os.path.abspath(directory), alone=alone)
        try:
            with exposure_named_in_hint(place):
                check_directory(place, identity=identity_in(os.path.dirname(place)))
        except ImgkitError as error:
            skipped.append(Skipped(item.target.partition, error.message, error.hint, empty=False))
        else:
            good.append(item)
    return good
