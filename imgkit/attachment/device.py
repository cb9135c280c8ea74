"""LoopDevice: a bound loop device with a life; attach and attach_all make it, keep and keep_all make it stay."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from imgkit.attachment import source
from imgkit.attachment.bind import bind_free_device, control_lock, need_privilege
from imgkit.attachment.exposed import files_of
from imgkit.attachment.extents import SECTOR, check_extent, tail_notice
from imgkit.attachment.facts import LABEL_LIMIT, LABEL_PREFIX, Attachment, Detached, split_label
from imgkit.attachment.guard import take_guard
from imgkit.attachment.prove import Wanted, check_proof, read_proof
from imgkit.attachment.release import RELEASE_LIMIT, detach, wait_until_gone
from imgkit.errors import AttachError, Busy, UsageError
from imgkit.linux import loop
from imgkit.linux.files import FUSE_SUPER_MAGIC, statfs_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from imgkit.attachment.facts import Backing, Exposed, Guard, Proof, SourceFacts
    from imgkit.expose import ExposureFacts
    from imgkit.image import Extent, Image


class LoopDevice:
    """A bound, proved, read-only loop device; gone when it is closed or the process dies, unless it was told to stay.

    A context manager. Closing twice is allowed.

    Attributes:
        attachment: What it is; `attachment.proof` was read back from the kernel.
    """

    def __init__(self, fd: int, attachment: Attachment) -> None:
        self.attachment = attachment
        self._fd = fd
        self._kept = False

    def fileno(self) -> int:
        """The open descriptor of the device: it pins the binding."""
        return self._fd

    @property
    def device(self) -> str:
        """`/dev/loop3`."""
        return self.attachment.device

    @property
    def kept(self) -> bool:
        """Whether the device outlives this object and the process."""
        return self._kept

    def keep(self) -> Attachment:
        """Make the device stay (clear AUTOCLEAR, 15 ms) and read everything back once more.

        Call it only once the outcome is recorded: until then a crash leaves nothing.

        Raises:
            AttachError: The kernel refused or changed something else with it; the device is taken down.
        """
        if self._kept:
            return self.attachment
        before = self.attachment.proof
        try:
            info = loop.loop_get_status64(self._fd)
            loop.loop_set_status64(self._fd, replace(info, lo_flags=info.lo_flags & ~loop.LO_FLAGS_AUTOCLEAR))
            proof = read_proof(self._fd, self.attachment.number)
        except OSError as error:
            self._take_down()
            raise AttachError(f"cannot make {self.device} stay: {error.strerror}") from error
        if replace(proof, lo_flags=proof.lo_flags | loop.LO_FLAGS_AUTOCLEAR) != before or not proof.staying:
            self._take_down()
            raise AttachError(f"{self.device} did not stay as it was: {before} became {proof}")
        self.attachment = replace(self.attachment, proof=proof)
        self._kept = True
        return self.attachment

    def detach(self, *, timeout: float = RELEASE_LIMIT) -> Detached:
        """Take the device down, kept or not, and return when the kernel has let go: see `detach`."""
        fd, self._fd = self._fd, -1
        return detach(self.attachment, timeout=timeout, own=fd if fd >= 0 else None)

    def close(self) -> None:
        """Let go of the device: it stays if it was told to, else it is gone when this returns.

        Raises:
            Busy: Somebody else keeps it: it goes when they let go.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        os.close(fd)
        if not self._kept:
            wait_until_gone(self.attachment, RELEASE_LIMIT)

    def hand_over(self) -> None:
        """Let go of the device without waiting: a mount holds it now, and it goes when that ends."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _take_down(self) -> None:
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):  # AUTOCLEAR still set: the close does the same
            loop.loop_clr_fd(self._fd)
        self._kept = False
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Below:
    """What every device of one call shares."""

    fd: int
    backing: Backing
    facts: SourceFacts | None
    guard: Guard
    notices: tuple[str, ...]
    files: tuple[Backing, ...] = ()
    exposed: Exposed | None = None


def attach(
    image: Image,
    extent: Extent | None = None,
    *,
    label: str | None = None,
    block_size: int | None = None,
    direct_io: bool = False,
) -> LoopDevice:
    """Bind one read-only loop device to an extent of an image (None: the whole media), and prove it.

    As a context manager the device is gone at the end. For it to stay: record the outcome, then call keep().

    Args:
        image: An opened image; its own descriptor goes below the device, or that of a file which a process serves (of a
            split set or container).
        extent: Bytes of the media.
        label: lo_file_name, `imgkit:<log uuid>:<seq of the intent>`; None says that no log is kept.
        block_size: Logical block; None is 512 for an extent and the image's sector size for the whole media.
        direct_io: Ask for direct I/O (over FUSE always); where the kernel drops it a notice says so.

    Raises:
        NotPermitted: No CAP_SYS_ADMIN.
        AttachError: The kernel would show, or showed, something else than was asked for; nothing is left.
        Busy: Somebody has the image open for writing.
        HostError: No loop driver, or one before Linux 5.8; no FUSE where it is needed.
        ImageError: A split set or container cannot be opened once more by the process that serves it.
    """
    return attach_all(image, [extent], labels=[label], block_size=block_size, direct_io=direct_io)[0]


def attach_all(
    image: Image,
    extents: Sequence[Extent | None],
    *,
    labels: Sequence[str | None] | None = None,
    block_size: int | None = None,
    direct_io: bool = False,
    sharing: source.SharedSource | None = None,
) -> list[LoopDevice]:
    """Bind one device an extent, all or none: any failure takes down what was bound before it.

    Arguments and errors are those of `attach`; `labels` has one entry an extent. With `sharing` one process serves the
    image for several calls; it also says with whose rights the files are opened.
    """
    need_privilege(f"attach {image.path}")
    names = _checked_labels(labels, len(extents))
    plans = [_plan(image, extent, block_size) for extent in extents]
    first = names[0] if names else ""
    with contextlib.ExitStack() as own, contextlib.ExitStack() as undo:
        shared = sharing or own.enter_context(source.SharedSource(image))
        opened = own.enter_context(shared.opened(first))
        below = _below(opened, image)
        # Over FUSE the second page cache costs more than it gives: cold reads 738 MB/s against 325 to 597 (measured).
        direct = direct_io or statfs_type(opened.fd) == FUSE_SUPER_MAGIC
        devices = []
        for (asked, shown, size), name in zip(plans, names, strict=True):
            wanted = Wanted(shown, size, below.backing.dev, below.backing.ino, direct, name)
            device = _attach_one(below, asked, wanted)
            undo.callback(_abandon, device)
            devices.append(device)
        undo.pop_all()
    return devices


def keep_all(devices: Sequence[LoopDevice]) -> list[Attachment]:
    """keep() every device, each in a thread: the kernel takes 15 ms each. If one fails, all are taken down.

    Raises:
        AttachError: The first failure.
    """
    failures: list[AttachError] = []

    def keep(device: LoopDevice) -> None:
        try:
            device.keep()
        except AttachError as error:
            failures.append(error)

    threads = [threading.Thread(target=keep, args=(device,)) for device in devices[1:]]
    for thread in threads:
        thread.start()
    if devices:
        keep(devices[0])
    for thread in threads:
        thread.join()
    if failures:
        for device in devices:
            device._take_down()
        raise failures[0]
    return [device.attachment for device in devices]


def _abandon(device: LoopDevice) -> None:
    with contextlib.suppress(
        Busy
    ):  # the failure that led here is what counts; the device goes with its last close
        device.close()


def _checked_labels(labels: Sequence[str | None] | None, count: int) -> list[str]:
    given = list(labels) if labels is not None else [None] * count
    if len(given) != count:
        raise UsageError(f"{count} extents and {len(given)} labels")
    names = [label or f"{LABEL_PREFIX}none:{os.getpid()}:{os.urandom(4).hex()}" for label in given]
    for name in names:
        if not name.startswith(LABEL_PREFIX) or not name.isascii() or len(name) > LABEL_LIMIT:
            raise UsageError(f"{name!r} is no label: {LABEL_PREFIX}…, ASCII, at most {LABEL_LIMIT} bytes")
    return names


def _plan(image: Image, extent: Extent | None, block_size: int | None) -> tuple[Extent, Extent, int]:
    """What was asked for, what will be shown of it, and the block size."""
    size = block_size or (SECTOR if extent is not None else image.sector_size or SECTOR)
    shown, tail = check_extent(extent, image.size, block_size=size)
    return replace(shown, length=shown.length + tail), shown, size


def _below(opened: source.OpenSource, image: Image) -> _Below:
    """Guard first, then facts: nobody can write in between."""
    if opened.exposure is not None:
        return _below_exposed(opened, opened.exposure, image)
    fd = opened.fd
    guard = take_guard(fd, image.path)
    facts = source.source_facts(fd)
    notices = []
    if facts is None and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NOATIME:
        notices.append(source.ATIME_MAY_CHANGE)
    if facts is not None and not facts.read_only:
        notices.append(source.NO_WRITE_BLOCKER)
    if guard == "none":
        notices.append(source.NOT_GUARDED)
    return _Below(fd, source.backing_of(fd, image.path), facts, guard, tuple(notices))


def _below_exposed(opened: source.OpenSource, exposure: ExposureFacts, image: Image) -> _Below:
    """The process that serves the image holds the leases; it has made sure that the files are those we opened."""
    backing = replace(source.backing_of(opened.fd, image.path), kind="exposed")
    notices, guard = exposure.notices, exposure.guard
    return _Below(opened.fd, backing, None, guard, notices, files_of(image), opened.exposed)


def _attach_one(below: _Below, asked: Extent, wanted: Wanted) -> LoopDevice:
    with control_lock() as control:
        fd, number = bind_free_device(control, below.fd, wanted)
    device = f"/dev/loop{number}"
    try:
        proof = read_proof(fd, number)
        notices = check_proof(proof, wanted, device)
    except OSError as error:
        os.close(fd)
        raise AttachError(f"cannot read back what {device} is bound to: {error.strerror}") from error
    except BaseException:  # a signal too: a device without an owner would stay until we exit
        os.close(fd)
        raise
    return LoopDevice(fd, _attachment(below, asked, wanted.label, proof, number=number, notices=notices))


def _attachment(
    below: _Below, asked: Extent, label: str, proof: Proof, *, number: int, notices: tuple[str, ...]
) -> Attachment:
    log, seq = split_label(label)
    tail = asked.length - proof.size
    return Attachment(
        device=f"/dev/loop{number}",
        number=number,
        diskseq=proof.diskseq,
        extent=asked,
        block_size=proof.block_size,
        clipped_tail=tail,
        read_only=proof.read_only,
        guard=below.guard,
        proof=proof,
        backing=below.backing,
        label=label,
        log=log,
        seq=seq,
        source=below.facts,
        notices=(*below.notices, *notices, *tail_notice(tail, proof.block_size)),
        files=below.files,
        exposed=below.exposed,
    )
