"""Reading compressed clusters: one read of the file for those that lie together, over a few threads for many."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.evidence_file import fill
from imgkit.containers.qcow2.inflate import BadCluster, decompressor
from imgkit.errors import MediaReadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.qcow2.header import Header
    from imgkit.containers.qcow2.tables import Run

Bad = tuple[int, int, str]  # offset and length in the media, reason

_CACHE = 16 << 20  # bytes of decompressed clusters
_BATCH = 512 << 10  # bytes of the media that one thread takes at a time
_LARGEST_GAP = 64 << 10  # of the file, that is read along with what lies on both sides of it
_MOST_THREADS = 4


class Wanted(NamedTuple):
    """The part of a compressed cluster that a read asks for, and where it goes."""

    run: Run
    skip: int
    target: memoryview


class CompressedClusters:
    """The compressed clusters of one file. Safe from several threads at once."""

    def __init__(self, file: EvidenceFile, header: Header) -> None:
        self._file = file
        self._cluster_size = header.cluster_size
        self._decompress = decompressor(header.compression_type)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._room = max(2, _CACHE >> header.cluster_bits)
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def read(self, wanted: Sequence[Wanted]) -> list[Bad]:
        """Fill every target; return the ranges that could not be."""
        missing = [item for item in wanted if not self._from_cache(item)]
        batches = list(_batches(missing, max(1, _BATCH // self._cluster_size)))
        if not batches:
            return []
        others = [self._threads().submit(self._read_batch, batch) for batch in batches[1:]]
        found = self._read_batch(batches[0])
        for other in others:
            found += other.result()
        return found

    def close(self) -> None:
        """End the threads; a read that has begun is finished."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
            self._kept.clear()
        if pool is not None:
            pool.shutdown()

    def _threads(self) -> ThreadPoolExecutor:
        """The pool; there is none before the first read that has use for it."""
        with self._lock:
            if self._closed:
                msg = "read of a closed image"
                raise ValueError(msg)
            if self._pool is None:
                count = min(_MOST_THREADS, os.cpu_count() or 1)
                self._pool = ThreadPoolExecutor(count, thread_name_prefix="qcow2")
            return self._pool

    def _read_batch(self, batch: list[Wanted]) -> list[Bad]:
        start = batch[0].run.host
        stored = memoryview(bytearray(max(item.run.host + item.run.stored for item in batch) - start))
        try:
            fill(self._file.fd, start, stored, path=self._file.path, media_offset=0)
        except MediaReadError as error:
            if len(batch) > 1:  # which of them it is
                return [bad for item in batch for bad in self._read_batch([item])]
            return [self._bad(batch[0], error.message)]
        return [bad for item in batch if (bad := self._take(item, stored[item.run.host - start :]))]

    def _take(self, item: Wanted, stored: memoryview) -> Bad | None:
        try:
            cluster = self._decompress(stored[: item.run.stored], self._cluster_size)
        except BadCluster as error:
            return self._bad(item, str(error))
        item.target[:] = memoryview(cluster)[item.skip : item.skip + len(item.target)]
        if len(item.target) < self._cluster_size:  # the rest of it is likely to be asked for next
            self._keep(item.run.host, cluster)
        return None

    def _bad(self, item: Wanted, reason: str) -> Bad:
        run = item.run
        where = f"the compressed cluster at {run.host} of {self._file.path}"
        return run.offset + item.skip, len(item.target), f"{where}: {reason}"

    def _from_cache(self, item: Wanted) -> bool:
        with self._lock:
            cluster = self._kept.get(item.run.host)
            if cluster is None:
                return False
            self._kept.move_to_end(item.run.host)
        item.target[:] = memoryview(cluster)[item.skip : item.skip + len(item.target)]
        return True

    def _keep(self, host: int, cluster: bytes) -> None:
        with self._lock:
            self._kept[host] = cluster
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)


def _batches(wanted: Sequence[Wanted], most: int) -> Iterator[list[Wanted]]:
    """Cut into lists of clusters that lie together in the file, so that one read gets them."""
    batch: list[Wanted] = []
    end = 0
    for item in wanted:
        start = item.run.host
        if batch and (len(batch) == most or not batch[-1].run.host < start <= end + _LARGEST_GAP):
            yield batch
            batch = []
        batch.append(item)
        end = start + item.run.stored
    if batch:
        yield batch
