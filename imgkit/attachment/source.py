"""What lies below a device: the image's own descriptor, the facts of its file or disk, taken at attach."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from imgkit.attachment.ask import loop_info
from imgkit.attachment.exposed import expose_image
from imgkit.attachment.facts import LABEL_PREFIX, Backing, Exposed, SourceFacts
from imgkit.attachment.holders import holders_of
from imgkit.errors import AttachError, Busy, SizeMismatch
from imgkit.linux import blockdev, sysblock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.expose import ExposureFacts
    from imgkit.image import Image
    from imgkit.linux.files import Identity

NO_WRITE_BLOCKER = (
    "no write blocker seen: the kernel would accept writes to the source disk from other programs"
)
ATIME_MAY_CHANGE = (
    "the access time of the image may change: it belongs to another user, so it is read without O_NOATIME"
)

NOT_GUARDED = "not guarded against writers (no lease here): verify afterwards"


def backing_of(fd: int, path: str) -> Backing:
    """The facts of an open file or block device."""
    facts = os.fstat(fd)
    block = stat.S_ISBLK(facts.st_mode)
    return Backing(
        path=path,
        dev=facts.st_dev,
        ino=facts.st_ino,
        size=blockdev.blkgetsize64(fd) if block else facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        ctime_ns=facts.st_ctime_ns,
        kind="block" if block else "file",
        rdev=facts.st_rdev if block else 0,
        links=facts.st_nlink,
    )


@dataclass(frozen=True, slots=True)
class OpenSource:
    """What is to lie below devices.

    Attributes:
        fd: Of the image's own file or disk, or of the file that serves the image.
        exposure: What serves it, or None.
    """

    fd: int
    exposure: ExposureFacts | None = None

    @property
    def exposed(self) -> Exposed | None:
        """As an attachment has it."""
        served = self.exposure
        return None if served is None else Exposed(served.name, served.pid, answers=True)


@contextlib.contextmanager
def open_source(image: Image, *, label: str, identity: Identity | None = None) -> Iterator[OpenSource]:
    """Yield what to put below loop devices: of a file the image's own, so that what was verified is attached.

    A block device is opened once more with O_EXCL, which keeps it from being mounted as long as the loop device is bound.
    Whatever else the media is stored in is served as a file by a process of its own, one for all devices of a call: it
    ends with the last of them.

    Args:
        image: An opened image.
        label: lo_file_name of the first device; the served file is called after it.
        identity: With whose rights the files of the image are opened once more; None: our own.

    Raises:
        AttachError: The media is neither file nor block device, or it changed size since it was opened.
        Busy: Somebody holds the block device, or has a file of the image open for writing.
        HostError: This host lacks what serves it.
        ImageError: The image cannot be opened once more.
    """
    fd = image.backing_fileno()
    if fd is None:
        with expose_image(image, label, identity) as exposure:
            _check_size(exposure.fileno(), image)
            yield OpenSource(exposure.fileno(), exposure.facts)
    else:
        with _open_plain(image, fd) as plain:
            yield OpenSource(plain)


class SharedSource:
    """open_source for several calls of attach_all: what serves the image is started at the first, and shared.

    A context manager; it may be left as soon as devices hold what lies below them.
    """

    def __init__(self, image: Image, *, identity: Identity | None = None) -> None:
        self._image = image
        self._identity = identity
        self._opened: OpenSource | None = None
        self._stack = contextlib.ExitStack()

    @contextlib.contextmanager
    def opened(self, label: str) -> Iterator[OpenSource]:
        """As open_source; the first label counts."""
        if self._opened is None:
            source = open_source(self._image, label=label, identity=self._identity)
            self._opened = self._stack.enter_context(source)
        yield self._opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened = None
        self._stack.close()


def check_source(image: Image) -> None:
    """Refuse what open_source would refuse, without starting anything.

    Raises:
        AttachError, Busy: As open_source.
    """
    fd = image.backing_fileno()
    if fd is not None:
        with _open_plain(image, fd):
            return


@contextlib.contextmanager
def _open_plain(image: Image, fd: int) -> Iterator[int]:
    """The image's own file, or its block device once more."""
    facts = os.fstat(fd)
    if stat.S_ISBLK(facts.st_mode):
        exclusive = _open_exclusive(fd, image.path)
        try:
            _check_size(exclusive, image)
            yield exclusive
        finally:
            os.close(exclusive)
    elif stat.S_ISREG(facts.st_mode):
        _check_size(fd, image)
        yield fd
    else:
        raise AttachError(f"cannot attach {image.path}: it is neither a file nor a block device")


def _check_size(fd: int, image: Image) -> None:
    now = backing_of(fd, image.path).size
    if now != image.size:
        raise SizeMismatch(
            f"cannot attach {image.path}: it had {image.size} bytes when it was opened and has {now} now"
        )


def _open_exclusive(fd: int, path: str) -> int:
    """The same device once more (through /proc/self/fd: its name may mean another one by now)."""
    flags, again = os.O_RDONLY | os.O_CLOEXEC, f"/proc/self/fd/{fd}"
    try:
        return os.open(again, flags | os.O_EXCL)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise AttachError(f"cannot open {path} for itself alone: {error.strerror}") from error
    rdev = os.fstat(fd).st_rdev
    if not loops_of_ours_on(rdev):
        who = "; ".join(str(holder) for holder in holders_of(again) if holder.pid != os.getpid())
        raise Busy(
            f"cannot attach {path}: it is in use ({who or 'by the kernel: swap, or another exclusive opener'})",
            hint="unmount it, or stop what holds it; a disk that is in use changes under the examination",
        )
    return os.open(again, flags)


def loops_of_ours_on(rdev: int) -> list[str]:
    """The loop devices that imgkit bound to a block device: the only exclusive holders it shares one with."""
    found = []
    for number in sysblock.bound_loops():
        device = f"/dev/loop{number}"
        try:
            fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            info = loop_info(fd, number)
        except OSError:
            continue
        finally:
            os.close(fd)
        if info is None:
            continue  # it lies on a file server
        if info.lo_rdevice == rdev and info.lo_file_name.startswith(LABEL_PREFIX.encode()):
            found.append(device)
    return found


def source_facts(fd: int) -> SourceFacts | None:
    """What identifies the block device behind a descriptor, and its own write counters; None for a file."""
    facts = os.fstat(fd)
    if not stat.S_ISBLK(facts.st_mode):
        return None
    folder = sysblock.folder_of(facts.st_rdev)
    name = os.path.basename(folder or "")
    disk = _disk_of(folder)
    below = name if disk == folder else f"{os.path.basename(disk)}/{name}"  # a partition counts for itself
    counters = sysblock.read_counters(below) or sysblock.Counters(0, 0)
    return SourceFacts(
        name=name,
        size=blockdev.blkgetsize64(fd),
        sector_size=blockdev.blksszget(fd),
        read_only=blockdev.blkroget(fd),
        diskseq=diskseq_of(fd),
        serial=_first(disk, "serial", "device/serial", "device/vpd_pg80")
        or _udev(facts.st_rdev, "ID_SERIAL_SHORT"),
        wwn=_first(disk, "wwid", "device/wwid") or _udev(facts.st_rdev, "ID_WWN"),
        model=_first(disk, "device/model", "device/name") or _udev(facts.st_rdev, "ID_MODEL"),
        sectors_written=counters.sectors_written,
        sectors_discarded=counters.sectors_discarded,
    )


def diskseq_of(fd: int) -> int | None:
    """BLKGETDISKSEQ, or None on a kernel without it (before 5.15)."""
    try:
        return blockdev.blkgetdiskseq(fd)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return None
        raise


def _disk_of(folder: str | None) -> str:
    """The sysfs folder that has the device's own words: of a partition the disk's."""
    if folder is None:
        return ""
    return os.path.dirname(folder) if os.path.exists(f"{folder}/partition") else folder


def _first(folder: str, *attributes: str) -> str | None:
    for attribute in attributes:
        try:
            with open(f"{folder}/{attribute}", "rb") as file:
                raw = file.read(4096)
        except OSError:
            continue  # each kind of disk has its own
        text = bytes(byte for byte in raw if 0x20 <= byte < 0x7F).decode().strip()  # noqa: PLR2004 - printable ASCII
        if text:
            return text
    return None


def _udev(rdev: int, key: str) -> str | None:
    """What udev asked the device itself (USB bridges hide the serial from the kernel)."""
    try:
        with open(
            f"/run/udev/data/b{os.major(rdev)}:{os.minor(rdev)}", encoding="utf-8", errors="replace"
        ) as file:
            for line in file:
                name, _, value = line.removeprefix("E:").rstrip("\n").partition("=")
                if line.startswith("E:") and name == key:
                    return value
    except FileNotFoundError:
        return None
    return None
