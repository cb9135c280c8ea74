"""Putting a mount up: what is asked for, what is read back, what is undone on a difference."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import MountError, NotMountable, NotPermitted
from imgkit.filesystems.mount_options import FILESYSTEMS, MountRow, not_filesystem
from imgkit.linux import blockdev
from imgkit.linux import mount as kernel
from imgkit.linux.signals import signals_held
from imgkit.mounting.directory import place_for_mount
from imgkit.mounting.facts import Mount
from imgkit.mounting.listing import option_words, options_in_force, shows
from imgkit.mounting.superblock import detached_mount, driver_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.attachment.facts import Attachment
    from imgkit.linux.files import Identity
    from imgkit.linux.mount import MountInfo
    from imgkit.mounting.directory import Place
    from imgkit.mounting.superblock import Detached

_REQUIRED = ("ro", "nosuid", "nodev", "noexec")


def check_mountable(filesystem: str, *, device: str) -> MountRow:
    """The row that says how a type is mounted.

    Args:
        filesystem: libblkid's name; empty where nothing was recognised.
        device: For the message and the hint.

    Raises:
        NotMountable: It is no file system, or none that imgkit knows; the hint is the next command.
    """
    row = FILESYSTEMS.get(filesystem)
    if row is not None:
        return row
    other = not_filesystem(filesystem)
    if other is not None:
        msg = f"cannot mount {device}: it holds {other.name}, no file system"
        raise NotMountable(msg, hint=other.hint.format(device=device))
    if not filesystem:
        msg = f"cannot mount {device}: no file system was recognised in it"
        raise NotMountable(
            msg, hint=f"its bytes can be read from {device}; imgkit partitions shows what was found"
        )
    msg = f"cannot mount {device}: imgkit does not know how to keep {filesystem} from changing it"
    raise NotMountable(msg, hint="a row in imgkit/filesystems/mount_options.py would teach it")


def check_driver(filesystem: str, *, device: str) -> str:
    """The driver that the kernel has for a type; nothing is mounted to find that out.

    Args:
        filesystem: libblkid's name.
        device: For the message and the hint.

    Raises:
        NotMountable: As check_mountable, or there is no driver: the hint is the FUSE command that would do.
        NotPermitted: CAP_SYS_ADMIN is missing.
    """
    return driver_of(device, check_mountable(filesystem, device=device), filesystem)


def mount(
    attachment: Attachment, directory: str, *, filesystem: str, identity: Identity | None = None
) -> Mount:
    """Shows a file system of an attachment at a directory, read-only, and proves it from mountinfo.

    Args:
        attachment: A read-only loop device that imgkit bound.
        directory: An empty directory, or one to be made (with the folders above it).
        filesystem: libblkid's name of the type, as filesystems.identify gives it.
        identity: Whose rights reach the directory; None: the process's own.

    Returns:
        What was read back. No descriptor stays open: the mount itself holds the device.

    Raises:
        NotMountable: No file system, or no driver for it.
        MountError: The kernel refused, or what it mounted is not what was asked for; nothing is left mounted.
        NotPermitted: Rights are missing.
    """
    row = check_mountable(filesystem, device=attachment.device)
    with _held(attachment) as held, place_for_mount(directory, identity) as place:
        _refuse_second_mount(held)
        detached = detached_mount(attachment.device, row, filesystem)
        with contextlib.ExitStack() as descriptor:
            descriptor.callback(os.close, detached.fd)
            return _shown(detached, place, held, descriptor)


def _shown(detached: Detached, place: Place, held: _Held, descriptor: contextlib.ExitStack) -> Mount:
    """Attaches the mount and reads it back; whatever happens meanwhile takes it away again."""
    attached = False
    try:
        with signals_held():
            _attach(detached, place, held.device)
            attached = True
            kernel.make_private(detached.fd)
            info = _read_back(detached, place)
            _compare(info, detached, held, place)
            held.check()
        return _mount(info, detached, place, held.device)
    except (OSError, MountError) as error:
        descriptor.close()  # while it is open the mount is busy
        if not attached:
            raise
        raise _undone(place.path, held.device, error) from error
    except BaseException:  # a signal that was held back: nobody will hear of the mount
        descriptor.close()
        if attached:
            kernel.umount2(place.path)
        raise


@dataclass(frozen=True, slots=True)
class _Held:
    """A device that cannot be bound anew while its descriptor is open.

    Attributes:
        fd: O_RDONLY.
        rdev: Its number.
        attachment: What it is said to be.
    """

    fd: int
    rdev: int
    attachment: Attachment

    @property
    def device(self) -> str:
        return self.attachment.device

    def check(self) -> None:
        """Asks the kernel once more whether it is what was attached, and read-only."""
        if not blockdev.blkroget(self.fd):
            msg = f"refused to mount {self.device}: the kernel says that it is not read-only"
            raise MountError(msg)
        diskseq = self.attachment.diskseq
        if diskseq is not None and blockdev.blkgetdiskseq(self.fd) != diskseq:
            msg = f"refused to mount {self.device}: it has been bound to something else since it was attached"
            raise MountError(msg, hint="imgkit status shows what is attached now")


@contextlib.contextmanager
def _held(attachment: Attachment) -> Iterator[_Held]:
    """Keeps the device from being bound anew while it is mounted, and asks it once more whether it is read-only.

    A read-only mount of a writable device replays journals: the options are no protection, the device is.
    """
    device = attachment.device
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES}:
            msg = f"not permitted to open {device}: {error.strerror}"
            raise NotPermitted(msg, hint="run the command with sudo") from error
        msg = f"cannot mount {device}: {error.strerror}"
        raise MountError(msg) from error
    try:
        held = _Held(fd, os.fstat(fd).st_rdev, attachment)
        held.check()
        yield held
    finally:
        os.close(fd)


def _refuse_second_mount(held: _Held) -> None:
    """Before Linux 6.6 a second mount would share the superblock, and our options would be ignored in silence."""
    for info in kernel.read_mountinfo():
        if shows(info, held.device, held.rdev):
            msg = f"cannot mount {held.device}: it is mounted already, at {info.target}"
            raise MountError(msg, hint=f"imgkit unmount {info.target}")


def _attach(detached: Detached, place: Place, device: str) -> None:
    try:
        kernel.move_mount(detached.fd, place.fd)
    except OSError as error:
        msg = f"cannot mount {device} on {place.path}: {error.strerror}"
        raise MountError(msg) from error


def _mount(info: MountInfo, detached: Detached, place: Place, device: str) -> Mount:
    return Mount(
        source=device,
        target=info.target,
        filesystem=info.filesystem,
        options_asked=detached.options,
        options=options_in_force(info),
        view=detached.view,
        journal=detached.journal,
        notices=detached.notices,
        created=place.created,
        mount_id=info.mount_id,
    )


def _read_back(detached: Detached, place: Place) -> MountInfo:
    mount_id = kernel.mount_id_of(detached.fd)
    for info in kernel.read_mountinfo():
        if info.mount_id == mount_id:
            return info
    msg = f"the kernel mounted something on {place.path} that mountinfo does not show"
    raise MountError(msg)


def _compare(info: MountInfo, detached: Detached, held: _Held, place: Place) -> None:
    """Every difference between mountinfo and what was asked for.

    Raises:
        MountError: There is one; the message names them all.
    """
    words = option_words(info)
    wrong = [f"the mount is not {name}" for name in _REQUIRED if name not in info.options]
    if "nosymfollow" in detached.options and "nosymfollow" not in info.options:
        wrong.append("the mount is not nosymfollow")
    if "ro" not in info.super_options:
        wrong.append("the superblock is not ro")
    wrong += [
        f"the superblock is not {name}" for name in detached.in_force if not words & set(name.split("|"))
    ]
    if info.source != held.device or not shows(info, held.device, held.rdev):
        wrong.append(f"it shows {info.source}")
    if info.target != place.path:
        wrong.append(f"it is seen at {info.target}")
    if info.propagation:
        wrong.append("its propagation is not private")
    if wrong:
        raise MountError("; ".join(wrong))


def _undone(path: str, device: str, error: OSError | MountError) -> MountError:
    try:
        kernel.umount2(path)
    except OSError as left:
        msg = f"mounted {device} on {path}, not as asked for ({error}), and could not take it down again: {left.strerror}"
        return MountError(msg, hint=f"imgkit unmount {path}")
    return MountError(f"mounted {device} on {path}, and took it down again: {error}")
