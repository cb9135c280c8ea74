"""The file system that the kernel sees: one folder, in it one read-only file, whose bytes are an image's media."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import MediaReadError
from imgkit.linux import fuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgkit.expose.read_ahead import ReadAhead

LARGEST_READ = 1 << 20
_FILE_ID = 2
_FOR_EVER = 10**9  # seconds that names and attributes hold: nothing here ever changes
_MOST_UNANSWERED = 64  # read-ahead and direct requests that the kernel may have under way
_BUFFER = fuse.SMALLEST_REQUEST_BUFFER + 4096
_NAME_LIMIT = 255

# What the kernel may ask and gets ENOSYS for: it remembers that and does as if the answer were "nothing special".
_NOT_OFFERED = frozenset({
    fuse.ACCESS, fuse.FLUSH, fuse.FSYNC, fuse.FSYNCDIR, fuse.GETXATTR, fuse.LISTXATTR, fuse.IOCTL, fuse.POLL, fuse.LSEEK,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServedFile:
    """What stat shows of the file.

    Attributes:
        name: Its one name.
        ino: Its inode number.
        size: Bytes.
        time_ns: Of its last change, as of the image.
        uid, gid: Whose it is: nobody else may read it.
    """

    name: str
    ino: int
    size: int
    time_ns: int
    uid: int
    gid: int


class FileSystem:
    """Answers the kernel's requests on a FUSE connection until it is unmounted. serve() runs in several threads at once.

    Args:
        connection: Descriptor of /dev/fuse.
        file: What is shown.
        media: Its bytes.
        complain: Called with a sentence where a read fails in a way that no reader of images should.
    """

    def __init__(
        self, connection: int, file: ServedFile, media: ReadAhead, complain: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._file = file
        self._media = media
        self._complain = complain
        self._name = os.fsencode(file.name)
        self._attributes = {
            fuse.ROOT_ID: self._of(fuse.ROOT_ID, stat.S_IFDIR | 0o500, 0, 2),
            _FILE_ID: self._of(file.ino, stat.S_IFREG | 0o400, file.size, 1),
        }
        self._answers: dict[int, Callable[[memoryview, int], Sequence[bytes | memoryview] | int]] = {
            fuse.INIT: self._init,
            fuse.LOOKUP: self._lookup,
            fuse.GETATTR: self._getattr,
            fuse.OPEN: self._open,
            fuse.READ: self._read,
            fuse.RELEASE: _done,
            fuse.OPENDIR: self._open,
            fuse.READDIR: self._readdir,
            fuse.RELEASEDIR: _done,
            fuse.STATFS: self._statfs,
            fuse.DESTROY: _done,
        }

    def _of(self, ino: int, mode: int, size: int, links: int) -> fuse.Attributes:
        return fuse.Attributes(ino, size, mode, links, self._file.uid, self._file.gid, self._file.time_ns)

    def serve(self) -> None:
        """Answer requests until the connection ends.

        Raises:
            OSError: The kernel does not take what is said here: a fault of this program.
        """
        buffer = bytearray(_BUFFER)
        view = memoryview(buffer)
        while True:
            try:
                length = os.readv(self._connection, [buffer])
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted, or aborted
                    return
                if error.errno == errno.ENOENT:  # the request was given up before it was read
                    continue
                raise
            self._serve_one(view[:length])

    def _serve_one(self, request: memoryview) -> None:
        _, opcode, unique, nodeid = fuse.request_header(request)
        if opcode in fuse.UNANSWERED:
            return
        answer = self._answers.get(opcode)
        if answer is None:
            self._say(unique, errno.ENOSYS if opcode in _NOT_OFFERED else errno.EROFS)
            return
        promise = _Answered(self, unique)
        with promise:
            content = answer(request, nodeid)
            promise.kept = True
            self._say(unique, content)

    def _say(self, unique: int, content: Sequence[bytes | memoryview] | int) -> None:
        """Send an answer: an errno, or its content."""
        if isinstance(content, int):
            parts: list[bytes | memoryview] = [fuse.answer_header(unique, content)]
        else:
            parts = [fuse.answer_header(unique, 0, sum(map(len, content))), *content]
        try:
            os.writev(self._connection, parts)
        except OSError as error:
            # Given up by who asked, or unmounted meanwhile: the next read of the connection tells.
            if error.errno not in {errno.ENOENT, errno.ENODEV}:
                raise

    def _failed(self, unique: int, error: BaseException) -> None:
        """A request that ends in an exception is answered all the same: EIO, and never a byte."""
        if not isinstance(error, MediaReadError):
            self._complain(f"{type(error).__name__} while serving {self._file.name}: {error}")
        self._say(unique, errno.EIO)

    def _init(self, request: memoryview, _nodeid: int) -> Sequence[bytes] | int:
        major, minor, readahead, offered = fuse.init_request(request)
        if major != fuse.KERNEL_VERSION or minor < fuse.SMALLEST_MINOR:
            return errno.EPROTO
        flags = offered & (fuse.ASYNC_READ | fuse.ASYNC_DIO | fuse.PARALLEL_DIROPS | fuse.MAX_PAGES)
        return [
            fuse.init_answer(
                max_readahead=readahead,
                flags=flags,
                max_background=_MOST_UNANSWERED,
                max_pages=LARGEST_READ // 4096,
            )
        ]

    def _lookup(self, request: memoryview, nodeid: int) -> Sequence[bytes] | int:
        if nodeid != fuse.ROOT_ID or fuse.lookup_name(request, len(request)) != self._name:
            return errno.ENOENT
        return [fuse.entry_answer(_FILE_ID, _FOR_EVER, self._attributes[_FILE_ID])]

    def _getattr(self, _request: memoryview, nodeid: int) -> Sequence[bytes] | int:
        attributes = self._attributes.get(nodeid)
        return errno.ESTALE if attributes is None else [fuse.attributes_answer(_FOR_EVER, attributes)]

    def _open(self, request: memoryview, _nodeid: int) -> Sequence[bytes] | int:
        flags = fuse.open_flags(request)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            return errno.EROFS
        return [fuse.open_answer(fuse.FOPEN_KEEP_CACHE)]

    def _read(self, request: memoryview, nodeid: int) -> Sequence[memoryview] | int:
        if nodeid != _FILE_ID:
            return errno.EISDIR
        offset, size = fuse.read_request(request)
        return self._media.read(offset, size)

    def _readdir(self, request: memoryview, _nodeid: int) -> Sequence[bytes]:
        offset, size = fuse.read_request(request)
        folder, file = stat.S_IFDIR >> 12, stat.S_IFREG >> 12
        entries = ((1, folder, b"."), (1, folder, b".."), (self._file.ino, file, self._name))
        answer = b""
        for number, (ino, kind, name) in enumerate(entries[offset:], offset + 1):
            entry = fuse.directory_entry(ino, number, kind, name)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return [answer]

    def _statfs(self, _request: memoryview, _nodeid: int) -> Sequence[bytes]:
        return [fuse.statfs_answer(size=self._file.size, files=1, name_length=_NAME_LIMIT)]


def _done(_request: memoryview, _nodeid: int) -> Sequence[bytes]:
    return []


class _Answered:
    """A promise to the kernel: whatever happens inside, the request is answered, and the thread goes on.

    Attributes:
        kept: The answer was found; what goes wrong from here on is the connection's.
    """

    def __init__(self, system: FileSystem, unique: int) -> None:
        self._system = system
        self._unique = unique
        self.kept = False

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None or self.kept:
            return False
        self._system._failed(self._unique, error)
        return True
