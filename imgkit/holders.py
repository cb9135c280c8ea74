"""Who keeps a mount in use, from proc(5): to be named when it cannot be taken down."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgkit.linux import sysblock
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.linux.mount import MountInfo

PROC = "/proc"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps a device, a file or a mount in use.

    Attributes:
        kind: `process`, `mount` or `device`.
        what: In words: `has it open`, `has a file of it open`, what is mounted in it, the device that is bound to it.
        pid: Of a process, else None.
        command: Its name as the kernel has it, escaped by whoever prints it.
    """

    kind: Literal["process", "mount", "device"]
    what: str
    pid: int | None = None
    command: str = ""

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command}) {self.what}" if self.kind == "process" else self.what


def holders_of_mount(info: MountInfo) -> tuple[Holder, ...]:
    """Mounts on top, loop devices bound to its files, processes that work in it.

    Other users' processes are seen only by root, other mount namespaces' own mounts of it not at all.
    """
    return (*_mounts_below(info), *_loops_below(info), *_processes_in(info))


def _mounts_below(info: MountInfo) -> Iterator[Holder]:
    for other in read_mountinfo():
        if other.parent_id == info.mount_id:
            yield Holder("mount", f"{other.target} is mounted in it")


def _loops_below(info: MountInfo) -> Iterator[Holder]:
    folder = os.fsencode(info.target) + b"/"
    for number in sysblock.bound_loops():
        path = sysblock.read_attribute(f"loop{number}", "loop/backing_file")
        if path is not None and path.startswith(folder):
            yield Holder("device", f"/dev/loop{number} is bound to a file in it")


def _processes_in(info: MountInfo) -> Iterator[Holder]:
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        folder = f"{PROC}/{name}"
        try:
            what = _use(folder, info)
            command = _content(f"{folder}/comm").decode(errors="replace").strip()
        except OSError:
            continue  # gone meanwhile, or not ours to see
        if what:
            yield Holder("process", what, int(name), command)


def _use(folder: str, info: MountInfo) -> str | None:
    """How a process uses the mount, in words; by its number and path, never by a stat that a dead server could hold."""
    for link, what in (("cwd", "works in it"), ("root", "has its root in it"), ("exe", "runs from it")):
        if _lies_in(_link(f"{folder}/{link}"), info.target):
            return what
    wanted = b"mnt_id:\t%d\n" % info.mount_id
    for number in os.listdir(f"{folder}/fdinfo"):
        if _has_descriptor(f"{folder}/fdinfo/{number}", wanted):
            return "has a file of it open"
    return "has a file of it mapped" if _maps(folder, info.target) else None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # a kernel thread has no exe
        return ""


def _has_descriptor(path: str, wanted: bytes) -> bool:
    try:
        return wanted in _content(path)
    except FileNotFoundError:  # closed meanwhile
        return False


def _maps(folder: str, target: str) -> bool:
    place = os.fsencode(target) + b"/"
    for line in _content(f"{folder}/maps").split(b"\n"):
        path = line.split(maxsplit=5)[5:]  # after range, perms, offset, dev and inode
        if path and path[0].startswith(place):
            return True
    return False


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _lies_in(path: str, target: str) -> bool:
    return path == target or path.startswith(target + "/")
