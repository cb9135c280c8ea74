"""Facts of attachments: frozen, valid once built, and without a life of their own. All offsets and lengths are bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from imgkit.image import Extent

Guard = Literal["lease", "none", "unknown"]

LABEL_PREFIX = "imgkit:"
LABEL_LIMIT = 63  # lo_file_name with its closing NUL has 64
_EXPOSED_PATH = re.compile(
    r"/imgkit-(?:(?P<log>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+|none-\d+-[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class Backing:
    """The file or block device below a loop device, as stat tells.

    Attributes:
        path: Where it was found: as opened, or as the kernel names it.
        dev: st_dev.
        ino: st_ino.
        size: Bytes (of a block device: BLKGETSIZE64).
        mtime_ns: Last change of the content, in ns since the epoch.
        ctime_ns: Last change of content or inode.
        kind: `file`, `block`, or `exposed`: a file that a process of imgkit serves; `path` is then the image as opened,
            and the times say nothing.
        rdev: st_rdev of a block device, else 0.
        links: Names the inode has; 0 once it is deleted.
    """

    path: str
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    kind: Literal["file", "block", "exposed"] = "file"
    rdev: int = 0
    links: int = 1


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What identifies a block device that serves as an image: never its name alone.

    Attributes:
        name: The kernel's name at this moment (`sdb`).
        size: Bytes, BLKGETSIZE64.
        sector_size: BLKSSZGET.
        read_only: BLKROGET; False means that no write blocker is seen.
        diskseq: BLKGETDISKSEQ, None before Linux 5.15.
        serial, wwn, model: As the device states them, None where it states none.
        sectors_written, sectors_discarded: The device's own counters, in units of 512 bytes since it was plugged in.
    """

    name: str
    size: int
    sector_size: int
    read_only: bool
    diskseq: int | None
    serial: str | None
    wwn: str | None
    model: str | None
    sectors_written: int
    sectors_discarded: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What the kernel says of a loop device when asked.

    Attributes:
        lo_flags: LOOP_GET_STATUS64 (1 is READ_ONLY, 4 AUTOCLEAR, 16 DIRECT_IO).
        blkroget: BLKROGET.
        sysfs_ro: /sys/block/loopN/ro.
        device, inode: lo_device and lo_inode: the backing file; None where the process that serves it is gone or
            silent, so that the kernel cannot say.
        offset, sizelimit: lo_offset and lo_sizelimit.
        size: BLKGETSIZE64.
        block_size: BLKSSZGET.
        diskseq: BLKGETDISKSEQ, None before Linux 5.15.
        sectors_written, sectors_discarded: /sys/block/loopN/stat since the node was made (it may have served others before).
    """

    lo_flags: int
    blkroget: bool
    sysfs_ro: bool
    device: int | None
    inode: int | None
    offset: int
    sizelimit: int
    size: int
    block_size: int
    diskseq: int | None
    sectors_written: int
    sectors_discarded: int

    @property
    def read_only(self) -> bool:
        """Whether all three places agree that nothing can be written."""
        return bool(self.lo_flags & 1) and self.blkroget and self.sysfs_ro

    @property
    def staying(self) -> bool:
        """Whether the device outlives its last close (AUTOCLEAR is not set)."""
        return not self.lo_flags & 4

    @property
    def direct_io(self) -> bool:
        """Whether the kernel reads past the page cache of the backing file system."""
        return bool(self.lo_flags & 16)


@dataclass(frozen=True, slots=True)
class Exposed:
    """The process that serves an image below a loop device.

    Attributes:
        name: Of the served file, which sysfs shows as the backing file.
        pid: Of the process; None where it is gone.
        answers: Whether the kernel got an answer through it; False where it is stopped or hangs.
    """

    name: str
    pid: int | None
    answers: bool

    @property
    def alive(self) -> bool:
        """Whether reads of the device can succeed."""
        return self.pid is not None and self.answers


@dataclass(frozen=True, slots=True)
class Attachment:
    """A loop device bound by imgkit to an extent of an image.

    Attributes:
        device: `/dev/loop3`.
        number: 3.
        diskseq: Number of this use of the device, never given twice since boot; None before Linux 5.15.
        extent: Bytes of the media that were asked for.
        block_size: Logical block of the device.
        clipped_tail: Bytes at the end of the extent that the device does not show, since they fill no block.
        read_only: Whether all of the proof's places agree; an attachment that was just made always is.
        guard: `lease`: the kernel holds later writers back; `none`: verify afterwards; `unknown`: cannot be seen from here.
        proof: What the kernel said.
        backing: The file below, at attach; in a list: as it is now.
        label: lo_file_name.
        log: UUID of the custody log whose intent made it, or None.
        seq: Line of that intent, or None; None too where the kernel cannot be asked for the label.
        source: Facts of the block device below, or None for a file.
        notices: Sentences the examiner should read.
        files: Every file of an exposed image at attach; empty of any other, and in a list.
        exposed: The process that serves the image, None where the image's own file lies below.
    """

    device: str
    number: int
    diskseq: int | None
    extent: Extent
    block_size: int
    clipped_tail: int
    read_only: bool
    guard: Guard
    proof: Proof
    backing: Backing
    label: str
    log: str | None = None
    seq: int | None = None
    source: SourceFacts | None = None
    notices: tuple[str, ...] = ()
    files: tuple[Backing, ...] = ()
    exposed: Exposed | None = None

    def is_same_as(self, other: Attachment) -> bool:
        """Whether both name the same use of the same device: what detach compares."""
        return self.identity == other.identity

    @property
    def identity(self) -> tuple[int | None, ...]:
        """Device number, diskseq, backing and range: never a path."""
        proof = self.proof
        return (self.number, self.diskseq, proof.device, proof.inode, proof.offset, proof.sizelimit)


@dataclass(frozen=True, slots=True)
class BackingChange:
    """How what lies below a device differs from what it was at attach. Ask `.changed` or `.touched`, never the object.

    Attributes:
        changed: Size, mtime, inode or write counters differ, or it cannot be found: the evidence is not what was attached.
        touched: Only ctime differs (chmod, a backup, a link): verify.
        details: One sentence each.
        now: What stat says now, None where the file cannot be reached.
        source: What a block device states and has counted now, None for a file.
        files: What stat says now of every file of an exposed image that can be reached.
    """

    changed: bool
    touched: bool
    details: tuple[str, ...]
    now: Backing | None
    source: SourceFacts | None = None
    files: tuple[Backing, ...] = ()

    def __bool__(self) -> NoReturn:
        """Refuse to answer: `if change:` does not say which question was asked.

        Raises:
            TypeError: Always.
        """
        msg = "ask .changed or .touched"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True)
class Detached:
    """A device that the kernel has let go.

    Attributes:
        attachment: What it was.
        proof: Read from the kernel just before; None where the device had gone already or could not be asked.
        guard: At detach: `none` where `lease` was held at attach means that a writer came in between.
        changes: What lies below, compared with the facts at attach.
        writes: Sectors written or discarded through the device since attach: 0 as long as it was read-only.
        gone_before: The device was not there any more.
    """

    attachment: Attachment
    proof: Proof | None
    guard: Guard
    changes: BackingChange
    writes: int
    gone_before: bool = False

    @property
    def changed(self) -> bool:
        """Whether the evidence is not what was attached."""
        return self.changes.changed or self.writes != 0

    @property
    def touched(self) -> bool:
        """Whether only ctime differs."""
        return self.changes.touched


def split_label(label: str) -> tuple[str | None, int | None]:
    """UUID of the custody log and line of the intent, from lo_file_name; (None, None) where no log was kept."""
    log, _, seq = label.removeprefix(LABEL_PREFIX).partition(":")
    if log == "none" or not seq.isascii() or not seq.isdigit():
        return None, None
    return log, int(seq)


def exposed_name(label: str) -> str:
    """What the served file below devices with this label is called, the first of them where there are several."""
    return label.replace(":", "-")


def split_exposed_name(path: str) -> tuple[str | None, str] | None:
    """UUID of the log (None where none was kept) and name of a served file, from the path that sysfs shows.

    The file lies in no directory, so its path is seen from its own root. None for any other path.
    """
    found = _EXPOSED_PATH.fullmatch(path)
    return (found["log"], path.removeprefix("/")) if found else None
