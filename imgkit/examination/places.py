"""Where file systems are seen below /run/imgkit: a folder an exhibit or image, taken atomically, shared with nobody else's."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from imgkit.attachment import list_attachments
from imgkit.errors import MountError
from imgkit.mounting import list_mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.image import Image

MOUNT_ROOT = "/run/imgkit"
_LONGEST_NAME = 200  # bytes, so that there is room for a number


def take_folder(name: str, parts: Sequence[str], image: Image, log: str) -> str:
    """Return MOUNT_ROOT/name with a new empty directory for each part; another number where others have the folder.

    Mounts of the same image for the same log come together in one folder, whichever command makes them.

    Raises:
        MountError: MOUNT_ROOT cannot be written to.
    """
    name = os.fsdecode(os.fsencode(name.replace("/", "_"))[:_LONGEST_NAME]).strip(".") or "image"
    try:
        os.makedirs(MOUNT_ROOT, 0o755, exist_ok=True)
        number = 1
        while True:
            path = os.path.join(MOUNT_ROOT, name if number == 1 else f"{name}-{number}")
            if _taken_whole(path, parts) or (_is_of(path, image, log) and _taken_beside(path, parts)):
                return path
            number += 1
    except OSError as error:
        raise MountError(
            f"cannot make a directory below {MOUNT_ROOT}: {error.strerror}",
            hint="name a directory to mount on",
        ) from error


def leave_unused(path: str, parts: Sequence[str]) -> None:
    """Take away what nothing was mounted on."""
    for folder in (*(os.path.join(path, part) for part in parts), path):
        with contextlib.suppress(OSError):  # in use: it goes with its last mount
            os.rmdir(folder)


def _taken_whole(path: str, parts: Sequence[str]) -> bool:
    """A rename succeeds only onto nothing or an empty directory: two who want one name cannot both get it."""
    aside = os.path.join(MOUNT_ROOT, f".new-{os.getpid()}-{os.urandom(4).hex()}")
    os.mkdir(aside, 0o755)
    for part in parts:
        os.mkdir(os.path.join(aside, part), 0o755)
    try:
        os.rename(aside, path)
    except OSError:
        leave_unused(aside, parts)
        return False
    return True


def _taken_beside(path: str, parts: Sequence[str]) -> bool:
    """Directories of our own beside those of earlier commands: mkdir tells who was first."""
    made: list[str] = []
    try:
        for part in parts:
            os.mkdir(os.path.join(path, part), 0o755)
            made.append(part)
    except OSError:  # somebody is quicker, or its last mount came down meanwhile
        for part in made:
            os.rmdir(os.path.join(path, part))
        return False
    return True


def _is_of(path: str, image: Image, log: str) -> bool:
    """Whether everything that is mounted in a folder, and that is something, shows this image for this log."""
    there = list_attachments()
    shown = {mount.source for mount in list_mounts(there) if mount.target.startswith(path + "/")}
    facts = image.segments[0].stat
    ours = {
        item.device
        for item in there
        if item.log == log and (item.proof.device, item.proof.inode) == (facts.st_dev, facts.st_ino)
    }
    return bool(shown) and shown <= ours
