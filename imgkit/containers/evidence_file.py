"""EvidenceFile: one file or block device, opened read-only for good; the only place in containers/ that opens evidence."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from typing import TYPE_CHECKING

from imgkit.errors import ImageError, MediaReadError, NotPermitted, UnknownFormat
from imgkit.image import Extent, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEAR = 65536  # bytes between two ranges that are let go with them
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFSOCK: "a socket",
}


class EvidenceFile:
    """A regular file or block device, open O_RDONLY | O_CLOEXEC and, where the kernel lets us, O_NOATIME.

    Attributes:
        path: Absolute path as opened.
        fd: The descriptor; -1 once closed.
        stat: fstat of it at open; a block device has st_size 0.
        atime_may_change: O_NOATIME was refused: reading may change the access time.
    """

    __slots__ = ("atime_may_change", "fd", "path", "stat")

    def __init__(self, path: str, fd: int, *, atime_may_change: bool) -> None:
        self.path = path
        self.fd = fd
        self.stat = os.fstat(fd)
        self.atime_may_change = atime_may_change

    @property
    def is_block_device(self) -> bool:
        """Whether it is a block device and not a regular file."""
        return stat.S_ISBLK(self.stat.st_mode)

    @property
    def segment(self) -> Segment:
        """What `Image.segments` says of this file."""
        return Segment(self.path, self.stat.st_size, self.stat)

    def is_same_file(self, other: os.stat_result) -> bool:
        """Whether `other` is of the same inode."""
        return (self.stat.st_dev, self.stat.st_ino) == (other.st_dev, other.st_ino)

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes of the file as it lies that are none of the media, fewer at its end; raises as `fill` does."""
        buffer = bytearray(max(0, min(length, self.stat.st_size - offset)))
        fill(self.fd, offset, memoryview(buffer), path=self.path, media_offset=0)
        return bytes(buffer)

    def close(self) -> None:
        """Close the descriptor. Closing twice is allowed."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def open_evidence(path: str) -> EvidenceFile:
    """Open `path` (absolute) as evidence.

    Never blocks on a FIFO and never opens a character device: opening one can have effects (tapes, watchdogs).

    Raises:
        UnknownFormat: A directory, FIFO, character device or socket.
        NotPermitted: EACCES or EPERM.
        ImageError: No such file, or whatever else the kernel says.
    """
    try:
        _refuse_other_kinds(path, os.stat(path))
        fd, noatime = _open_read_only(path)
    except OSError as error:
        raise _cannot_open(path, error) from error
    file = EvidenceFile(path, fd, atime_may_change=not noatime)
    try:
        # The name may have become a FIFO between stat and open: what counts is what was opened.
        _refuse_other_kinds(path, file.stat)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        file.close()
        raise
    return file


def fill(fd: int, offset: int, buffer: memoryview, *, path: str, media_offset: int) -> None:
    """Fill the whole `buffer` from `offset` of the file, which is `media_offset` of the media.

    Raises:
        MediaReadError: The kernel failed, or the file ends before the buffer is full.
    """
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(fd, [buffer[done:]], offset + done)
        except OSError as error:
            raise MediaReadError(
                f"cannot read {len(buffer) - done} bytes at {offset + done} of {path}: {error.strerror}",
                offset=media_offset + done,
                length=len(buffer) - done,
                errno=error.errno,
            ) from error
        if count == 0:
            raise _shorter(path, offset + done, media_offset + done, len(buffer) - done)
        done += count


def fill_past_cache(file: EvidenceFile, offset: int, buffer: memoryview, *, media_offset: int) -> None:
    """As `fill`, for whole sectors: what the page cache lacks is asked of the disk itself.

    A page of the cache holds several sectors, and one that is bad takes the others along.
    """
    if _is_cached(file.fd, offset, buffer):
        return
    aligned = memoryview(mmap.mmap(-1, len(buffer)))
    try:
        fd = os.open(f"/proc/self/fd/{file.fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:  # no /proc, or no way past the cache
        fill(file.fd, offset, buffer, path=file.path, media_offset=media_offset)
        return
    try:
        fill(fd, offset, aligned, path=file.path, media_offset=media_offset)
        buffer[:] = aligned
    except MediaReadError as error:
        if error.errno != errno.EINVAL:
            raise
        # Less than a sector of the disk, whatever the examiner stated.
        fill(file.fd, offset, buffer, path=file.path, media_offset=media_offset)
    finally:
        os.close(fd)


def _is_cached(fd: int, offset: int, buffer: memoryview) -> bool:
    """Fill the buffer from the page cache alone; False where it is not all there, or the kernel cannot say."""
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT) == len(buffer)
    except OSError:
        return False


def let_go(fd: int, *ranges: tuple[int, int]) -> None:
    """Tell the kernel that these [start, end) of the file will not be read again soon; neighbours together.

    The kernel lets go of whole pages only: of clusters that share one, each by itself would leave it.
    """
    start = end = 0
    for first, after in sorted(item for item in ranges if item[0] < item[1]):
        if first > end + _NEAR:
            _advise(fd, start, end)
            start, end = first, after
        end = max(end, after)
    _advise(fd, start, end)


def _advise(fd: int, start: int, end: int) -> None:
    if start < end:  # a length of 0 would mean: to the end of the file
        os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)


def data_ranges(fd: int, size: int, *, path: str, media_offset: int, first: int = 0) -> Iterator[Extent]:
    """Yield the extents of the media that hold data, of a file of `size` bytes which lies at `media_offset` of the media.

    What lies before byte `first` of the file is left out.

    Raises:
        MediaReadError: The file has become shorter: what is gone must not pass for a hole.
    """
    position = first
    while position < size:
        found = _next_data(fd, position, size)
        if found is None:
            break
        start, end = found
        yield Extent(media_offset + start, end - start)
        position = end
    if not stat.S_ISBLK(os.fstat(fd).st_mode) and (now := os.fstat(fd).st_size) < size:
        raise _shorter(path, now, media_offset + now, size - now)


def _next_data(fd: int, position: int, size: int) -> tuple[int, int] | None:
    """The next [start, end) of data from `position`, or None where only a hole is left."""
    try:
        start = os.lseek(fd, position, os.SEEK_DATA)
        end = os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        return position, size  # the file system does not tell (EINVAL): all of it may be data
    if start >= size:
        return None
    # A file system that answers nonsense costs time, never bytes.
    return (start, min(end, size)) if position <= start < end else (position, size)


def _shorter(path: str, offset: int, media_offset: int, length: int) -> MediaReadError:
    return MediaReadError(
        f"{path} ends at {offset}: it is shorter than when it was opened",
        offset=media_offset,
        length=length,
        hint="something changes the image: stop it, and verify the image before going on",
    )


def _open_read_only(path: str) -> tuple[int, bool]:
    """Return (descriptor, whether with O_NOATIME)."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        try:
            return os.open(path, flags | os.O_NOATIME), True
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
            return os.open(path, flags), False
    except BlockingIOError:
        # A write lease (a file server's oplock) is being broken: wait for it as any reader does.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), False


def _refuse_other_kinds(path: str, found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind in {stat.S_IFREG, stat.S_IFBLK}:
        return
    hint = "name a file in it" if kind == stat.S_IFDIR else None
    raise UnknownFormat(
        f"cannot open {path} as an image: it is {_KINDS.get(kind, 'no file')}, not a file or block device",
        hint=hint,
    )


def _cannot_open(path: str, error: OSError) -> ImageError | NotPermitted:
    message = f"cannot open {path}: {error.strerror}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return NotPermitted(
            message, hint="read permission is needed on the file and search permission above it"
        )
    if error.errno == errno.ENOMEDIUM:
        return ImageError(message, hint="insert the medium")
    return ImageError(message)
