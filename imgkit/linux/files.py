"""What Python's os lacks for files: fallocate, renameat2, statfs, adjtimex, leases, and another user's eyes (fsuid)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import signal
import stat
import struct
from dataclasses import dataclass
from io import BufferedReader, FileIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FALLOC_FL_KEEP_SIZE = 0x01  # linux/falloc.h
RENAME_NOREPLACE = 1 << 0  # linux/fs.h
AT_FDCWD = -100  # linux/fcntl.h
STA_UNSYNC = 0x0040  # linux/timex.h

# linux/magic.h, and fs/smb/client/cifsglob.h
NFS_SUPER_MAGIC = 0x6969
SMB_SUPER_MAGIC = 0x517B
CIFS_SUPER_MAGIC = 0xFF534D42
SMB2_SUPER_MAGIC = 0xFE534D42
V9FS_MAGIC = 0x01021997
FUSE_SUPER_MAGIC = 0x65735546
TMPFS_MAGIC = 0x01021994
OVERLAYFS_SUPER_MAGIC = 0x794C7630

# glibc's setgroups() signals every thread to follow; only the raw system call changes the calling thread alone.
_SYS_SETGROUPS = {
    "x86_64": 116,
    "aarch64": 159,
    "riscv64": 159,
    "loongarch64": 159,
    "ppc64le": 81,
    "ppc64": 81,
    "s390x": 206,
}

_TIMEX = struct.Struct(
    "@Illlli"
)  # struct timex up to status: modes, offset, freq, maxerror, esterror, status
_KEEP = 0xFFFFFFFF  # (uid_t)-1: setfsuid and setfsgid change nothing and return the present value


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    libc.renameat2.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    libc.adjtimex.argtypes = (ctypes.c_void_p,)
    libc.setfsuid.argtypes = (ctypes.c_uint,)
    libc.setfsgid.argtypes = (ctypes.c_uint,)
    libc.syscall.restype = ctypes.c_long
    return libc


def _check(returned: int, path: str | bytes | os.PathLike[str] | None = None) -> int:
    """Return what libc returned, or raise the OSError of its errno (names the path where one is given)."""
    if returned != -1:
        return returned
    number = ctypes.get_errno()
    if path is None:
        raise OSError(number, os.strerror(number))
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def open_regular(
    path: str | os.PathLike[str], *, follow: bool = False, buffering: int = 1 << 16
) -> BufferedReader:
    """Open a regular file to read; a FIFO in its place makes nobody wait, and a folder leaves no descriptor behind.

    Args:
        path: The file.
        follow: Whether a symbolic link at its end is followed: for a path that a person names, not for one we made.
        buffering: Bytes read at a time.

    Raises:
        OSError: As the kernel says (ELOOP: a symbolic link); EISDIR, EINVAL: it is something else.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        return BufferedReader(FileIO(fd), buffering)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        os.close(fd)
        raise


def fallocate_keep_size(fd: int, offset: int, length: int) -> None:
    """Reserve storage for bytes [offset, offset + length) of the file without changing its size.

    Raises:
        OSError: ENOSPC, EDQUOT: no room. EOPNOTSUPP: the file system cannot reserve. EFBIG: RLIMIT_FSIZE or too big.
    """
    _check(_libc().fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length))


def renameat2_noreplace(
    old: str | bytes, new: str | bytes, *, old_dir_fd: int = AT_FDCWD, new_dir_fd: int = AT_FDCWD
) -> None:
    """Rename `old` to `new`, which must not exist.

    Raises:
        OSError: EEXIST: `new` exists. EINVAL: the file system does not know RENAME_NOREPLACE.
    """
    _check(
        _libc().renameat2(old_dir_fd, os.fsencode(old), new_dir_fd, os.fsencode(new), RENAME_NOREPLACE), new
    )


def statfs_type(where: str | bytes | int) -> int:
    """Return the magic number (linux/magic.h) of the file system that holds a path or an open descriptor."""
    buffer = ctypes.create_string_buffer(
        512
    )  # struct statfs has 120 bytes on 64-bit Linux; f_type comes first
    if isinstance(where, int):
        _check(_libc().fstatfs(where, buffer))
    else:
        _check(_libc().statfs(os.fsencode(where), buffer), where)
    word = "@I" if os.uname().machine == "s390x" else "@L"
    return int(struct.unpack_from(word, buffer)[0]) & 0xFFFFFFFF


def clock_unsynchronised() -> bool:
    """Whether the kernel says that nothing disciplines its clock (adjtimex: STA_UNSYNC)."""
    buffer = ctypes.create_string_buffer(
        512
    )  # struct timex has 208 bytes on 64-bit Linux; modes = 0 only reads
    _check(_libc().adjtimex(buffer))
    return bool(_TIMEX.unpack_from(buffer)[5] & STA_UNSYNC)


def take_read_lease(fd: int) -> None:
    """Take a read lease: later writers wait until it is released (fcntl(2), F_SETLEASE).

    The breaking signal is SIGURG, which does nothing by default; F_SETLEASE's own default SIGIO would kill us.

    Raises:
        OSError: EAGAIN: somebody has the file open for writing. EACCES: not the owner. EINVAL: not supported.
    """
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def release_lease(fd: int) -> None:
    """Give the lease of this open file up.

    Raises:
        OSError: EAGAIN: there is none.
    """
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose rights a file is opened with.

    Attributes:
        uid: User id.
        gid: Primary group id: the group of files made.
        groups: Supplementary group ids, kept sorted.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(sorted(set(self.groups))))  # as the kernel returns them

    @classmethod
    def of_thread(cls) -> Identity:
        """The identity with which the calling thread touches files now."""
        libc = _libc()
        uid, gid = libc.setfsuid(_KEEP), libc.setfsgid(_KEEP)
        return cls(uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, tuple(os.getgroups()))


def owner_of_place(folder: str) -> Identity | None:
    """With whose rights root touches files in a folder: its owner's, so that no symlink there leads into the system.

    None where we are not root, or the folder (or its nearest existing ancestor that we see) is root's.
    """
    if os.geteuid() != 0:
        return None
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    facts = os.stat(folder)
    return Identity(facts.st_uid, facts.st_gid, (facts.st_gid,)) if facts.st_uid else None


@contextlib.contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Touch files as `identity`, in the calling thread alone, until the block ends; None changes nothing.

    The effective uid stays: ioctls and mounts go on as before. Nests.

    Raises:
        OSError: EPERM: the thread may not become that user. ENOSYS: the machine's setgroups number is not known.
    """
    before = Identity.of_thread() if identity is not None else None
    if identity is None or before is None or identity == before:
        yield
        return
    try:
        _become(identity)
        yield
    finally:
        _become(before)


def _become(identity: Identity) -> None:
    """Change the calling thread's groups, fsgid and fsuid; each is read back, for two of the calls report no error."""
    libc = _libc()
    if tuple(sorted(set(os.getgroups()))) != identity.groups:
        _set_groups(identity.groups)
    libc.setfsgid(identity.gid)
    libc.setfsuid(identity.uid)
    now = Identity.of_thread()
    if (now.uid, now.gid) != (identity.uid, identity.gid):
        raise OSError(errno.EPERM, f"cannot act as user {identity.uid}, group {identity.gid}")


def _set_groups(groups: tuple[int, ...]) -> None:
    machine = os.uname().machine
    if machine not in _SYS_SETGROUPS:
        raise OSError(errno.ENOSYS, f"setgroups of one thread is not known on {machine}")
    array = (ctypes.c_uint * len(groups))(*groups)
    _check(
        _libc().syscall(
            ctypes.c_long(_SYS_SETGROUPS[machine]), ctypes.c_long(len(groups)), ctypes.byref(array)
        )
    )
