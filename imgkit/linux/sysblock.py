"""/sys/block: what the kernel shows of a disk without opening it. An attribute or disk that is not there is None."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

SYS_BLOCK = "/sys/block"
_WENT_AWAY = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Counters:
    """Of /sys/block/*/stat (Documentation/block/stat.rst), in units of 512 bytes since the disk was made.

    Attributes:
        sectors_written: Field 7.
        sectors_discarded: Field 14, since 4.19.
    """

    sectors_written: int
    sectors_discarded: int


def read_attribute(name: str, attribute: str) -> bytes | None:
    """One sysfs file of a disk without its closing newline."""
    try:
        fd = os.open(f"{SYS_BLOCK}/{name}/{attribute}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 65536).removesuffix(b"\n")
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _WENT_AWAY:
            return None
        raise


def read_number(name: str, attribute: str) -> int | None:
    """A sysfs file that holds one number."""
    raw = read_attribute(name, attribute)
    return int(raw) if raw else None


def read_counters(name: str) -> Counters | None:
    """What was written to the disk since it was made."""
    raw = read_attribute(name, "stat")
    if raw is None:
        return None
    fields = raw.split()
    return Counters(int(fields[6]), int(fields[13]))


def device_number(name: str) -> int | None:
    """The disk's dev_t, from sysfs: right also where its node is missing."""
    raw = read_attribute(name, "dev")
    if raw is None:
        return None
    major, minor = raw.split(b":")
    return os.makedev(int(major), int(minor))


def folder_of(rdev: int) -> str | None:
    """The sysfs folder of a disk or partition, below SYS_BLOCK where it is a disk, resolved; None where none has it."""
    link = f"/sys/dev/block/{os.major(rdev)}:{os.minor(rdev)}"
    path = os.path.realpath(link)
    return path if os.path.isdir(path) and path != link else None


def partitions_of(name: str) -> list[str]:
    """Names of the disk's partitions as the kernel has them now."""
    with os.scandir(f"{SYS_BLOCK}/{name}") as entries:
        return sorted(entry.name for entry in entries if entry.name.startswith(name + "p"))


def holders_of(name: str) -> list[str]:
    """Names of the disks that are built on this one (device-mapper, md)."""
    try:
        return sorted(os.listdir(f"{SYS_BLOCK}/{name}/holders"))
    except FileNotFoundError:
        return []


def loop_is_bound(number: int) -> bool:
    """Whether the loop device has a backing file at this moment."""
    return os.path.isdir(f"{SYS_BLOCK}/loop{number}/loop")


def bound_loops() -> list[int]:
    """Numbers of the loop devices that have a backing file, ascending."""
    try:
        names = os.listdir(SYS_BLOCK)
    except FileNotFoundError:
        return []
    numbers = (int(name[4:]) for name in names if name.startswith("loop") and name[4:].isdigit())
    return sorted(number for number in numbers if loop_is_bound(number))
