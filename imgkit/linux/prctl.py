"""linux/prctl.h and linux/capability.h: what a process gives up, and what it keeps."""

from __future__ import annotations

import ctypes
import os
import struct

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38

CAP_DAC_READ_SEARCH = 2
CAP_FOWNER = 3

_CAPABILITY_VERSION_3 = 0x20080522
_HEADER = struct.Struct("=Ii")
_DATA = struct.Struct("=6I")  # effective, permitted, inheritable of the low word, then of the high one

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def set_no_new_privs() -> None:
    """No exec gives this process rights it does not have."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def set_keep_capabilities(*, keep: bool) -> None:
    """Whether the calling thread's permitted capabilities survive setuid to an ordinary user."""
    _checked(_libc.prctl(PR_SET_KEEPCAPS, int(keep), 0, 0, 0), "keepcaps")


def set_capabilities(kept: frozenset[int]) -> None:
    """The calling thread keeps exactly these capabilities, effective and permitted; none is inherited.

    Raises:
        OSError: EPERM: one of them is not permitted now.
    """
    low = sum(1 << number for number in kept)
    data = _DATA.pack(low, low, 0, 0, 0, 0)
    _checked(_libc.capset(_HEADER.pack(_CAPABILITY_VERSION_3, 0), data), "capset")


def set_undumpable() -> None:
    """No core dump, and other processes of this user may neither trace it nor look into its memory."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
