"""linux/loop.h: structures, numbers, and one function per ioctl. No policy: attachment/ decides what is asked for.

Every function raises OSError as the kernel gave it. LOOP_CHANGE_FD is left out: it swaps the file below a bound device.
"""

from __future__ import annotations

import fcntl
import struct
from dataclasses import dataclass

LOOP_CLR_FD = 0x4C01
LOOP_SET_STATUS64 = 0x4C04
LOOP_GET_STATUS64 = 0x4C05
LOOP_CONFIGURE = 0x4C0A  # since 5.8
LOOP_CTL_ADD = 0x4C80
LOOP_CTL_GET_FREE = 0x4C82

LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_PARTSCAN = 8
LO_FLAGS_DIRECT_IO = 16

LOOP_CONTROL = "/dev/loop-control"
LO_NAME_SIZE = 64  # with the closing NUL

_INFO64 = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIG = struct.Struct("=II232s64s")


@dataclass(frozen=True, slots=True)
class LoopInfo64:
    """struct loop_info64, 232 bytes; the encryption fields are gone from the kernel and always sent as zeros.

    Attributes:
        lo_device: st_dev of the backing file, as the kernel's stat gives it.
        lo_inode: st_ino of the backing file.
        lo_rdevice: st_rdev of a backing block device.
        lo_offset: First byte of the backing file.
        lo_sizelimit: Bytes at most; 0 is no limit.
        lo_number: The N of /dev/loopN (read only).
        lo_flags: LO_FLAGS_*.
        lo_file_name: Free text of whoever bound the device, 63 bytes at most.
    """

    lo_device: int = 0
    lo_inode: int = 0
    lo_rdevice: int = 0
    lo_offset: int = 0
    lo_sizelimit: int = 0
    lo_number: int = 0
    lo_flags: int = 0
    lo_file_name: bytes = b""

    def pack(self) -> bytes:
        """The bytes of the C structure."""
        numbers = (self.lo_device, self.lo_inode, self.lo_rdevice, self.lo_offset, self.lo_sizelimit)
        name = self.lo_file_name[: LO_NAME_SIZE - 1]
        return _INFO64.pack(*numbers, self.lo_number, 0, 0, self.lo_flags, name, b"", b"", 0, 0)

    @classmethod
    def unpack(cls, raw: bytes | bytearray) -> LoopInfo64:
        """Read the C structure."""
        device, inode, rdevice, offset, limit, number, _, _, flags, name, *_ = _INFO64.unpack(raw)
        return cls(device, inode, rdevice, offset, limit, number, flags, name.split(b"\0", 1)[0])


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """struct loop_config, 304 bytes.

    Attributes:
        fd: Descriptor of the backing file; its open mode decides, with lo_flags, what the device may do.
        block_size: Logical block of the device in bytes; 0 lets the kernel choose.
        info: As for LOOP_SET_STATUS64.
    """

    fd: int
    block_size: int
    info: LoopInfo64

    def pack(self) -> bytes:
        """The bytes of the C structure."""
        return _CONFIG.pack(self.fd, self.block_size, self.info.pack(), b"")


def loop_ctl_get_free(control: int) -> int:
    """Number of an unbound device, made where there is none; free only until somebody else binds it."""
    return fcntl.ioctl(control, LOOP_CTL_GET_FREE, 0)


def loop_ctl_add(control: int, number: int = -1) -> int:
    """Make a device of that number (-1: the first that does not exist); return its number."""
    return fcntl.ioctl(control, LOOP_CTL_ADD, number)


def loop_configure(fd: int, config: LoopConfig) -> None:
    """Bind the device `fd` in one step.

    Raises:
        OSError: EBUSY where it is bound already, ENXIO where it is going away, EINVAL for a bad block size or before 5.8.
    """
    fcntl.ioctl(fd, LOOP_CONFIGURE, config.pack())


def loop_get_status64(fd: int) -> LoopInfo64:
    """What the device is bound to.

    Raises:
        OSError: ENXIO where it is unbound; the backing file system's own errors, for the kernel asks it for a stat.
    """
    buffer = bytearray(_INFO64.size)
    fcntl.ioctl(fd, LOOP_GET_STATUS64, buffer)
    return LoopInfo64.unpack(buffer)


def loop_set_status64(fd: int, info: LoopInfo64) -> None:
    """Rewrite offset, limit, name and the settable flags (AUTOCLEAR both ways; READ_ONLY neither way)."""
    fcntl.ioctl(fd, LOOP_SET_STATUS64, bytearray(info.pack()))


def loop_clr_fd(fd: int) -> None:
    """Unbind the device with its last close: success says no more than that."""
    fcntl.ioctl(fd, LOOP_CLR_FD, 0)
