"""Split raw: the media cut into files; all segments but the last have one size. split_names.py finds the files."""

from __future__ import annotations

import contextlib
import errno
import resource
import stat
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import EvidenceFile, data_ranges, fill, open_evidence
from imgkit.errors import ImageError, MediaReadError, MissingSegment, NotPermitted
from imgkit.image import Image, Segment
from imgkit.linux.files import Identity, acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent

_MOST_OPEN = 128  # segments open at one time, whatever RLIMIT_NOFILE allows


class SplitRawImage(Image):
    """The files of a split raw set, one after the other; few of them are open at a time."""

    format = "split-raw"

    def __init__(self, path: str, paths: tuple[str, ...], *, sector_size: int | None = None) -> None:
        self.path = path
        self._files = _SegmentFiles(paths)
        self.segments = self._files.segments
        _refuse_odd_sizes(self.segments)
        self._starts = [0]
        for segment in self.segments:
            self._starts.append(self._starts[-1] + segment.size)
        self.size = self._starts.pop()
        self.sector_size = sector_size
        self.sector_size_source = "stated by the user" if sector_size else None
        self.metadata = {"atime_may_change": self._files.atime_may_change}

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        done = 0
        while done < len(wanted):
            position = offset + done
            index = bisect_right(self._starts, position) - 1
            inside = position - self._starts[index]
            part = wanted[done : done + self.segments[index].size - inside]
            with self._files.opened(index, position, len(part)) as file:
                fill(file.fd, inside, part, path=file.path, media_offset=position)
            done += len(part)
        return len(wanted)

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; by SEEK_DATA and SEEK_HOLE in each segment."""
        for index, (start, segment) in enumerate(zip(self._starts, self.segments, strict=True)):
            if segment.size == 0:
                continue
            with self._files.opened(index, start, segment.size) as file:
                yield from data_ranges(file.fd, segment.size, path=file.path, media_offset=start)

    def close(self) -> None:
        """Close every file."""
        self._files.close()


class _SegmentFiles:
    """Segments opened as they are needed, the longest unused closed first; each is the very file that was there at open."""

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
                self._open[index] = file = _open_segment(path)
                self.atime_may_change |= file.atime_may_change
                segments.append(file.segment)
                self._close_idle(self._most)
        except BaseException:
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
        idle = [index for index in self._open if not self._readers[index]] if surplus > 0 else []
        for index in idle[:surplus]:
            self._open.pop(index).close()

    def _reopen(self, segment: Segment, media_offset: int, length: int) -> EvidenceFile:
        try:
            file = self._open_with_room(segment.path)
        except (ImageError, NotPermitted) as error:
            raise MediaReadError(
                f"segment {segment.path} cannot be opened any more: {error}",
                offset=media_offset,
                length=length,
            ) from error
        if not file.is_same_file(segment.stat):
            file.close()
            raise MediaReadError(
                f"segment {segment.path} is not the file that was there when the image was opened",
                offset=media_offset,
                length=length,
            )
        return file

    def _open_with_room(self, path: str) -> EvidenceFile:
        """Open; where this process has no descriptor left, give back ours that idle and try once more."""
        with acting_as(self._identity):
            try:
                return open_evidence(path)
            except ImageError as error:
                cause = error.__cause__
                if not isinstance(cause, OSError) or cause.errno != errno.EMFILE:
                    raise
            self._close_idle(0)
            return open_evidence(path)


def _open_segment(path: str) -> EvidenceFile:
    file = open_evidence(path)
    if stat.S_ISREG(file.stat.st_mode):
        return file
    file.close()
    raise MissingSegment(f"{path} stands where a segment should be and is no regular file")


def _refuse_odd_sizes(segments: tuple[Segment, ...]) -> None:
    """All but the last have one size and the last is no longer: else one was cut short, or is of another set."""
    *body, last = segments
    size = Counter(segment.size for segment in body).most_common(1)[0][0]
    for segment in body:
        if segment.size != size:
            word = "short" if segment.size < size else "longer than the others"
            raise MissingSegment(
                f"segment {segment.path} is {word}: {segment.size} bytes where the others have {size}",
                hint="copy it again from the source; a set is read whole or not at all",
            )
    if last.size > size:
        raise MissingSegment(
            f"last segment {last.path} has {last.size} bytes, more than the {size} of {body[-1].path}: "
            "the ones before it are short, or it is of another set",
            hint="copy the set again from the source, or move away what is not of it",
        )
