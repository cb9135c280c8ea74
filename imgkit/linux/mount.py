"""linux/mount.h: the mount API of Linux 5.2 and later, umount2, /proc/self/mountinfo, the kernel's own words.

One function a call, no policy. glibc before 2.36 has no wrappers for the new calls, so they go through syscall(2);
their numbers are the same on every architecture but alpha (they are above 424).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 429, 430, 431, 432, 442

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_CREATE_EXCL = 8  # since 6.6
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSYMFOLLOW = 0x200000  # since 5.14

MS_PRIVATE = 1 << 18
AT_EMPTY_PATH = 0x1000
UMOUNT_NOFOLLOW = 8

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_LINES_AT_MOST = 10_000  # a kernel that logs faster than we read must not hold us


class _MountAttr(ctypes.Structure):
    """struct mount_attr: what mount_setattr(2) sets and clears."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _bytes(text: str | None) -> ctypes.c_char_p:
    return ctypes.c_char_p(None if text is None else os.fsencode(text))


def fsopen(filesystem: str) -> int:
    """Opens a context for a file system type of the kernel; ENODEV means that there is no driver."""
    result = _libc.syscall(_FSOPEN, _bytes(filesystem), FSOPEN_CLOEXEC)
    return _checked(result, f"fsopen {filesystem}")


def fsconfig_flag(context: int, key: str) -> None:
    """Sets an option without a value (`ro`, `noload`)."""
    none = ctypes.c_void_p(None)
    _checked(_libc.syscall(_FSCONFIG, context, FSCONFIG_SET_FLAG, _bytes(key), none, 0), key)


def fsconfig_string(context: int, key: str, value: str) -> None:
    """Sets an option that has a value (`source`, `rescue`)."""
    result = _libc.syscall(_FSCONFIG, context, FSCONFIG_SET_STRING, _bytes(key), _bytes(value), 0)
    _checked(result, f"{key}={value}")


def fsconfig_create(context: int, *, exclusive: bool) -> None:
    """Makes the superblock.

    Args:
        context: What fsopen gave.
        exclusive: Fail with EBUSY rather than share a superblock that exists already. EOPNOTSUPP where the
            kernel (before 6.6) or the driver cannot promise it; the context stays usable then.
    """
    command = FSCONFIG_CMD_CREATE_EXCL if exclusive else FSCONFIG_CMD_CREATE
    none = ctypes.c_void_p(None)
    _checked(_libc.syscall(_FSCONFIG, context, command, none, none, 0), "create")


def fsmount(context: int, attributes: int) -> int:
    """Turns a created context into a detached mount: it vanishes with its descriptor unless moved."""
    return _checked(_libc.syscall(_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes), "fsmount")


def move_mount(mount: int, directory: int) -> None:
    """Attaches a detached mount to the directory that an open descriptor (O_PATH) stands for."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    result = _libc.syscall(_MOVE_MOUNT, mount, _bytes(""), directory, _bytes(""), flags)
    _checked(result, "move_mount")


def make_private(mount: int) -> None:
    """Stops mounts below this one from spreading to other namespaces, and theirs from arriving here."""
    attributes = _MountAttr(propagation=MS_PRIVATE)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = _libc.syscall(_MOUNT_SETATTR, mount, _bytes(""), AT_EMPTY_PATH, ctypes.byref(attributes), size)
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:  # before 5.12
        result = _libc.mount(None, os.fsencode(f"/proc/self/fd/{mount}"), None, MS_PRIVATE, None)
    _checked(result, "private propagation")


def umount2(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """Takes a mount down; EBUSY while somebody uses it."""
    _checked(_libc.umount2(os.fsencode(target), flags), target)


def context_messages(context: int) -> list[str]:
    """What the kernel wrote into the context so far: `invalid value for 'rescue'` and the like."""
    messages: list[str] = []
    while len(messages) < _LINES_AT_MOST:
        try:
            line = os.read(context, 8192)
        except OSError:  # ENODATA: nothing more; anything else is no reason to lose the first error
            break
        messages.append(line.decode(errors="replace").strip().partition(" ")[2])
    return messages


class KernelLog:
    """The kernel's log from now on (/dev/kmsg); silent where it may not be read."""

    def __init__(self) -> None:
        try:
            self._fd: int | None = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:
            self._fd = None

    @property
    def readable(self) -> bool:
        """Whether this process may read the kernel's log at all."""
        return self._fd is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _records(self) -> Iterator[bytes]:
        for _ in range(_LINES_AT_MOST):
            if self._fd is None:
                return
            try:
                yield os.read(self._fd, 8192)
            except OSError as error:
                if (
                    error.errno != errno.EPIPE
                ):  # EPIPE: lines were overwritten, the next read goes on behind them
                    return

    def about(self, name: str) -> list[str]:
        """The kernel's lines since the last call that name the device (`loop3`, not `loop31`)."""
        word = re.compile(rf"(?<![\w/]){re.escape(name)}(?!\w)|/dev/{re.escape(name)}(?!\w)")
        found = []
        for record in self._records():
            text = _kernel_line(record)
            if text is not None and word.search(text):
                found.append(text)
        return found


def _kernel_line(record: bytes) -> str | None:
    """The text of a record of /dev/kmsg; None if a process wrote it (facility not 0), for anybody could."""
    head, _, rest = record.partition(b";")
    priority = head.partition(b",")[0]
    if not priority.isdigit() or int(priority) >> 3:
        return None
    text = rest.partition(b"\n")[0].decode(errors="replace")
    return re.sub(r"\\x([0-9a-f]{2})", "?", text)  # the kernel's escape for bytes that do not print


@dataclass(frozen=True, slots=True)
class MountInfo:
    """One line of /proc/self/mountinfo (Documentation/filesystems/proc.rst, 3.5).

    Attributes:
        mount_id: Unique among the mounts there are now; used again later.
        parent_id: mount_id of what it is mounted on.
        device: st_dev of its files (btrfs: a number of its own, not the disk's).
        root: The folder of the file system that is seen (`/` unless a bind mount).
        target: Where it is mounted, seen from this process's root.
        options: Of this mount: `ro`, `nosuid` …
        propagation: `shared:7`, `master:3` …; empty is private.
        filesystem: The kernel's type.
        source: What was mounted, as the driver tells it.
        super_options: Of the superblock: `ro`, `norecovery` …
    """

    mount_id: int
    parent_id: int
    device: int
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    filesystem: str
    source: str
    super_options: tuple[str, ...]


def _unescaped(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))


def parse_mountinfo_line(line: bytes) -> MountInfo:
    r"""One line without its LF; space, tab, LF and backslash inside a field come as \040 and so on.

    Raises:
        ValueError: It is no line of mountinfo.
    """
    head, dash, tail = line.partition(b" - ")
    first, last = head.split(b" "), tail.split(b" ")
    if not dash or len(first) < 6 or len(last) < 3:
        msg = f"no mountinfo line: {line!r}"
        raise ValueError(msg)
    major, _, minor = first[2].partition(b":")
    return MountInfo(
        mount_id=int(first[0]),
        parent_id=int(first[1]),
        device=os.makedev(int(major), int(minor)),
        root=_unescaped(first[3]),
        target=_unescaped(first[4]),
        options=tuple(_unescaped(first[5]).split(",")),
        propagation=tuple(_unescaped(field) for field in first[6:]),
        filesystem=_unescaped(last[0]),
        source=_unescaped(last[1]),
        super_options=tuple(_unescaped(last[2]).split(",")),
    )


def read_mountinfo(path: str = "/proc/self/mountinfo") -> list[MountInfo]:
    """Every mount of this process's namespace, in the kernel's order."""
    with open(path, "rb") as file:
        return [parse_mountinfo_line(line) for line in file.read().split(b"\n") if line]


def mount_id_of(descriptor: int) -> int:
    """The mount_id that an open descriptor (a mount's too) belongs to."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    raise OSError(errno.ENODATA, "no mnt_id in fdinfo", f"/proc/self/fdinfo/{descriptor}")
