"""Split raw: the media cut into files; all segments but the last have one size. split_names.py finds the files."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import data_ranges, fill, let_go
from imgkit.containers.segment_files import SegmentFiles
from imgkit.errors import MediaReadError, MissingSegment
from imgkit.image import Image, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent, Segment


class SplitRawImage(Image):
    """The files of a split raw set, one after the other; few of them are open at a time."""

    format = "split-raw"

    def __init__(self, path: str, paths: tuple[str, ...], *, sector_size: int | None = None) -> None:
        self.path = path
        self._files = SegmentFiles(paths)
        self.segments = self._files.segments
        try:
            _refuse_odd_sizes(self.segments)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
            self._files.close()
            raise
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
        return joined(self._data())

    def _data(self) -> Iterator[Extent]:
        for index, (start, segment) in enumerate(zip(self._starts, self.segments, strict=True)):
            if segment.size == 0:
                continue
            with self._files.opened(index, start, segment.size) as file:
                yield from data_ranges(file.fd, segment.size, path=file.path, media_offset=start)

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget."""
        end = min(offset + length, self.size)
        for index in range(bisect_right(self._starts, offset) - 1, bisect_left(self._starts, end)):
            start = self._starts[index]
            # What cannot be read needs no forgetting; the reader has been told.
            with suppress(MediaReadError), self._files.opened(index, offset, length) as file:
                let_go(file.fd, (max(0, offset - start), min(end - start, self.segments[index].size)))

    def close(self) -> None:
        """Close every file."""
        self._files.close()


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
