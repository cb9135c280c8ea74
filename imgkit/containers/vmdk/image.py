"""VmdkImage: the extents of a VMDK, one after the other, over its parent."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import data_ranges, fill, let_go
from imgkit.containers.vmdk.grains import BadGrain, Grains
from imgkit.containers.vmdk.runs import FlatExtent, Kind, Run
from imgkit.containers.vmdk.sparse import SparseExtent
from imgkit.errors import CorruptMedia, MediaReadError
from imgkit.image import Extent, Image, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from imgkit.containers.segment_files import SegmentFiles
    from imgkit.containers.vmdk.runs import Extent as VmdkExtent
    from imgkit.containers.vmdk.table_cache import TableCache
    from imgkit.image import Segment

_WORTH_A_THREAD = 4  # compressed grains in one read from which on they are inflated side by side

_Bad = tuple[int, int, str, "int | None"]  # offset, length, reason, errno


class VmdkImage(Image):
    """Media in extents. Takes over `files` and `parent` and closes them.

    Attributes:
        content_id: `CID` of the descriptor, or None.
    """

    format = "vmdk"

    def __init__(
        self,
        path: str,
        *,
        files: SegmentFiles,
        segments: tuple[Segment, ...],
        extents: Sequence[VmdkExtent],
        tables: TableCache,
        parent: Image | None,
        content_id: int | None,
        sector_size: int | None,
        metadata: Mapping[str, object],
    ) -> None:
        self.path = path
        self.segments = segments
        self.sector_size = sector_size
        self.sector_size_source = "stated by the user" if sector_size else None
        self.metadata = metadata
        self.content_id = content_id
        self.size = extents[-1].start + extents[-1].length
        self._files, self._extents, self._tables, self._parent = files, extents, tables, parent
        self._starts = [extent.start for extent in extents]
        self._grains = Grains(files)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()
        self._closed = False

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """See Image.read_into."""
        wanted = buffer[: max(0, self.size - offset)]
        bad: list[_Bad] = []
        packed: list[tuple[Run, SparseExtent]] = []
        for run, extent in self._runs(offset, len(wanted)):
            part = wanted[run.offset - offset : run.offset - offset + run.length]
            if run.kind is Kind.PACKED and isinstance(extent, SparseExtent):
                packed.append((run, extent))
            else:
                bad += self._read_run(run, part)
        bad += self._read_packed(packed, offset, wanted)
        if bad:
            raise _unreadable(bad)
        return len(wanted)

    def data_extents(self) -> Iterator[Extent]:
        """See Image.data_extents; by the grain tables, over those of the parent."""
        return joined(self._data())

    @property
    def anomalies(self) -> tuple[str, ...]:
        """See Image.anomalies."""
        return (*self._tables.notes, *(self._parent.anomalies if self._parent is not None else ()))

    def forget(self, offset: int, length: int) -> None:
        """See Image.forget."""
        stored: dict[int, list[tuple[int, int]]] = {}  # of each file
        for run, _extent in self._runs(offset, min(length, max(0, self.size - offset))):
            if run.kind in {Kind.DATA, Kind.PACKED}:
                place = run.position, run.position + (run.limit or run.length)
                stored.setdefault(run.file, []).append(place)
            elif run.kind is Kind.ABSENT and self._parent is not None:
                self._parent.forget(run.offset, run.length)
        for index, places in stored.items():
            # What cannot be read needs no forgetting; the reader has been told.
            with suppress(MediaReadError), self._files.opened(index, offset, length) as file:
                let_go(file.fd, *places)

    def close(self) -> None:
        """Close every file, and the parent."""
        with self._pool_lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self._files.close()
        if self._parent is not None:
            self._parent.close()

    def _runs(self, offset: int, length: int) -> Iterator[tuple[Run, VmdkExtent]]:
        index = bisect_right(self._starts, offset) - 1
        end = offset + length
        while offset < end:
            extent = self._extents[index]
            stop = min(end, extent.start + extent.length)
            for run in extent.runs(offset, stop - offset):
                yield run, extent
            offset, index = stop, index + 1

    def _read_run(self, run: Run, part: memoryview) -> list[_Bad]:
        """Fill `part`, or say why not."""
        if run.kind is Kind.DATA:
            with self._files.opened(run.file, run.offset, run.length) as file:
                fill(file.fd, run.position, part, path=file.path, media_offset=run.offset)
            return []
        if run.kind is Kind.BAD:
            return [(run.offset, run.length, run.reason, run.errno)]
        if run.kind is Kind.ABSENT and self._parent is not None:
            return _read_parent(self._parent, run, part)
        _blank(part)
        return []

    def _read_packed(
        self, packed: list[tuple[Run, SparseExtent]], offset: int, wanted: memoryview
    ) -> list[_Bad]:
        def read(item: tuple[Run, SparseExtent]) -> list[_Bad]:
            run, extent = item
            part = wanted[run.offset - offset : run.offset - offset + run.length]
            return self._read_grain(run, extent, part)

        if len(packed) < _WORTH_A_THREAD:
            return [bad for item in packed for bad in read(item)]
        waiting: list[Future[list[_Bad]]] = [self._threads().submit(read, item) for item in packed]
        wait(waiting)  # none may still write into the buffer when this returns or raises
        return [bad for future in waiting for bad in future.result()]

    def _read_grain(self, run: Run, extent: SparseExtent, part: memoryview) -> list[_Bad]:
        try:
            grain = self._grains.read(run, extent.header, extent.length)
        except (BadGrain, MediaReadError) as error:
            path = self._files.segments[run.file].path
            why = f"grain {run.grain} at byte {run.position} of {path}: {error}"
            return [(run.offset, run.length, why, error.errno if isinstance(error, MediaReadError) else None)]
        inside = (run.offset - extent.start) % extent.header.grain_size
        part[:] = memoryview(grain)[inside : inside + run.length]
        return []

    def _threads(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._closed:
                msg = "read of a closed image"
                raise ValueError(msg)
            if self._pool is None:
                count = min(8, len(os.sched_getaffinity(0)))
                self._pool = ThreadPoolExecutor(count, thread_name_prefix="imgkit-vmdk")
            return self._pool

    def _data(self) -> Iterator[Extent]:
        below = _Below(self._parent)
        for extent in self._extents:
            for run in extent.allocation():
                if run.kind is Kind.ABSENT:
                    yield from below.within(run.offset, run.length)
                elif run.kind is Kind.DATA and isinstance(extent, FlatExtent):
                    yield from self._stored(run)
                elif run.kind is not Kind.ZERO:
                    yield Extent(run.offset, run.length)

    def _stored(self, run: Run) -> Iterator[Extent]:
        """A run of bytes in a file, without the holes of the file."""
        with self._files.opened(run.file, run.offset, run.length) as file:
            end = run.position + run.length
            for found in data_ranges(file.fd, end, path=file.path, media_offset=0, first=run.position):
                yield Extent(run.offset + found.offset - run.position, found.length)


class _Below:
    """The parent's extents of data, asked for in ascending ranges."""

    def __init__(self, parent: Image | None) -> None:
        self._waiting = parent.data_extents() if parent is not None else iter(())
        self._held = next(self._waiting, None)

    def within(self, offset: int, length: int) -> Iterator[Extent]:
        """What of the parent's data lies in [offset, offset + length)."""
        end = offset + length
        while self._held is not None and self._held.offset < end:
            start, stop = max(offset, self._held.offset), min(end, self._held.end)
            if start < stop:
                yield Extent(start, stop - start)
            if self._held.end > end:
                return
            self._held = next(self._waiting, None)


def _read_parent(parent: Image, run: Run, part: memoryview) -> list[_Bad]:
    """The parent's bytes; behind its end (a disk that was enlarged after the snapshot) are zeros."""
    there = max(0, min(run.length, parent.size - run.offset))
    _blank(part[there:])
    if there == 0:
        return []
    try:
        parent.read_into(run.offset, part[:there])
    except MediaReadError as error:
        if not error.ranges:
            raise
        return [(offset, length, reason, error.errno) for offset, length, reason in error.ranges]
    return []


def _blank(part: memoryview) -> None:
    part[:] = bytes(len(part))


def _unreadable(bad: list[_Bad]) -> MediaReadError:
    bad.sort(key=lambda item: item[0])
    ranges = tuple((offset, length, reason) for offset, length, reason, _errno in bad)
    offset, length, reason, errno = bad[0]
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    message = f"cannot read bytes {offset} to {offset + length} of the media: {reason}{more}"
    total = max(start + count for start, count, _reason in ranges) - offset
    if all(item[3] is not None for item in bad):
        return MediaReadError(message, offset=offset, length=total, errno=errno, ranges=ranges)
    return CorruptMedia(message, offset=offset, length=total, ranges=ranges)
