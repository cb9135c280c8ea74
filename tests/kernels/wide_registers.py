"""Starts User-Mode Linux on processors whose register state is larger than Linux 6.1's UML knows (AMX).

There PTRACE_SETREGSET refuses UML's too short buffer and the guest's init dies. With a seccomp filter that makes
PTRACE_GETREGSET fail, UML takes the older calls, which carry the SSE registers only; so the guest's programs must be
told to leave AVX alone: ENVIRONMENT does that for glibc and OpenSSL.

usage: wide_registers.py PROGRAM [ARGUMENT]...
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_NO_AVX = (
    "AVX",
    "AVX2",
    "AVX_Fast_Unaligned_Load",
    "AVX512F",
    "AVX512VL",
    "AVX512BW",
    "AVX512CD",
    "AVX512DQ",
)
ENVIRONMENT = (
    "GLIBC_TUNABLES=glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in _NO_AVX),
    # The bits of AVX and OSXSAVE (CPUID 1, ECX), AVX2 and AVX-512 (CPUID 7, EBX).
    "OPENSSL_ia32cap=~0x1800000000000000:~0xd0230020",
)

SYMPTOM = "set fp regs failed"  # what UML prints where it happens

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
_PTRACE, _PTRACE_GETREGSET = 101, 0x4204
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EIO = 0x7FFF0000, 0x00050005

# struct sock_filter {u16 code; u8 jt, jf; u32 k}: offset 0 of seccomp_data is the call, 16 its first argument.
_FILTER = b"".join(
    struct.pack("=HBBI", *line)
    for line in (
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 3, _PTRACE),
        (_LOAD, 0, 0, 16),
        (_JUMP_IF_EQUAL, 0, 1, _PTRACE_GETREGSET),
        (_RETURN, 0, 0, _EIO),
        (_RETURN, 0, 0, _ALLOW),
    )
)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def needed() -> bool:
    """Whether this processor is known to have the larger state; of others the symptom tells."""
    return "amx_tile" in Path("/proc/cpuinfo").read_text().split()


def _refuse_getregset() -> None:
    code = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    program = _Program(len(_FILTER) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl refused the filter")


if __name__ == "__main__":
    _refuse_getregset()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - a program of the test's own choice
