"""Compressed clusters: what they hold, exactly one cluster each, or why not.

A raw deflate stream has no checksum: damage that leaves a stream of the same length cannot be told from data.
zstd frames have one only where the writer adds it, and QEMU does not.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, cast

from isal import isal_zlib

from imgkit.containers.qcow2.header import ZSTD

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFLATE_WINDOW = -15  # raw; QEMU writes 4 KiB windows and reads any
_DEFLATE_ERROR = cast("type[Exception]", isal_zlib.IsalError)  # its stub takes the class for an instance
_LARGEST_ZSTD_WINDOW = 8 << 20  # what RFC 8878 asks every reader for; a cluster has 2 MiB at most


class BadCluster(ValueError):
    """Why a compressed cluster does not decompress to a cluster."""


class _ZstdDecompressor(Protocol):
    def decompress(self, data: memoryview, max_output_size: int) -> bytes: ...


def decompressor(compression_type: int) -> Callable[[memoryview, int], bytes]:
    """Return the function (stored bytes and maybe more behind them, cluster size) -> cluster; it is safe to share.

    It raises BadCluster where they do not decompress to exactly one cluster.
    """
    return _Zstd() if compression_type == ZSTD else _inflate


def _inflate(stored: memoryview, cluster_size: int) -> bytes:
    stream = isal_zlib.decompressobj(wbits=_DEFLATE_WINDOW)
    try:
        # One byte more than is right: a stream that goes on is not what was written.
        cluster: bytes = stream.decompress(stored, cluster_size + 1)
    except _DEFLATE_ERROR as error:
        raise BadCluster(f"its deflate stream is damaged ({error})") from error
    if len(cluster) != cluster_size:
        many = "more than" if len(cluster) > cluster_size else f"{len(cluster)} bytes and not"
        raise BadCluster(f"its deflate stream gives {many} the {cluster_size} bytes of a cluster")
    if not stream.eof:
        raise BadCluster("its deflate stream does not end where the cluster is full")
    return cluster


class _Zstd:
    """A decompression context serves one thread at a time: each thread has its own."""

    def __init__(self) -> None:
        self._own = threading.local()

    def __call__(self, stored: memoryview, cluster_size: int) -> bytes:
        import zstandard  # noqa: PLC0415  (few images are compressed with it)

        try:
            stated = zstandard.frame_content_size(stored)
            if stated > cluster_size:  # before a buffer of that size is made
                raise BadCluster(f"its zstd frame states {stated} bytes, a cluster has {cluster_size}")
            cluster = self._context().decompress(stored, max_output_size=cluster_size)
        except zstandard.ZstdError as error:
            raise BadCluster(f"its zstd frame is damaged ({error})") from error
        if len(cluster) != cluster_size:
            raise BadCluster(f"its zstd frame gives {len(cluster)} bytes, a cluster has {cluster_size}")
        return cluster

    def _context(self) -> _ZstdDecompressor:
        found: _ZstdDecompressor | None = getattr(self._own, "context", None)
        if found is None:
            import zstandard  # noqa: PLC0415  (the same)

            found = self._own.context = zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW)
        return found
