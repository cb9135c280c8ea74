"""linux/fs.h: what a block device says about itself. One function per ioctl, no policy.

Every function takes a descriptor of the device (any open mode) and raises OSError as the kernel gave it.
"""

from __future__ import annotations

import fcntl
import struct

BLKROGET = 0x125E
BLKFLSBUF = 0x1261
BLKSSZGET = 0x1268
BLKGETSIZE64 = 0x80081272
BLKGETDISKSEQ = 0x80081280  # since 5.15; ENOTTY before


def _read(fd: int, request: int, layout: str) -> int:
    buffer = bytearray(struct.calcsize(layout))
    fcntl.ioctl(fd, request, buffer)
    value: int = struct.unpack(layout, buffer)[0]
    return value


def blkroget(fd: int) -> bool:
    """Whether the kernel refuses writes to the device."""
    return _read(fd, BLKROGET, "=i") != 0


def blksszget(fd: int) -> int:
    """Bytes of a logical block."""
    return _read(fd, BLKSSZGET, "=i")


def blkgetsize64(fd: int) -> int:
    """Bytes of the device."""
    return _read(fd, BLKGETSIZE64, "=Q")


def blkgetdiskseq(fd: int) -> int:
    """Number of this use of the device, never given twice since boot.

    Raises:
        OSError: ENOTTY before Linux 5.15.
    """
    return _read(fd, BLKGETDISKSEQ, "=Q")


def blkflsbuf(fd: int) -> None:
    """Drop the device's clean cached pages, so that the next read asks what lies below. Needs CAP_SYS_ADMIN."""
    fcntl.ioctl(fd, BLKFLSBUF, 0)
