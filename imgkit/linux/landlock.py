"""linux/landlock.h: a process denies itself files, execution and the network, for good (Linux 5.13 and later)."""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

READ_FILE = 1 << 2
READ_DIR = 1 << 3

# Every right of the file system that an ABI knows: all below 1 << 13, then REFER, TRUNCATE and IOCTL_DEV.
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS = 3  # BIND_TCP and CONNECT_TCP, since ABI 4
_SCOPES = 3  # abstract UNIX sockets and signals to processes outside, since ABI 6
_NET_SINCE, _SCOPES_SINCE = 4, 6

_RULESET = struct.Struct("=QQQ")
_PATH_BENEATH = struct.Struct("=Qi")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def abi_version() -> int:
    """The kernel's Landlock ABI, 1 or more.

    Raises:
        OSError: ENOSYS: the kernel has none. EOPNOTSUPP: it has, and it is switched off at boot.
    """
    none = ctypes.c_void_p(None)
    return _checked(
        _libc.syscall(_CREATE_RULESET, none, ctypes.c_size_t(0), _CREATE_RULESET_VERSION), "landlock"
    )


def create_ruleset(abi: int) -> int:
    """A ruleset that denies everything its ABI can deny; rules then allow some of it."""
    rights = _FS_RIGHTS[min(abi, max(_FS_RIGHTS))]
    net = _NET_RIGHTS if abi >= _NET_SINCE else 0
    scopes = _SCOPES if abi >= _SCOPES_SINCE else 0
    raw = _RULESET.pack(rights, net, scopes)
    size = (
        8 if abi < _NET_SINCE else 16 if abi < _SCOPES_SINCE else 24
    )  # an older kernel refuses fields it lacks
    return _checked(_libc.syscall(_CREATE_RULESET, raw, ctypes.c_size_t(size), 0), "landlock_create_ruleset")


def allow_beneath(ruleset: int, path: str, rights: int) -> None:
    """Allows `rights` on a file, or on everything beneath a folder.

    Raises:
        OSError: It cannot be reached; EINVAL: a right for folders was asked for a file.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        raw = _PATH_BENEATH.pack(rights, fd)
        result = _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, raw, 0)
        _checked(result, f"landlock_add_rule {path}")
    finally:
        os.close(fd)


def restrict_self(ruleset: int) -> None:
    """Puts the ruleset in force for the calling thread and those it will start; there is no way back.

    Raises:
        OSError: EPERM: neither no_new_privs nor CAP_SYS_ADMIN. E2BIG: sixteen are in force already.
    """
    _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
