"""Where file systems are seen below /run/imgkit: a folder an exhibit or image, shared with nobody else's.

Whoever looks for a folder holds a lock on /run/imgkit for that moment; whoever mounts in one holds a shared lock on it
until that is done. Both go with their process, so that a folder which nobody holds and nothing is mounted in was left
by a killed run, and is taken away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from imgkit.attachment import list_attachments
from imgkit.errors import MountError
from imgkit.mounting import list_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.image import Image

MOUNT_ROOT = "/run/imgkit"
_LONGEST_NAME = 200  # bytes, so that there is room for a number
_LOOKING = 10.0  # seconds that others may look for a folder


@contextlib.contextmanager
def folder_below_run(name: str, parts: Sequence[str], image: Image, log: str) -> Iterator[str]:
    """Yield MOUNT_ROOT/name with an empty directory for each part; another number where others have the folder.

    Mounts of the same image for the same log come together in one folder, whichever command makes them. What nothing
    was mounted on at the end is taken away.

    Raises:
        MountError: MOUNT_ROOT cannot be written to, or is kept locked.
    """
    name = os.fsdecode(os.fsencode(name.replace("/", "_"))[:_LONGEST_NAME]).strip(".") or "image"
    with contextlib.ExitStack() as held:
        try:
            with _root_locked():
                path, fd = _taken(name, parts, image, log)
        except OSError as error:
            raise MountError(
                f"cannot make a directory below {MOUNT_ROOT}: {error.strerror}",
                hint="name a directory to mount on",
            ) from error
        held.callback(os.close, fd)
        held.callback(_leave_unused, path, parts)
        yield path


@contextlib.contextmanager
def _root_locked() -> Iterator[None]:
    os.makedirs(MOUNT_ROOT, 0o755, exist_ok=True)
    fd = os.open(MOUNT_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOOKING
        while not _locked(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise MountError(
                    f"cannot mount: another process keeps {MOUNT_ROOT} locked",
                    hint="name a directory to mount on",
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(fd)


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(name: str, parts: Sequence[str], image: Image, log: str) -> tuple[str, int]:
    """A folder and a descriptor that holds it."""
    ours, others, unseen = _shown(image, log)
    for path in ours:
        if path not in others and (fd := _entered(path, parts)) is not None:
            return path, fd
    number = 1
    while True:
        path = os.path.join(MOUNT_ROOT, name if number == 1 else f"{name}-{number}")
        if path not in ours and path not in others:
            if not unseen:
                _sweep(path)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o755)
                if (fd := _entered(path, parts)) is not None:
                    return path, fd
        number += 1


def _shown(image: Image, log: str) -> tuple[list[str], set[str], bool]:
    """Folders below MOUNT_ROOT in which this image is seen for this log, those in which anything else is, and more.

    The third: whether a mount may be there that is not seen from here. Removing its directory would take down what is
    mounted in another mount namespace.
    """
    facts, there = image.segments[0].stat, list_attachments()
    same = (log, facts.st_dev, facts.st_ino)
    mine = {item.device for item in there if (item.log, item.proof.device, item.proof.inode) == same}
    ours: list[str] = []
    others: set[str] = set()
    mounts = list_mounts(there)
    for mount in mounts:
        folder = os.path.dirname(mount.target)
        if os.path.dirname(folder) != MOUNT_ROOT:
            continue
        if mount.source not in mine:
            others.add(folder)
        elif folder not in ours:
            ours.append(folder)
    unseen = {item.device for item in there if not item.proof.staying} - {mount.source for mount in mounts}
    return ours, others, bool(unseen)


def _entered(path: str, parts: Sequence[str]) -> int | None:
    """Hold a folder and make a directory for each part in it; None where one is there already, or the folder went away."""
    made: list[str] = []
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_SH)
        for part in parts:
            os.mkdir(os.path.join(path, part), 0o755)
            made.append(part)
    except (FileExistsError, FileNotFoundError):
        _leave_unused(path, made)
        if fd >= 0:
            os.close(fd)
        return None
    return fd


def _sweep(path: str) -> None:
    """Take away what a killed run left: a folder that nobody holds. What is mounted in it, or lies in it, stays."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # not there, or none of ours
    try:
        if _locked(fd, fcntl.LOCK_EX):
            _leave_unused(path, os.listdir(path))
    finally:
        os.close(fd)


def _leave_unused(path: str, parts: Sequence[str]) -> None:
    for folder in (*(os.path.join(path, part) for part in parts), path):
        with contextlib.suppress(OSError):  # in use: it goes with its last mount
            os.rmdir(folder)
