"""The lease that keeps writers off an image while it is attached: taken, waited for, and looked up in /proc/locks."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from imgkit.attachment.holders import writers_of
from imgkit.errors import Busy
from imgkit.linux.files import take_read_lease
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from imgkit.attachment.facts import Guard

_INIT_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h, PROC_PID_INIT_INO
_UNSEEN_WAIT = 2.0  # a process that is just closing, or one that we cannot see
_BREAK_WAIT = 5.0  # beyond the kernel's own lease-break-time


def take_guard(fd: int, path: str) -> Guard:
    """Hold later writers of the file back for as long as `fd`, or a loop device on it, is open.

    Raises:
        Busy: Somebody has the file open for writing; the message says who.
    """
    deadline, waited = time.monotonic() + _UNSEEN_WAIT, False
    while True:
        try:
            take_read_lease(fd)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                return "none"  # not the owner, NFS, SMB, a block device
        else:
            return "lease"
        _refuse_if_written(fd, path)
        if not waited and _lease_state(os.fstat(fd)) == b"BREAKING":
            _wait_for_break(fd, path)
            deadline, waited = time.monotonic() + _UNSEEN_WAIT, True
        if time.monotonic() > deadline:
            raise _written(path, "a process that cannot be seen from here has it open for writing")
        time.sleep(0.02)


def _refuse_if_written(fd: int, path: str) -> None:
    writers = writers_of(fd)
    if writers:
        raise _written(path, "; ".join(map(str, writers)))


def _written(path: str, who: str) -> Busy:
    return Busy(
        f"cannot attach {path}: {who}",
        hint="wait until the acquisition or copy is done, or stop that process; then attach again",
    )


def _wait_for_break(fd: int, path: str) -> None:
    """A writer waits in open(); the kernel lets it in once an earlier lease has had its time."""
    with open("/proc/sys/fs/lease-break-time", "rb") as file:
        deadline = time.monotonic() + int(file.read()) + _BREAK_WAIT
    while _lease_state(os.fstat(fd)) == b"BREAKING":
        if time.monotonic() > deadline:
            raise _written(path, "a lease on it is being broken for a writer that waits")
        time.sleep(0.1)


def guard_of(dev: int, ino: int) -> Guard:
    """Whether the kernel still holds writers of the file back, from /proc/locks.

    `unknown` where nothing is seen from a pid namespace other than the first: it hides the locks of those who exited.
    """
    state = _lease_state_of(dev, ino)
    if state == b"ACTIVE":
        return "lease"
    if state is None and os.stat("/proc/self/ns/pid").st_ino != _INIT_PID_NAMESPACE:
        return "unknown"
    return "none"  # BREAKING: a writer waits and will be let in


def _lease_state(facts: os.stat_result) -> bytes | None:
    return _lease_state_of(facts.st_dev, facts.st_ino)


def _lease_state_of(dev: int, ino: int) -> bytes | None:
    """State of the leases on a file: BREAKING where any is, else ACTIVE; None where there is none."""
    with open("/proc/locks", "rb") as file:
        lines = [line.split() for line in file]
    wanted = str(ino).encode()
    found = [fields for fields in lines if fields[1] == b"LEASE" and fields[5].split(b":")[2] == wanted]
    if found:
        devices = {dev, *_superblocks(dev)}
        found = [fields for fields in found if _device(fields[5]) in devices]
    states = {fields[2] for fields in found}
    return b"BREAKING" if b"BREAKING" in states else min(states, default=None)


def _device(place: bytes) -> int:
    major, minor, _ = place.split(b":")
    return os.makedev(int(major, 16), int(minor, 16))


def _superblocks(dev: int) -> set[int]:
    """Device numbers that /proc/locks may use where stat gives one that no mount has (btrfs subvolumes)."""
    mounts = {mount.device: mount for mount in read_mountinfo()}
    if dev in mounts:
        return set()
    return {device for device, mount in mounts.items() if mount.filesystem == "btrfs"}
