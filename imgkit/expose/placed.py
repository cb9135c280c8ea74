"""An image as a file in a directory: an ordinary FUSE mount that stays, with or without root."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from imgkit.errors import Busy, MountError, NotPermitted
from imgkit.expose import fusermount
from imgkit.expose.kernel_mount import FILESYSTEM, SOURCE_PREFIX, open_connection, served_mount
from imgkit.expose.listing import list_exposures, stop
from imgkit.expose.start import Server, lease_or_none
from imgkit.holders import holders_of_mount
from imgkit.linux import mount, process
from imgkit.linux.files import acting_as
from imgkit.linux.signals import signals_held

if TYPE_CHECKING:
    from imgkit.expose.facts import ExposureFacts
    from imgkit.expose.start import TakeGuard
    from imgkit.image import Image
    from imgkit.linux.files import Identity
    from imgkit.linux.mount import MountInfo

_HINT = "name an empty directory of your own"


def expose_at(
    image: Image,
    directory: str,
    *,
    name: str,
    identity: Identity | None = None,
    take_guard: TakeGuard = lease_or_none,
) -> ExposureFacts:
    """Show the media of `image` as the read-only file `name` in `directory`, until unexpose or a reboot.

    Args:
        image: An opened image; the process that serves it opens it again, and it must be the very same files.
        directory: An empty one; only who exposes may read the file (root where root does).
        name: Of the file.
        identity: With whose rights root reaches the directory and the files of the image; None: its own.
        take_guard: Holds writers off one open file: returns `lease` or anything else for none, or raises Busy.

    Raises:
        Busy: Somebody has a file of the image open for writing.
        HostError: No FUSE driver, no fusermount3, or the process did not come up.
        ImageError: The image cannot be opened again, or is another one by now.
        MountError: The directory does not take a mount.
        NotPermitted: The same, for want of rights.
    """
    place = _opened_directory(directory, identity)
    try:
        path = os.readlink(f"/proc/self/fd/{place}")
        with Server(image, name, identity) as server:
            server.open()
            server.hold_writers_off(take_guard)
            with signals_held():  # from the mount to the end: an interrupted command leaves none
                return _shown(server, image, place, path, name)
    finally:
        os.close(place)


def _shown(server: Server, image: Image, place: int, path: str, name: str) -> ExposureFacts:
    mounted = _mounted_by_root if os.geteuid() == 0 else _mounted_by_user
    dev = mounted(server, place, path, name)
    try:
        facts = _facts(server, image, path, name, dev)
        server.seen(facts.dev)
        server.keep()
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        _take_down(path)
        raise
    return facts


def _opened_directory(directory: str, identity: Identity | None) -> int:
    path = os.path.abspath(directory)
    try:
        with acting_as(identity):
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPermitted(
            f"not permitted to use {path} as a mount point: {error.strerror}", hint=_HINT
        ) from error
    except OSError as error:
        raise MountError(f"cannot expose an image at {path}: {error.strerror}", hint=_HINT) from error
    try:
        resolved = os.readlink(f"/proc/self/fd/{fd}")
        if any(info.target == resolved for info in mount.read_mountinfo()):
            raise MountError(
                f"cannot expose an image at {path}: something is mounted there already", hint=_HINT
            )
        with acting_as(identity):
            if os.listdir(f"/proc/self/fd/{fd}"):
                raise MountError(
                    f"cannot expose an image at {path}: it is not empty, and its content would be hidden",
                    hint=_HINT,
                )
    except OSError as error:
        os.close(fd)
        raise MountError(f"cannot expose an image at {path}: {error.strerror}", hint=_HINT) from error
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        os.close(fd)
        raise
    return fd


def _mounted_by_root(server: Server, place: int, path: str, name: str) -> int:
    """Served first and then moved into place: whoever sees the directory sees the file. Returns its device number."""
    moved = False
    connection = open_connection()
    try:
        made = served_mount(connection, name, others=False)
        try:
            server.go(connection)
            dev = os.stat(name, dir_fd=made).st_dev  # also: it answers
            mount.move_mount(made, place)
            moved = True
            mount.make_private(made)  # afterwards: a shared directory would make it shared again
        finally:
            os.close(made)
    except BaseException as error:
        if moved:
            _take_down(path)
        if isinstance(error, OSError):
            raise MountError(f"cannot expose an image at {path}: {error.strerror}", hint=_HINT) from error
        raise
    finally:
        os.close(connection)
    return dev


def _mounted_by_user(server: Server, _place: int, path: str, name: str) -> int:
    """Mounted by name, as fusermount3 does it, and served then."""
    connection = fusermount.mount(path, name)
    try:
        server.go(connection)
        return os.stat(os.path.join(path, name)).st_dev
    except BaseException as error:
        _take_down(path)
        if isinstance(error, OSError):
            raise MountError(f"cannot expose an image at {path}: {error.strerror}") from error
        raise
    finally:
        os.close(connection)


def _facts(server: Server, image: Image, path: str, name: str, dev: int) -> ExposureFacts:
    """Read back what is seen at the directory: one regular file of the media's size, on the mount that was made."""
    found = os.stat(os.path.join(path, name), follow_symlinks=False)
    same = (found.st_dev, found.st_ino, found.st_size) == (dev, server.ino, image.size)
    if not stat.S_ISREG(found.st_mode) or not same:
        raise MountError(f"{path} does not show the served file {name} of {image.size} bytes")
    return server.facts(found, path)


def unexpose(directory: str, *, timeout: float = 5.0) -> None:
    """Take down what expose_at put at `directory`, and wait until its process has ended.

    Never asks the file system itself: the process that serves it may be dead or stopped.

    Args:
        directory: As for expose_at.
        timeout: Seconds to wait for the process; one that has not ended by then is killed.

    Raises:
        Busy: Somebody uses it; the message says who.
        MountError: No exposure of imgkit is mounted there.
        NotPermitted: It is another user's.
    """
    path = os.path.abspath(directory)
    path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    info = next((info for info in reversed(mount.read_mountinfo()) if info.target == path), None)
    if info is None or info.filesystem != FILESYSTEM or not info.source.startswith(SOURCE_PREFIX):
        raise MountError(
            f"cannot unexpose {path}: imgkit has exposed no image there",
            hint=None if info is None else f"a {info.filesystem} of {info.source} is mounted there",
        )
    facts = next((item for item in list_exposures() if item.dev == info.device), None)
    pidfd = process.open_process(facts.pid, facts.started) if facts is not None else None
    try:
        _unmount(info)
        if pidfd is not None and facts is not None:
            patience = timeout if process.is_running(facts.pid) else 0  # one that is stopped does not notice
            if not process.wait_until_ended(pidfd, patience):
                stop(facts)
    finally:
        if pidfd is not None:
            os.close(pidfd)
        process.reap()


def _unmount(info: MountInfo) -> None:
    try:
        _take_down(info.target)
    except OSError as error:
        if error.errno == errno.EBUSY:
            who = "; ".join(map(str, holders_of_mount(info))) or "a process that cannot be seen from here"
            raise Busy(f"cannot unexpose {info.target}: {who}", hint="end that, and try again") from error
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise NotPermitted(f"not permitted to unexpose {info.target}: it is another user's") from error
        raise MountError(f"cannot unexpose {info.target}: {error.strerror}") from error


def _take_down(path: str) -> None:
    if os.geteuid() == 0:
        mount.umount2(path)
    else:
        fusermount.unmount(path)
