"""Compressed grains: found by the grain table, believed only where their marker and their checksum say the same."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from isal import isal_zlib
from isal.igzip_lib import IsalError

from imgkit.containers.evidence_file import fill
from imgkit.containers.vmdk.descriptor import SECTOR

if TYPE_CHECKING:
    from imgkit.containers.segment_files import SegmentFiles
    from imgkit.containers.vmdk.header import SparseHeader
    from imgkit.containers.vmdk.runs import Run

_MARKER = struct.Struct("<QI")  # lba, size; the zlib stream follows
_CACHE = (
    4 << 20
)  # bytes of inflated grains kept: reads that are smaller than a grain come one after the other


class BadGrain(ValueError):
    """A grain is not what its place says it is."""


class Grains:
    """Inflates grains and keeps the last few. Safe from several threads at once."""

    def __init__(self, files: SegmentFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0

    def read(self, run: Run, header: SparseHeader, extent_length: int) -> bytes:
        """The whole grain that `run` is of, as long as it is in the media.

        Raises:
            BadGrain: Marker, stream or length are wrong; the message says how.
            MediaReadError: The kernel failed.
        """
        key = run.file, run.grain
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        start = run.grain * header.grain_size
        needed = min(header.grain_size, extent_length - start)
        grain = _inflated(self._packed(run, header), header.grain_size, needed)
        if needed < header.grain_size or run.length < header.grain_size:
            self._keep(key, grain)
        return grain

    def _packed(self, run: Run, header: SparseHeader) -> memoryview:
        """The zlib stream of a grain."""
        most = header.grain_size + header.grain_size // 8 + 4096
        with self._files.opened(run.file, run.offset, run.length) as file:
            end = file.stat.st_size
            guess = min(run.limit or SECTOR * 8, most, end - run.position)
            if guess <= _MARKER.size:
                raise BadGrain(f"the file ends at {end}, in its marker")
            buffer = bytearray(guess)
            fill(file.fd, run.position, memoryview(buffer), path=file.path, media_offset=run.offset)
            lba, size = _MARKER.unpack_from(buffer)
            if lba != run.grain * (header.grain_size // SECTOR):
                raise BadGrain(f"its marker says it is of sector {lba}")
            if not 0 < size <= most:
                raise BadGrain(f"its marker says it has {size} bytes")
            stop = _MARKER.size + size
            if run.position + stop > end:
                raise BadGrain(f"it ends at {run.position + stop} and the file at {end}")
            if stop > guess:
                buffer.extend(bytes(stop - guess))
                rest = memoryview(buffer)[guess:]
                fill(file.fd, run.position + guess, rest, path=file.path, media_offset=run.offset)
        return memoryview(buffer)[_MARKER.size : stop]

    def _keep(self, key: tuple[int, int], grain: bytes) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = grain
            self._size += len(grain)
            while self._size > _CACHE:
                self._size -= len(self._kept.popitem(last=False)[1])


def _inflated(packed: memoryview, grain_size: int, needed: int) -> bytes:
    """Inflate a zlib stream that has to give a whole grain (the last: at least what the media has of it)."""
    stream = isal_zlib.decompressobj()
    try:
        grain = stream.decompress(packed, grain_size + 1)
    except IsalError as error:  # type: ignore[misc]  # its stub types the class as an instance
        raise BadGrain(f"its compressed bytes are damaged ({error})") from error
    if not needed <= len(grain) <= grain_size:
        raise BadGrain(f"it inflates to {len(grain)} bytes and not to {grain_size}")
    if not stream.eof:
        raise BadGrain("its compressed bytes end early")
    return grain
