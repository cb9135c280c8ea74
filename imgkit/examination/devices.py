"""A block device as evidence: what it says of itself, whether that is another device's word, and who else is at it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from imgkit.custody.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgkit.attachment import SourceFacts
    from imgkit.image import Image

Record = dict[str, Any]

_SECTOR = 512  # the unit of `start` in sysfs
_OWN_WORDS = ("serial", "wwn")
# What a device keeps while it is only read; read_only may be switched without a byte being written.
_KEPT = ("size", "start", "diskseq", "serial", "wwn", "model", "sectors_written", "sectors_discarded")


def device_of(image: Image) -> int | None:
    """The descriptor of the block device that is the media, or None."""
    fd = image.backing_fileno()
    return fd if fd is not None and stat.S_ISBLK(os.fstat(fd).st_mode) else None


def source_document(source: SourceFacts) -> Record:
    """What identifies a block device, and whether a write blocker was seen; what the device does not say is left out."""
    facts: Record = {
        "name": source.name,
        "size": source.size,
        "sector_size": source.sector_size,
        "read_only": source.read_only,
        "sectors_written": source.sectors_written,
        "sectors_discarded": source.sectors_discarded,
    }
    optional = {"diskseq": source.diskseq, "serial": source.serial, "wwn": source.wwn, "model": source.model}
    return facts | {key: value for key, value in optional.items() if value is not None}


def device_facts(fd: int) -> Record:
    """`source` of a file in a record: source_document of the device at this moment, the boot, and where a partition starts."""
    from imgkit.attachment import source_facts

    source = source_facts(fd)
    if source is None:
        return {}
    facts = {**source_document(source), "boot_id": boot_id()}
    start = _start_of(os.fstat(fd).st_rdev)
    return facts if start is None else {**facts, "start": start}


def _start_of(rdev: int) -> int | None:
    """Byte of the disk at which a partition's device starts, None for a whole disk."""
    try:
        with open(f"/sys/dev/block/{os.major(rdev)}:{os.minor(rdev)}/start", "rb") as file:
            return int(file.read()) * _SECTOR
    except FileNotFoundError:
        return None


def is_same_device(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `source` are of one device: by what it says of itself, else by its number in one and the same boot."""
    if any(one.get(key) != other.get(key) for key in ("size", "start")):
        return False
    if said := [key for key in _OWN_WORDS if key in one and key in other]:
        return all(one[key] == other[key] for key in said)
    numbers = [(facts.get("diskseq"), facts.get("boot_id")) for facts in (one, other)]
    return None not in numbers[0] and numbers[0] == numbers[1]


def device_changes(path: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How a device differs from what it was before it was read, one sentence each."""
    return [
        f"{path}: {key} {then.get(key)} before the read, {now.get(key)} after it"
        for key in _KEPT
        if then.get(key) != now.get(key)
    ]


def device_notices(image: Image) -> Iterator[str]:
    """What the examiner should know before a block device is read: no write blocker, somebody else at it."""
    fd = device_of(image)
    if fd is None:
        return
    from imgkit.attachment.source import NO_WRITE_BLOCKER, loops_of_ours_on
    from imgkit.linux.blockdev import blkroget

    if not blkroget(fd):
        yield f"{image.path}: {NO_WRITE_BLOCKER}"
    if _is_free(fd) or loops_of_ours_on(os.fstat(fd).st_rdev):
        return
    who = "; ".join(_holders(fd)) or "by the kernel: swap, or another exclusive opener"
    yield f"{image.path} is in use and may change while it is read: {who}"


def _is_free(fd: int) -> bool:
    """Whether nobody holds the device for itself; through /proc, for its name may mean another one by now."""
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_EXCL))
    except OSError as error:
        return error.errno != errno.EBUSY  # any other answer says nothing of holders
    return True


def _holders(fd: int) -> list[str]:
    """Who holds the disk or one of its partitions, as far as this process may see."""
    from imgkit.attachment.holders import holders_of
    from imgkit.linux.sysblock import folder_of

    rdev = os.fstat(fd).st_rdev
    folder = folder_of(rdev) or ""
    parts = sorted(name for name in _names_in(folder) if os.path.exists(f"{folder}/{name}/partition"))
    found = []
    for device in (f"/proc/self/fd/{fd}", *(f"/dev/{name}" for name in parts)):
        try:
            holders = holders_of(device)
        except OSError:
            continue  # a container's /dev has no such node
        prefix = "" if device.startswith("/proc/") else f"{device} is "
        found += [f"{prefix}{holder}" for holder in holders if holder.pid != os.getpid()]
    return found


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # sysfs is not mounted here
