"""Who holds a device, and who can write to a file: read from /proc and /sys, to be named in an error.

Only what this process may see is found (other users' descriptors need root, other pid namespaces stay hidden).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from imgkit.attachment.ask import stat_in_time
from imgkit.holders import Holder
from imgkit.linux import sysblock
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = "/proc"


def holders_of(device: str) -> tuple[Holder, ...]:
    """Who keeps a block device in use: mounts in any namespace, disks built on it, processes that have it open."""
    rdev = os.stat(device).st_rdev
    name = os.path.basename(sysblock.folder_of(rdev) or device)
    above = tuple(Holder("device", f"/dev/{disk} is built on it") for disk in sysblock.holders_of(name))
    return (*_mounts_of(rdev, device), *above, *_openers_of(rdev))


def writers_of(file: int | str) -> tuple[Holder, ...]:
    """Who has a file (path or descriptor) open for writing, mapped shared and writable, or below a writable loop device."""
    facts = os.stat(file)
    found = [*_writing_processes(facts), *_writing_loops(facts)]
    return tuple(dict.fromkeys(found))


def _processes() -> Iterator[int]:
    for name in os.listdir(PROC):
        if name.isdigit():
            yield int(name)


def _listing(path: str) -> list[str]:
    """Names in a folder of /proc; empty where the process is gone or not ours to see."""
    try:
        return os.listdir(path)
    except OSError:
        return []


def _content(path: str) -> bytes:
    """A file of /proc; empty where the process is gone or not ours to see."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _link(path: str) -> str:
    """Where a link of /proc points; empty where the process is gone or not ours to see."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _process(pid: int, what: str) -> Holder:
    command = os.fsdecode(_content(f"{PROC}/{pid}/comm").removesuffix(b"\n"))
    return Holder("process", what, pid, command)


def _openers_of(rdev: int) -> Iterator[Holder]:
    for pid in _processes():
        folder = f"{PROC}/{pid}/fd"
        if any(_is_device(f"{folder}/{name}", rdev) for name in _listing(folder)):
            yield _process(pid, "has it open")


def _is_device(link: str, rdev: int) -> bool:
    # Only what lies in /dev is asked for its number: a stat of something on a dead file server would hang.
    if not _link(link).startswith("/dev/"):
        return False
    try:
        facts = os.stat(link)
    except OSError:
        return False
    return stat.S_ISBLK(facts.st_mode) and facts.st_rdev == rdev


def _mounts_of(rdev: int, device: str) -> Iterator[Holder]:
    seen = set()
    for pid in [os.getpid(), *_processes()]:
        namespace = _link(f"{PROC}/{pid}/ns/mnt")
        if not namespace or namespace in seen:
            continue
        seen.add(namespace)
        where = f" in the mount namespace of pid {pid}" if len(seen) > 1 else ""
        try:
            mounts = read_mountinfo(f"{PROC}/{pid}/mountinfo")
        except OSError:
            continue  # gone meanwhile
        for mount in mounts:
            if mount.device == rdev or mount.source == device:  # btrfs shows a device number of its own
                yield Holder("mount", f"mounted at {mount.target}{where}")


def _writing_processes(facts: os.stat_result) -> Iterator[Holder]:
    for pid in _processes():
        folder = f"{PROC}/{pid}"
        if any(_writes(folder, name, facts) for name in _listing(f"{folder}/fd")):
            yield _process(pid, "has it open for writing")
        elif _maps_writable(folder, facts):
            yield _process(pid, "has it mapped for writing")


def _writes(folder: str, name: str, facts: os.stat_result) -> bool:
    mode, inode = 0, None
    for line in _content(f"{folder}/fdinfo/{name}").split(b"\n"):
        if line.startswith(b"flags:"):
            mode = int(line.split()[1], 8) & os.O_ACCMODE
        elif line.startswith(b"ino:"):  # since 5.14: spares a stat, which could hang on a dead file server
            inode = int(line.split()[1])
    if mode == os.O_RDONLY or inode not in {None, facts.st_ino}:
        return False
    try:
        return os.path.samestat(os.stat(f"{folder}/fd/{name}"), facts)
    except OSError:
        return False


def _maps_writable(folder: str, facts: os.stat_result) -> bool:
    wanted = str(facts.st_ino).encode()
    for line in _content(f"{folder}/maps").split(b"\n"):
        permissions, inode = (line.split(maxsplit=5) + [b""] * 5)[1:5:3]  # range perms offset dev inode path
        if permissions[1:4:2] == b"ws" and inode == wanted:
            return True
    return False


def _writing_loops(facts: os.stat_result) -> Iterator[Holder]:
    """The kernel's own writers: loop devices that others bound read-write."""
    for number in sysblock.bound_loops():
        name = f"loop{number}"
        path = sysblock.read_attribute(name, "loop/backing_file")
        if path is None or sysblock.read_number(name, "ro") != 0:
            continue
        try:
            same = os.path.samestat(stat_in_time(os.fsdecode(path)), facts)
        except OSError:
            continue  # deleted, or on a file server that does not answer
        if same:
            yield Holder("device", f"/dev/{name} is bound to it read-write")
