"""Find an unbound loop device and bind it in one step, read-only, gone with its last close.

Lock order: /dev/loop-control first, the device second.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import stat
import time
from typing import TYPE_CHECKING

from imgkit.errors import AttachError, Busy, HostError, NotPermitted
from imgkit.linux import loop, sysblock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.attachment.prove import Wanted

LOCK_LIMIT = 30.0
_ATTEMPTS = 64  # against binders that do not take the lock (losetup, udisks)
_FIRST_SLEEP = 0.002
_LONGEST_SLEEP = 0.2
_CAP_SYS_ADMIN = 1 << 21
_MISC_MAJOR, _LOOP_CONTROL_MINOR = 10, 237
_HOW_TO_GO_ON = "run it as root (sudo); info, hash, verify and partitions need no privilege"
_FLAGS = (
    loop.LO_FLAGS_READ_ONLY | loop.LO_FLAGS_AUTOCLEAR
)  # never PARTSCAN: hostile tables stay out of the kernel


def need_privilege(what: str) -> None:
    """Refuse before anything is done where the kernel would refuse later.

    Raises:
        NotPermitted: This thread lacks CAP_SYS_ADMIN.
    """
    with open("/proc/thread-self/status", "rb") as file:
        effective = next(line for line in file if line.startswith(b"CapEff:"))
    if not int(effective.split()[1], 16) & _CAP_SYS_ADMIN:
        raise NotPermitted(f"cannot {what}: loop devices need CAP_SYS_ADMIN", hint=_HOW_TO_GO_ON)


@contextlib.contextmanager
def control_lock(*, limit: float = LOCK_LIMIT) -> Iterator[int]:
    """Hold /dev/loop-control for ourselves: with it 50 attachers at once had no collision, without it 33 of 50 failed.

    Raises:
        Busy: Somebody holds it for longer than `limit` seconds.
        HostError: There is no loop driver.
    """
    fd = _open_control()
    try:
        deadline = time.monotonic() + limit
        while not _locked(fd):
            if time.monotonic() > deadline:
                raise Busy(
                    f"cannot attach: {_lock_holder(fd)} holds {loop.LOOP_CONTROL} for over {limit:.0f} s"
                )
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - spreads attachers, keeps no secret
        yield fd
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_holder(fd: int) -> str:
    inode = str(os.fstat(fd).st_ino).encode()
    with open("/proc/locks", "rb") as file:
        for line in file:
            fields = line.split()
            if fields[1] == b"FLOCK" and fields[5].split(b":")[2] == inode:
                return f"pid {int(fields[4])}"
    return "a process that cannot be seen from here"


def _open_control() -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        try:
            return os.open(loop.LOOP_CONTROL, flags)
        except FileNotFoundError:
            _make_node(loop.LOOP_CONTROL, stat.S_IFCHR, os.makedev(_MISC_MAJOR, _LOOP_CONTROL_MINOR))
            return os.open(loop.LOOP_CONTROL, flags)
    except PermissionError as error:
        raise NotPermitted(
            f"cannot open {loop.LOOP_CONTROL}: {error.strerror}", hint=_HOW_TO_GO_ON
        ) from error
    except OSError as error:
        raise HostError(
            f"cannot open {loop.LOOP_CONTROL}: {error.strerror}",
            hint="load the driver (modprobe loop); in a container pass the device in (--device /dev/loop-control)",
        ) from error


def _make_node(path: str, kind: int, rdev: int) -> None:
    """A container's /dev may lack nodes of devices that the kernel has."""
    with contextlib.suppress(FileExistsError):
        os.mknod(path, kind | 0o660, rdev)


def bind_free_device(control: int, backing: int, wanted: Wanted) -> tuple[int, int]:
    """Bind an unbound device to `backing`; return its descriptor and number. Call with the control lock held.

    Raises:
        Busy: Others took every free device from under us.
        NotPermitted, HostError, AttachError: The kernel refused; nothing is left.
    """
    info = loop.LoopInfo64(
        lo_offset=wanted.shown.offset,
        lo_sizelimit=wanted.shown.length,
        lo_flags=_FLAGS | (loop.LO_FLAGS_DIRECT_IO if wanted.direct_io else 0),
        lo_file_name=wanted.label.encode(),
    )
    config = loop.LoopConfig(backing, wanted.block_size, info)
    sleep = _FIRST_SLEEP
    for _ in range(_ATTEMPTS):
        number = _free_number(control)
        fd = _try_to_bind(number, config)
        if fd is not None:
            return fd, number
        time.sleep(random.uniform(0, sleep))  # noqa: S311 - spreads attachers, keeps no secret
        sleep = min(sleep * 1.5, _LONGEST_SLEEP)
    raise Busy(f"cannot attach: {_ATTEMPTS} loop devices in a row were taken by others", hint="try again")


def _free_number(control: int) -> int:
    try:
        number = loop.loop_ctl_get_free(control)
        if not sysblock.partitions_of(f"loop{number}"):
            return number
        return _number_without_partitions(control)
    except OSError as error:
        raise HostError(f"cannot get a free loop device: {error.strerror}") from error


def _number_without_partitions(control: int) -> int:
    """Partitions that an earlier user left on an unbound device would map our image: take another device."""
    number = 0
    while os.path.isdir(f"{sysblock.SYS_BLOCK}/loop{number}"):
        if not sysblock.loop_is_bound(number) and not sysblock.partitions_of(f"loop{number}"):
            return number
        number += 1
    with contextlib.suppress(FileExistsError):  # somebody else made it: as good
        loop.loop_ctl_add(control, number)
    return number


def _try_to_bind(number: int, config: loop.LoopConfig) -> int | None:
    fd = _open_node(number)
    if fd is None:
        return None
    try:
        if sysblock.partitions_of(f"loop{number}"):
            os.close(fd)
            return None
        loop.loop_configure(fd, config)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EBUSY, errno.ENXIO):
            return None  # somebody took it, or it is going away
        raise _refused(number, config, error) from error
    return fd


def _refused(number: int, config: loop.LoopConfig, error: OSError) -> AttachError | NotPermitted | HostError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"cannot bind /dev/loop{number}: {error.strerror}", hint=_HOW_TO_GO_ON)
    release = os.uname().release
    if error.errno in (errno.EINVAL, errno.ENOTTY) and _version(release) < (5, 8):
        return HostError(f"cannot attach on Linux {release}: LOOP_CONFIGURE came with 5.8")
    return AttachError(
        f"cannot bind /dev/loop{number} to {config.info.lo_sizelimit} bytes at offset {config.info.lo_offset}:"
        f" {error.strerror}"
    )


def _version(release: str) -> tuple[int, int]:
    major, minor, *_ = release.split(".")
    digits = "".join(char for char in minor if char.isdigit())
    return int(major), int(digits or 0)


def open_node(number: int) -> int:
    """Open /dev/loopN read-only and make sure that it is that device, not a stale or planted node.

    Raises:
        OSError: As open(2): ENOENT, ENXIO where the device is going away, EACCES.
        AttachError: The node is another device.
    """
    path = f"/dev/loop{number}"
    rdev = sysblock.device_number(f"loop{number}")
    if rdev is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        _make_node(path, stat.S_IFBLK, rdev)
        fd = os.open(path, flags)
    facts = os.fstat(fd)
    if stat.S_ISBLK(facts.st_mode) and facts.st_rdev == rdev:
        return fd
    os.close(fd)
    raise AttachError(
        f"{path} is not the loop device that the kernel calls loop{number}", hint=f"remove {path}"
    )


def _open_node(number: int) -> int | None:
    try:
        return open_node(number)
    except PermissionError as error:
        raise NotPermitted(f"cannot open /dev/loop{number}: {error.strerror}", hint=_HOW_TO_GO_ON) from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            return None
        raise HostError(
            f"cannot open /dev/loop{number}: {error.strerror}",
            hint="in a container pass the loop devices in, or let it make nodes (CAP_MKNOD)",
        ) from error
