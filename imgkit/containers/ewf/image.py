"""EwfImage: the media of an E01 set. https://github.com/libyal/libewf/blob/main/documentation/ ("EWF specification")."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import let_go
from imgkit.containers.ewf.ahead import ReadAhead
from imgkit.containers.ewf.cache import ChunkCache
from imgkit.containers.ewf.chunks import Chunks, Failure
from imgkit.containers.ewf.header_values import acquisition_facts
from imgkit.containers.ewf.layout import read_layout
from imgkit.containers.ewf.tables import TableError, Tables
from imgkit.containers.ewf.volume import other_chunks
from imgkit.containers.ewf.workers import Workers
from imgkit.containers.segment_files import SegmentFiles
from imgkit.errors import CorruptMedia, MediaReadError
from imgkit.hashing import Digest
from imgkit.image import Extent, Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.containers.ewf.layout import Layout
    from imgkit.containers.ewf.volume import Volume

_LARGE = 256 << 10  # bytes of whole chunks from which on a read goes past the cache
_SMALLEST_SECTOR = 256


class EwfImage(Image):
    """An E01 or SMART set of any number of segments; every chunk is checked on every read from the file."""

    format = "ewf"

    def __init__(
        self,
        path: str,
        paths: tuple[str, ...],
        *,
        notices: tuple[str, ...] = (),
        sector_size: int | None = None,
    ) -> None:
        self.path = path
        self._files = SegmentFiles(paths)
        try:
            layout = read_layout(self._files)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
            self._files.close()
            raise
        volume = layout.geometry
        self.segments = self._files.segments
        self.size = volume.media_size
        self._chunk = volume.chunk_size
        self._state_sector_size(volume.bytes_per_sector, layout.volume_source, sector_size)
        stated = [*layout.digests.items(), *layout.disputed.items()]
        self.stored_digests = tuple(Digest(name, value) for name, value in stated)
        self.metadata = self._describe(layout, notices)
        self._workers = Workers()
        self._tables = Tables(self._files, layout.tables, self._chunk)
        self._chunks = Chunks(self._files, self._tables, volume, self._workers)
        self._cache = ChunkCache(self._chunk)
        self._ahead = ReadAhead(
            self._cache,
            self._workers,
            self._chunks.read,
            chunk_size=self._chunk,
            chunks=volume.chunks_needed,
        )
        if layout.has_tail:
            try:
                self._check_tail(volume)
            except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
                self.close()
                raise

    def _check_tail(self, volume: Volume) -> None:
        """Of an acquired file what follows its last whole sector, in a chunk of its own; anything larger is none."""
        number = volume.chunks_needed
        failures = self._chunks.read(number, number + 1, lambda _number, _data: None)
        if failures or not 0 < self._chunks.surplus < volume.bytes_per_sector:
            raise other_chunks(volume, self.segments[0].path, number + 1)

    def _state_sector_size(self, found: int, section: str, stated: int | None) -> None:
        usable = found >= _SMALLEST_SECTOR and not found & (found - 1)
        self.sector_size = stated or (found if usable else None)
        if stated:
            self.sector_size_source = "stated by the user"
        elif usable:
            self.sector_size_source = f"the {section} section"

    def _describe(self, layout: Layout, notices: tuple[str, ...]) -> dict[str, object]:
        volume = layout.geometry
        acquisition = acquisition_facts(layout.headers)
        problems = acquisition.pop("problems", [])
        told = [*notices, *layout.notices]
        if isinstance(problems, list):
            told += [f"{self.segments[0].path}: {text}" for text in problems]
        facts: dict[str, object] = {
            "atime_may_change": self._files.atime_may_change,
            "container": {
                **volume.facts(),
                "segment_count": len(self.segments),
                "segments_with_identifier": layout.identified,
            },
        }
        if acquisition:
            facts["acquisition"] = acquisition
        if isinstance(problems, list) and problems:
            facts["acquisition_problems"] = tuple(problems)
        if layout.errors:
            sector = volume.bytes_per_sector
            facts["acquisition_errors"] = tuple(
                {"offset": start * sector, "length": count * sector} for start, count in layout.errors
            )
        if layout.sessions:
            facts["sessions"] = tuple(layout.sessions)
            facts["tracks"] = tuple(item for item in layout.sessions if item["kind"] == "audio")
        if told:
            facts["notices"] = tuple(told)
        return facts

    @property
    def anomalies(self) -> tuple[str, ...]:
        """See Image.anomalies: tables that were read from their copy, a last chunk that is too long."""
        return (*self._tables.anomalies, *self._chunks.anomalies)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        if not wanted:
            return 0
        end = offset + len(wanted)
        first, last = offset // self._chunk, -(-end // self._chunk)
        whole = -(-offset // self._chunk), (last if end == self.size else end // self._chunk)
        if (whole[1] - whole[0]) * self._chunk >= _LARGE:
            failures = [
                *self._read_cached(first, whole[0], offset, wanted),
                *self._chunks.read(*whole, partial(self._place, offset, wanted)),
                *self._read_cached(whole[1], last, offset, wanted),
            ]
        else:
            failures = self._read_cached(first, last, offset, wanted)
            self._ahead.follow(first, last)
        if failures:
            raise _error(failures, offset, end)
        return len(wanted)

    def _place(self, offset: int, wanted: memoryview, number: int, data: bytes | memoryview) -> None:
        """Copy what was asked for of a chunk into the buffer, which begins at `offset` of the media."""
        at = number * self._chunk - offset
        if at >= 0:
            room = min(len(data), len(wanted) - at)
            wanted[at : at + room] = data[:room]
        else:
            room = min(len(data) + at, len(wanted))
            wanted[:room] = data[-at : room - at]

    def _read_cached(self, first: int, last: int, offset: int, wanted: memoryview) -> list[Failure]:
        if first >= last:
            return []
        have, failures = self._cache.take(first, last, self._chunks.read)
        for number, data in have.items():
            self._place(offset, wanted, number, data)
        return failures

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; an E01 stores every chunk of the media."""
        yield Extent(0, self.size)

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget."""
        first, last = offset // self._chunk, -(-min(offset + length, self.size) // self._chunk)
        while first < last:
            index, stop = self._tables.stretch(first, last)
            # What cannot be read needs no forgetting; the reader has been told.
            with suppress(TableError, MediaReadError):
                entries = self._tables.entries(index, first, stop)
                with self._files.opened(self._tables.segment(index), offset, length) as file:
                    let_go(file.fd, (entries[0].offset, entries[-1].end))
            first = stop

    def close(self) -> None:
        """End the threads and close every file. Closing twice is allowed."""
        self._workers.close()
        self._files.close()
        self._cache.clear()


def _error(failures: list[Failure], offset: int, end: int) -> MediaReadError:
    """One error for all that failed of [offset, end)."""
    ranges = []
    for failure in failures:
        start, stop = max(offset, failure.offset), min(end, failure.offset + failure.length)
        ranges.append((start, stop - start, failure.reason))
    message = (
        ranges[0][2] if len(ranges) == 1 else f"{ranges[0][2]}; {len(ranges) - 1} more ranges cannot be read"
    )
    kind = CorruptMedia if any(failure.corrupt for failure in failures) else MediaReadError
    return kind(
        message,
        offset=ranges[0][0],
        length=ranges[0][1],
        errno=next((failure.errno for failure in failures if failure.errno), None)
        if kind is MediaReadError
        else None,
        hint="copy the segment again from the source; what can be read of the media is served",
        ranges=tuple(ranges),
    )
