"""The answers of the file system, over a socket pair in the place of /dev/fuse."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import MediaReadError
from imgkit.expose.file_system import LARGEST_READ, FileSystem, ServedFile
from imgkit.expose.read_ahead import ReadAhead
from imgkit.image import Image
from imgkit.linux import fuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent

MEDIA = bytes(range(256)) * 4096 + b"tail"
BAD, WORSE, SHORT = 5000, 900_000, 1_000_000


class Faulty(Image):
    """Media with a byte that cannot be read, one that meets a bug, and one where the reader gives too little."""

    format, path, size = "test", "/test", len(MEDIA)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        end = offset + len(buffer)
        if offset <= BAD < end:
            raise MediaReadError("bad", offset=BAD, length=1)
        if offset <= WORSE < end:
            raise KeyError(offset)
        buffer[:] = MEDIA[offset:end]
        return 1 if offset <= SHORT < end else len(buffer)

    def data_extents(self) -> Iterator[Extent]:
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


class Kernel:
    """The other side."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.unique = 0

    def ask(self, opcode: int, body: bytes = b"", node: int = 2) -> tuple[int, bytes]:
        """The errno and the content of the answer."""
        self.unique += 1
        head = struct.pack("=IIQQIIIHH", 40 + len(body), opcode, self.unique, node, 0, 0, 0, 0, 0)
        self.end.send(head + body)
        raw = self.end.recv(LARGEST_READ + 100)
        length, error, unique = struct.unpack_from("=IiQ", raw)
        assert (length, unique) == (len(raw), self.unique)
        return -error, raw[16:]

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        return self.ask(fuse.READ, struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0))


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def kernel(complaints: list[str]) -> Iterator[Kernel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    media = ReadAhead(Faulty(), threads=2)
    file = ServedFile("disk.dd", 77, len(MEDIA), 1_500_000_000, 5, 6)
    thread = threading.Thread(
        target=serve, args=(FileSystem(theirs.fileno(), file, media, complaints.append),)
    )
    thread.start()
    ours.settimeout(10)
    yield Kernel(ours)
    ours.close()  # a read of 0 bytes: no request, and the end of serve in serve()
    thread.join(10)
    theirs.close()
    media.close()
    assert not thread.is_alive()


def serve(system: FileSystem) -> None:
    with pytest.raises((struct.error, OSError)):  # /dev/fuse never gives less than a header
        system.serve()


def test_the_handshake(kernel: Kernel) -> None:
    error, answer = kernel.ask(fuse.INIT, struct.pack("=IIII48x", 7, 45, 131072, 0xFFFFFFFF))
    major, minor, readahead, flags, _, _, max_write, _, max_pages, *_ = struct.unpack_from(
        "=IIIIHHIIHHI", answer
    )
    assert (error, len(answer), major, minor, readahead, max_write, max_pages) == (
        0,
        64,
        7,
        31,
        131072,
        4096,
        256,
    )
    assert flags == fuse.ASYNC_READ | fuse.ASYNC_DIO | fuse.PARALLEL_DIROPS | fuse.MAX_PAGES


@pytest.mark.parametrize(("major", "minor"), [(6, 40), (8, 0), (7, 27)])
def test_a_protocol_that_is_not_spoken(kernel: Kernel, major: int, minor: int) -> None:
    assert kernel.ask(fuse.INIT, struct.pack("=IIII48x", major, minor, 0, 0)) == (errno.EPROTO, b"")


def test_names_and_attributes(kernel: Kernel) -> None:
    error, entry = kernel.ask(fuse.LOOKUP, b"disk.dd\0", node=1)
    node, generation, valid = struct.unpack_from("=QQQ", entry)
    assert (error, node, generation, valid, len(entry)) == (0, 2, 0, 10**9, 128)
    error, answer = kernel.ask(fuse.GETATTR, bytes(16))
    fields = struct.unpack_from("=QQQQQQIIIIIIIIII", answer, 16)
    assert fields[:6] == (77, len(MEDIA), -(-len(MEDIA) // 512), 1, 1, 1)
    assert fields[6:13] == (500_000_000,) * 3 + (0o100400, 1, 5, 6)
    assert entry[40:] == answer[16:]
    for name, node in ((b"other\0", 1), (b"disk.dd\0", 2), (b"disk.d\0", 1), (b"\0", 1)):
        assert kernel.ask(fuse.LOOKUP, name, node=node) == (errno.ENOENT, b"")
    assert kernel.ask(fuse.GETATTR, bytes(16), node=3)[0] == errno.ESTALE


def test_the_directory(kernel: Kernel) -> None:
    error, answer = kernel.ask(fuse.READDIR, struct.pack("=QQIIQII", 0, 0, 4096, 0, 0, 0, 0), node=1)
    assert error == 0
    assert [answer[24:25], answer[32 + 24 : 32 + 26], answer[64 + 24 : 64 + 31]] == [b".", b"..", b"disk.dd"]
    assert struct.unpack_from("=QQII", answer, 64) == (77, 3, 7, 8)
    assert kernel.ask(fuse.READDIR, struct.pack("=QQIIQII", 0, 3, 4096, 0, 0, 0, 0), node=1) == (0, b"")
    assert len(kernel.ask(fuse.READDIR, struct.pack("=QQIIQII", 0, 0, 40, 0, 0, 0, 0), node=1)[1]) == 32


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC])
def test_open_for_writing(kernel: Kernel, flags: int) -> None:
    assert kernel.ask(fuse.OPEN, struct.pack("=II", flags, 0)) == (errno.EROFS, b"")


def test_open_for_reading(kernel: Kernel) -> None:
    assert kernel.ask(fuse.OPEN, struct.pack("=II", os.O_RDONLY, 0)) == (0, struct.pack("=QII", 0, 2, 0))


def test_whatever_changes_something_is_refused(kernel: Kernel) -> None:
    changing = (4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51)
    assert {opcode: kernel.ask(opcode, bytes(64))[0] for opcode in changing} == dict.fromkeys(
        changing, errno.EROFS
    )


def test_what_is_not_offered(kernel: Kernel) -> None:
    asked = (fuse.ACCESS, fuse.FLUSH, fuse.GETXATTR, fuse.LISTXATTR, fuse.IOCTL, fuse.LSEEK, fuse.FSYNC)
    assert {kernel.ask(opcode, bytes(64))[0] for opcode in asked} == {errno.ENOSYS}


def test_requests_that_want_no_answer(kernel: Kernel) -> None:
    for opcode in (fuse.FORGET, fuse.BATCH_FORGET, fuse.INTERRUPT):
        kernel.end.send(struct.pack("=IIQQIIIHH", 48, opcode, 999, 2, 0, 0, 0, 0, 0) + bytes(8))
    assert kernel.read(0, 10) == (0, MEDIA[:10])


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 1), (4999, 1), (5001, 4096), (len(MEDIA) - 4, 4), (len(MEDIA) - 4, 4096), (len(MEDIA), 1)],
)
def test_reads(kernel: Kernel, offset: int, size: int) -> None:
    assert kernel.read(offset, size) == (0, MEDIA[offset : offset + size])


def test_a_folder_is_not_read(kernel: Kernel) -> None:
    assert kernel.ask(fuse.READ, struct.pack("=QQIIQII", 0, 0, 1, 0, 0, 0, 0), node=1)[0] == errno.EISDIR


def test_what_cannot_be_read(kernel: Kernel, complaints: list[str]) -> None:
    assert kernel.read(4096, 4096) == (errno.EIO, b"")
    assert complaints == []  # the image's own fault, and whoever reads is told


@pytest.mark.parametrize(("place", "said"), [(WORSE, "KeyError"), (SHORT, "gave 1 of 4096 bytes")])
def test_a_fault_of_the_reader_is_an_error_and_is_told(
    kernel: Kernel, complaints: list[str], place: int, said: str
) -> None:
    assert kernel.read(place - 10, 4096) == (errno.EIO, b"")
    assert said in complaints[0]
    assert kernel.read(8192, 4096) == (0, MEDIA[8192:12288])  # and it goes on
