"""Chunks of the media: https://github.com/libyal/libewf/blob/main/documentation/ (EWF specification, "Data chunk").

A chunk is a zlib stream, or bytes with their Adler-32 behind them. It is served when it has its length and its checksum
is right, and not at all otherwise.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib
from isal.igzip_lib import IsalError

from imgkit.containers.evidence_file import fill
from imgkit.containers.ewf.tables import TableError
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.containers.ewf.tables import Entry, Tables
    from imgkit.containers.ewf.volume import Volume
    from imgkit.containers.ewf.workers import Workers
    from imgkit.containers.segment_files import SegmentFiles

    Sink = Callable[[int, bytes | memoryview], None]  # chunk number, its bytes of the media

_RUN = 1 << 20  # bytes of the media that one job reads and inflates
_SMALL_RUN = 64 << 10  # the same where that leaves a thread idle
_AT_WORK = 32 << 20  # bytes of the media in work at one time
_SCRATCH_KEPT = 4 << 20  # bytes a thread keeps for its next run
_CHECKSUM = 4


class Failure(NamedTuple):
    """A range of the media that cannot be served.

    Attributes:
        offset: First byte.
        length: Bytes.
        reason: One sentence.
        errno: What the kernel said where a plain read failed, else None.
        corrupt: The container contradicts itself (and not: a file cannot be read).
    """

    offset: int
    length: int
    reason: str
    errno: int | None = None
    corrupt: bool = True


class Chunks:
    """Reads and checks chunks; safe from several threads at once.

    Attributes:
        anomalies: What was found wrong that took no byte away, in the order in which it was found.
        surplus: Bytes that the last chunk was found to hold beyond the media.
    """

    def __init__(self, files: SegmentFiles, tables: Tables, volume: Volume, workers: Workers) -> None:
        self._files = files
        self._tables = tables
        self._size = volume.chunk_size
        self._media = volume.media_size
        self._workers = workers
        self._parallel = max(1, _AT_WORK // max(_RUN, 2 * self._size))
        self.anomalies: dict[str, None] = {}
        self.surplus = 0
        self._scratch = threading.local()
        self._room = threading.BoundedSemaphore(self._parallel)  # of all readers together
        self._slack = self._size + self._size // 8 + 1024  # no deflate stream of a chunk is longer

    def length(self, number: int) -> int:
        """Bytes of the media in a chunk; none in the one that may follow the last."""
        return min(self._size, self._media - number * self._size)

    def read(self, first: int, last: int, sink: Sink) -> list[Failure]:
        """Hand the chunks [first, last) to `sink`, from several threads in no order; return those that fail, ascending."""
        failures: list[Failure] = []
        jobs = []
        share = (last - first) * self._size // (2 * self._workers.count)
        run = max(1, max(_SMALL_RUN, min(share, _RUN)) // self._size)
        while first < last:
            index, stop = self._tables.stretch(first, min(last, first + run))
            jobs.append(partial(self._job, index, first, stop, sink, failures))
            first = stop
        if len(jobs) == 1 or self._parallel == 1:
            for job in jobs:
                job()
        else:
            self._workers.run(jobs, self._parallel)
        return sorted(failures, key=lambda failure: failure.offset)

    def _job(self, index: int, first: int, last: int, sink: Sink, failures: list[Failure]) -> None:
        """A run of chunks of one table."""
        while first < last:
            stop, again = last, last
            try:
                entries = self._tables.entries(index, first, stop)
            except TableError as error:
                # The chunks before those in dispute are asked for once more, and so are those after.
                where = self._tables.segment(index)
                failures.append(self._failure(error.first, error.last, error.reason, where))
                if error.first > first:
                    self._job(index, first, error.first, sink, failures)
                again = error.last
            except MediaReadError as error:
                failures.append(self._unread(first, stop, error))
            else:
                with self._room:
                    self._decode_run(self._tables.segment(index), first, entries, sink, failures)
            first = again

    def _decode_run(
        self, segment: int, first: int, entries: list[Entry], sink: Sink, failures: list[Failure]
    ) -> None:
        """One read for all where they lie together; each on its own where that fails."""
        start = entries[0].offset
        end = min(entries[-1].end, entries[-1].offset + self._slack)
        if len(entries) > 1 and end - start > len(entries) * self._slack:
            for number, entry in enumerate(entries, first):
                self._decode_run(segment, number, [entry], sink, failures)
            return
        raw = self._scratch_of(end - start)
        offset = first * self._size
        length = min(len(entries) * self._size, self._media - offset)
        try:
            with self._files.opened(segment, offset, length) as file:
                fill(file.fd, start, raw, path=file.path, media_offset=offset)
        except MediaReadError as error:
            if len(entries) == 1:
                failures.append(self._unread(first, first + 1, error))
                return
            for number, entry in enumerate(entries, first):
                self._decode_run(segment, number, [entry], sink, failures)
            return
        for number, entry in enumerate(entries, first):
            stored = raw[entry.offset - start : min(entry.end, entry.offset + self._slack) - start]
            found = _decode(stored, entry.compressed, self.length(number), self._size)
            if isinstance(found, str):
                failures.append(self._failure(number, number + 1, found, segment, entry.offset))
            else:
                sink(number, self._cut(number, found))

    def _scratch_of(self, length: int) -> memoryview:
        """A buffer of this thread, used again by its next run: a sink copies what it takes."""
        buffer: bytearray | None = getattr(self._scratch, "buffer", None)
        if buffer is None or len(buffer) < length:
            buffer = bytearray(length)
            if length <= _SCRATCH_KEPT:
                self._scratch.buffer = buffer
        return memoryview(buffer)[:length]

    def _cut(self, number: int, found: bytes | memoryview) -> bytes | memoryview:
        """Full chunks at the end, or what a file held beyond its last whole sector: no part of the media as stated."""
        length = self.length(number)
        if len(found) == length:
            return found
        self.surplus = len(found) - length
        self.anomalies[
            f"the last chunk holds {self.surplus} bytes more than the {self._media} bytes of media that the image "
            "states: they are not served, and a stored digest may be over them too"
        ] = None
        return memoryview(found)[:length]

    def _failure(self, first: int, last: int, reason: str, segment: int, at: int | None = None) -> Failure:
        """Of the chunks [first, last) in a segment; of one that was found at byte `at` of the file."""
        path = self._files.segments[segment].path
        offset = first * self._size
        end = min(last * self._size, self._media)
        what = f"chunk {first}" if last - first == 1 else f"chunks {first} to {last - 1}"
        where = f"media {offset} to {end}" if at is None else f"media {offset} to {end}, file from {at}"
        return Failure(offset, end - offset, f"{what} of segment {path} ({where}): {reason}")

    def _unread(self, first: int, last: int, error: MediaReadError) -> Failure:
        offset = first * self._size
        return Failure(
            offset, min(last * self._size, self._media) - offset, error.message, error.errno, corrupt=False
        )


def _decode(
    stored: memoryview,
    compressed: bool | None,  # noqa: FBT001  (a bit of the entry)
    length: int,
    full: int,
) -> bytes | memoryview | str:
    """What is stored of the media in a chunk (more than its length at most in the last one), or why nothing is.

    Args:
        stored: What lies in the file, to the next chunk.
        compressed: What the table says; None: try both.
        length: Bytes of the media in this chunk.
        full: Bytes of a full chunk.
    """
    if compressed:
        return _inflate(stored, length, full)
    plain = _plain(stored, length, full)
    if compressed is None and isinstance(plain, str):
        inflated = _inflate(stored, length, full)
        return plain if isinstance(inflated, str) else inflated
    return plain


def _inflate(stored: memoryview, length: int, full: int) -> bytes | memoryview | str:
    stream = isal_zlib.decompressobj()
    try:
        found: bytes = stream.decompress(stored, full + 1)
    except IsalError as error:  # type: ignore[misc]  # its stub types the class as an instance
        return f"its compressed data is damaged ({error})"
    if not stream.eof:
        return (
            "its compressed data is longer than a chunk"
            if len(found) > full
            else "its compressed data is cut short"
        )
    if length <= len(found) <= full:
        return found
    return f"it inflates to {len(found)} bytes, not {length}"


def _plain(stored: memoryview, length: int, full: int) -> memoryview | str:
    """Bytes and their Adler-32."""
    for size in dict.fromkeys((length, full, len(stored) - _CHECKSUM)):
        if not length <= size <= min(full, len(stored) - _CHECKSUM):
            continue
        if isal_zlib.adler32(stored[:size]) == int.from_bytes(stored[size : size + _CHECKSUM], "little"):
            return stored[:size]
    if len(stored) < length + _CHECKSUM:
        return f"it has {len(stored)} bytes in the segment, too few for {length} and a checksum"
    return "it fails its Adler-32"
