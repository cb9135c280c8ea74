"""SegmentFiles: the files of a set, few of them open at a time, each the very file that was there at open."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import threading
from collections import Counter, OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import EvidenceFile, open_evidence
from imgkit.errors import ImageError, MediaReadError, MissingSegment, NotPermitted, UnknownFormat
from imgkit.linux.files import Identity, acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Segment

_MOST_OPEN = 128  # segments open at one time, whatever RLIMIT_NOFILE allows


class SegmentFiles:
    """Segments opened as they are needed, the longest unused closed first; each is the very file that was there at open.

    Safe from several threads at once.

    Attributes:
        segments: The facts of each file, in the order of `paths`.
        atime_may_change: At least one is read without O_NOATIME.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = _MOST_OPEN if limit < 0 else max(1, min(_MOST_OPEN, limit // 4))
        self._lock = threading.Lock()
        self._open: OrderedDict[int, EvidenceFile] = OrderedDict()  # the longest unused first
        self._readers: Counter[int] = Counter()
        self._closed = False
        # Any thread may have to open a segment again: with the rights of the one that opened the set.
        self._identity = Identity.of_thread()
        self.atime_may_change = False
        segments = []
        try:
            for index, path in enumerate(paths):
                self._open[index] = file = self._open_regular(path)
                self.atime_may_change |= file.atime_may_change
                segments.append(file.segment)
                self._close_idle(self._most)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
            self.close()
            raise
        self.segments = tuple(segments)

    @contextlib.contextmanager
    def opened(self, index: int, media_offset: int, length: int) -> Iterator[EvidenceFile]:
        """Lend an open segment to a reader; it is not closed meanwhile.

        Raises:
            MediaReadError: For the media range given: the file cannot be opened any more or is another one.
        """
        with self._lock:
            if self._closed:
                msg = "read of a closed image"
                raise ValueError(msg)
            if index not in self._open:
                self._open[index] = self._reopen(self.segments[index], media_offset, length)
            self._open.move_to_end(index)
            self._readers[index] += 1
            file = self._open[index]
        try:
            yield file
        finally:
            with self._lock:
                self._readers[index] -= 1
                self._close_idle(self._most)

    def close(self) -> None:
        """Close every file; one that is being read is closed when its reader is done."""
        with self._lock:
            self._closed = True
            self._most = 0
            self._close_idle(0)

    def _close_idle(self, most: int) -> None:
        """Close the longest unused until `most` are open, as far as nobody reads them; the lock is held."""
        surplus = len(self._open) - most
        if surplus <= 0:
            return
        # No further than needed: a set of thousands of segments comes by here once for each.
        for index in tuple(islice((index for index in self._open if not self._readers.get(index)), surplus)):
            self._open.pop(index).close()

    def _reopen(self, segment: Segment, media_offset: int, length: int) -> EvidenceFile:
        try:
            # A process that has given up root for good (expose) opens with what it kept.
            with acting_as(self._identity if os.geteuid() == 0 else None):
                file = self._open_with_room(segment.path)
        except (ImageError, NotPermitted) as error:
            raise MediaReadError(
                f"segment {segment.path} cannot be opened any more: {error}",
                offset=media_offset,
                length=length,
            ) from error
        reason = _not_the_same(file.stat, segment.stat)
        if reason:
            file.close()
            raise MediaReadError(
                f"segment {segment.path} {reason}",
                offset=media_offset,
                length=length,
                hint="something changes the image: stop it, and verify the image before going on",
            )
        return file

    def _open_regular(self, path: str) -> EvidenceFile:
        none = MissingSegment(f"{path} stands where a segment should be and is no regular file")
        try:
            file = self._open_with_room(path)
        except UnknownFormat as error:  # a folder, a FIFO
            raise none from error
        except ImageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise MissingSegment(f"{path} is there as a name only: it leads to no file") from error
        if stat.S_ISREG(file.stat.st_mode):
            return file
        file.close()
        raise none

    def _open_with_room(self, path: str) -> EvidenceFile:
        """Open; where this process has no descriptor left, give back ours that idle and try once more."""
        try:
            return open_evidence(path)
        except ImageError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EMFILE:
                raise
        self._close_idle(0)
        return open_evidence(path)


def _not_the_same(now: os.stat_result, at_open: os.stat_result) -> str:
    """Why a file that was opened again may not be read on; empty where it is the one that was there at open."""
    if (now.st_dev, now.st_ino) != (at_open.st_dev, at_open.st_ino):
        return "is not the file that was there when the image was opened"
    # A file that was removed often hands its inode number to the next one: of another set, it may fit chunk for chunk.
    if (now.st_size, now.st_mtime_ns) != (at_open.st_size, at_open.st_mtime_ns):
        return "was changed or replaced since the image was opened"
    return ""
