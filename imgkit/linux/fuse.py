"""linux/fuse.h: the requests and answers of the FUSE protocol, version 7, as read from and written to /dev/fuse.

Only what a read-only file system of files and folders needs. No policy: expose/ decides what is answered.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

DEVICE = "/dev/fuse"
KERNEL_VERSION = 7
KERNEL_MINOR = 31  # what is spoken here: max_pages came with 28; the kernel adapts to the lower of the two
SMALLEST_MINOR = 28
ROOT_ID = 1
SMALLEST_REQUEST_BUFFER = 8192  # FUSE_MIN_READ_BUFFER; enough as long as max_write is not above a page

LOOKUP, FORGET, GETATTR = 1, 2, 3
OPEN, READ, STATFS, RELEASE = 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 25, 26, 27, 28, 29
ACCESS, INTERRUPT, DESTROY = 34, 36, 38
BATCH_FORGET, LSEEK = 42, 46
GETXATTR, LISTXATTR, IOCTL, POLL = 22, 23, 39, 40
FSYNC, FSYNCDIR = 20, 30
UNANSWERED = frozenset({FORGET, BATCH_FORGET, INTERRUPT})

ASYNC_READ = 1 << 0
ASYNC_DIO = 1 << 15
PARALLEL_DIROPS = 1 << 18
MAX_PAGES = 1 << 22

FOPEN_KEEP_CACHE = 1 << 1

_IN_HEADER = struct.Struct("=IIQQIIIHH")
_OUT_HEADER = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_ATTR_OUT = struct.Struct("=QI4x")
_ENTRY_OUT = struct.Struct("=QQQQII")
_OPEN_IN = struct.Struct("=I4x")
_OPEN_OUT = struct.Struct("=QI4x")
_READ_IN = struct.Struct("=QQI")
_KSTATFS = struct.Struct("=QQQQQIII4x24x")
_DIRENT = struct.Struct("=QQII")

IN_HEADER_SIZE = _IN_HEADER.size
OUT_HEADER_SIZE = _OUT_HEADER.size


@dataclass(frozen=True, slots=True)
class Attributes:
    """struct fuse_attr: what stat shows. One time serves as all three."""

    ino: int
    size: int
    mode: int
    links: int
    uid: int
    gid: int
    time_ns: int

    def pack(self) -> bytes:
        """The bytes of the C structure; blocks of 512 bytes, blksize for readers that ask how much at a time."""
        seconds, rest = divmod(self.time_ns, 10**9)
        blocks = -(-self.size // 512)
        times = (seconds, seconds, seconds, rest, rest, rest)
        owner = (self.mode, self.links, self.uid, self.gid, 0, 4096, 0)
        return _ATTR.pack(self.ino, self.size, blocks, *times, *owner)


def request_header(request: bytes | bytearray | memoryview) -> tuple[int, int, int, int]:
    """Length, opcode, unique and nodeid of a request."""
    length, opcode, unique, nodeid, *_ = _IN_HEADER.unpack_from(request)
    return length, opcode, unique, nodeid


def init_request(request: bytes | bytearray | memoryview) -> tuple[int, int, int, int]:
    """Major, minor, max_readahead and flags that the kernel offers."""
    major, minor, readahead, flags = _INIT_IN.unpack_from(request, IN_HEADER_SIZE)
    return major, minor, readahead, flags


def init_answer(*, max_readahead: int, flags: int, max_background: int, max_pages: int) -> bytes:
    """Struct fuse_init_out; the congestion threshold is the usual three quarters."""
    return _INIT_OUT.pack(
        KERNEL_VERSION, KERNEL_MINOR, max_readahead, flags,
        max_background, max_background * 3 // 4, 4096, 1, max_pages, 0, 0,
    )  # fmt: skip


def open_flags(request: bytes | bytearray | memoryview) -> int:
    """O_* flags of an OPEN or OPENDIR."""
    (flags,) = _OPEN_IN.unpack_from(request, IN_HEADER_SIZE)
    return int(flags)


def read_request(request: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Offset and size of a READ or READDIR."""
    _, offset, size = _READ_IN.unpack_from(request, IN_HEADER_SIZE)
    return offset, size


def lookup_name(request: bytes | bytearray | memoryview, length: int) -> bytes:
    """The name that a LOOKUP asks for."""
    return bytes(request[IN_HEADER_SIZE:length]).partition(b"\0")[0]


def answer_header(unique: int, error: int = 0, length: int = 0) -> bytes:
    """The header of an answer with `length` bytes after it; `error` is an errno, or 0."""
    return _OUT_HEADER.pack(_OUT_HEADER.size + length, -error, unique)


def entry_answer(nodeid: int, valid: int, attributes: Attributes) -> bytes:
    """Struct fuse_entry_out: name and attributes hold for `valid` seconds."""
    return _ENTRY_OUT.pack(nodeid, 0, valid, valid, 0, 0) + attributes.pack()


def attributes_answer(valid: int, attributes: Attributes) -> bytes:
    """Struct fuse_attr_out."""
    return _ATTR_OUT.pack(valid, 0) + attributes.pack()


def open_answer(flags: int) -> bytes:
    """Struct fuse_open_out."""
    return _OPEN_OUT.pack(0, flags)


def statfs_answer(*, size: int, files: int, name_length: int) -> bytes:
    """Struct fuse_statfs_out: a full file system of `size` bytes."""
    return _KSTATFS.pack(-(-size // 4096), 0, 0, files, 0, 4096, name_length, 4096)


def directory_entry(ino: int, next_offset: int, kind: int, name: bytes) -> bytes:
    """Struct fuse_dirent, padded; `kind` is the file type of st_mode shifted right by 12."""
    raw = _DIRENT.pack(ino, next_offset, len(name), kind) + name
    return raw + bytes(-len(raw) % 8)


def open_device() -> int:
    """A new connection to the kernel's FUSE driver, not yet mounted.

    Raises:
        OSError: ENOENT, ENODEV: no driver. EACCES.
    """
    return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
