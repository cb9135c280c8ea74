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
    from collections.abc import Sequence

    from imgkit.attachment.facts import Guard

_INIT_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h, PROC_PID_INIT_INO
_UNSEEN_WAIT = 2.0  # a process that is just closing, or one that we cannot see
_BREAK_WAIT = 5.0  # beyond the kernel's own lease-break-time


def take_guard(fd: int, path: str, verb: str = "attach") -> Guard:
    """Hold later writers of the file back for as long as `fd`, or a loop device on it, is open.

    Args:
        fd: Of the file.
        path: Of it, for the message.
        verb: What cannot be done while somebody writes to it.

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
        _refuse_if_written(fd, path, verb)
        if not waited and _lease_state(os.fstat(fd)) == b"BREAKING":
            _wait_for_break(fd, path, verb)
            deadline, waited = time.monotonic() + _UNSEEN_WAIT, True
        if time.monotonic() > deadline:
            raise _written(path, "a process that cannot be seen from here has it open for writing", verb)
        time.sleep(0.02)


def _refuse_if_written(fd: int, path: str, verb: str) -> None:
    writers = writers_of(fd)
    if writers:
        raise _written(path, "; ".join(map(str, writers)), verb)


def _written(path: str, who: str, verb: str) -> Busy:
    return Busy(
        f"cannot {verb} {path}: {who}",
        hint=f"wait until the acquisition or copy is done, or stop that process; then {verb} again",
    )


def _wait_for_break(fd: int, path: str, verb: str) -> None:
    """A writer waits in open(); the kernel lets it in once an earlier lease has had its time."""
    with open("/proc/sys/fs/lease-break-time", "rb") as file:
        deadline = time.monotonic() + int(file.read()) + _BREAK_WAIT
    while _lease_state(os.fstat(fd)) == b"BREAKING":
        if time.monotonic() > deadline:
            raise _written(path, "a lease on it is being broken for a writer that waits", verb)
        time.sleep(0.1)


def guard_of(dev: int, ino: int) -> Guard:
    """Whether the kernel still holds writers of the file back, from /proc/locks.

    `unknown` where nothing is seen from a pid namespace other than the first: it hides the locks of those who exited.
    """
    return guard_of_files([(dev, ino)])  # BREAKING is none: a writer waits and will be let in


def guard_of_files(files: Sequence[tuple[int, int]]) -> Guard:
    """guard_of of several files (device, inode) at once: the worst of them."""
    states = _lease_states(files)
    if all(state == b"ACTIVE" for state in states):
        return "lease"
    if b"BREAKING" not in states and os.stat("/proc/self/ns/pid").st_ino != _INIT_PID_NAMESPACE:
        return "unknown"
    return "none"


def _lease_state(facts: os.stat_result) -> bytes | None:
    return _lease_states([(facts.st_dev, facts.st_ino)])[0]


def _lease_states(files: Sequence[tuple[int, int]]) -> list[bytes | None]:
    """State of the leases on each file: BREAKING where any is, else ACTIVE; None where there is none."""
    with open("/proc/locks", "rb") as file:
        lines = [line.split() for line in file]
    leases: dict[bytes, list[list[bytes]]] = {}
    for fields in lines:
        if fields[1] == b"LEASE":
            leases.setdefault(fields[5].split(b":")[2], []).append(fields)
    return [_state_of(leases.get(str(ino).encode(), []), dev) for dev, ino in files]


def _state_of(leases: Sequence[list[bytes]], dev: int) -> bytes | None:
    devices = {dev, *_superblocks(dev)} if leases else set()
    states = {fields[2] for fields in leases if _device(fields[5]) in devices}
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
