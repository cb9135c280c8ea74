"""Taking a mount down: only what lies on a loop device, never lazily, gone when it returns."""

from __future__ import annotations

import errno
import os
import re
import time
from typing import TYPE_CHECKING

from imgkit.errors import MountError, NotPermitted
from imgkit.holders import holders_of_mount
from imgkit.linux import mount as kernel
from imgkit.mounting.directory import remove_mount_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.linux.files import Identity
    from imgkit.linux.mount import MountInfo

_LOOP = re.compile(r"/dev/loop\d+")


def unmount(
    target: str,
    *,
    timeout: float = 5.0,
    source: str | None = None,
    created: Sequence[str] = (),
    identity: Identity | None = None,
) -> None:
    """Takes a mount of a loop device down; returns when mountinfo shows it no more. Never lazily.

    Args:
        target: The mount point.
        timeout: Seconds to wait for whoever uses it.
        source: The device that must be mounted there; None: any loop device.
        created: Directories that mount made for it (Mount.created), to be removed if empty. Below /run/imgkit that is
            always done.
        identity: Whose rights remove them; None: the process's own.

    Raises:
        MountError: Nothing, or something else, is mounted there, or it is in use; the message names the users.
        NotPermitted: CAP_SYS_ADMIN is missing.
    """
    info = _mounted_at(target, source)
    deadline = time.monotonic() + timeout
    pause = 0.01
    while not _taken_down(info):
        if time.monotonic() + pause > deadline:
            raise _in_use(info)
        time.sleep(pause)
        pause = min(pause * 2, 0.25)
    if any(
        other.mount_id == info.mount_id and other.target == info.target for other in kernel.read_mountinfo()
    ):
        msg = f"the kernel took {info.target} down, but mountinfo still shows it"
        raise MountError(msg)
    remove_mount_point(info.target, created, identity)


def _mounted_at(target: str, source: str | None) -> MountInfo:
    path = os.path.abspath(target)
    resolved = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    here = [info for info in kernel.read_mountinfo() if info.target == resolved]
    if not here:
        msg = f"cannot unmount {target}: nothing is mounted there"
        raise MountError(msg, hint="imgkit status shows what is mounted")
    top = here[-1]
    if _LOOP.fullmatch(top.source) is None or source not in {None, top.source}:
        msg = f"refused to unmount {target}: {top.source} ({top.filesystem}) is mounted there"
        raise MountError(msg, hint="imgkit takes down only what it mounted")
    return top


def _taken_down(info: MountInfo) -> bool:
    """One try; False while somebody uses it."""
    try:
        kernel.umount2(info.target)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        if error.errno == errno.EPERM:
            msg = f"not permitted to unmount {info.target}: it needs CAP_SYS_ADMIN"
            raise NotPermitted(msg, hint="run the command with sudo") from error
        msg = f"cannot unmount {info.target}: {error.strerror}"
        raise MountError(msg) from error
    return True


def _in_use(info: MountInfo) -> MountError:
    holders = [str(holder) for holder in holders_of_mount(info)]
    by = "; ".join(holders) or "nobody that can be seen from here"
    msg = f"cannot unmount {info.target}, it is in use: {by}"
    return MountError(msg, hint="end what uses it and unmount again")
