"""ReadAhead: the chunks that a reader of small pieces will want next, inflated by the workers meanwhile."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.containers.ewf.cache import ChunkCache, Load
    from imgkit.containers.ewf.workers import Workers

_AHEAD = 2 << 20  # bytes of the media
_PIECE = 128 << 10  # bytes that one worker takes at a time: a reader that catches up waits for no more

_READERS = 16  # that are told apart


class ReadAhead:
    """Watches what is read through the cache; safe from several threads at once.

    Args:
        cache: Where the chunks go.
        workers: Who inflates them.
        load: How.
        chunk_size: Bytes.
        chunks: How many the media has.
    """

    def __init__(
        self, cache: ChunkCache, workers: Workers, load: Load, *, chunk_size: int, chunks: int
    ) -> None:
        self._cache = cache
        self._workers = workers
        self._load = load
        self._piece = max(1, _PIECE // chunk_size)
        self._reach = min(max(1, _AHEAD // chunk_size), cache.most // 2)
        self._chunks = chunks
        self._lock = threading.Lock()
        self._queued: set[int] = set()
        self._recent: tuple[int, ...] = ()  # where the last reads ended

    def follow(self, first: int, following: int) -> None:
        """Somebody reads the chunks [first, following): where one of the last reads ended there, fetch what comes next."""
        recent = self._recent  # replaced, never changed: a race costs a reader one fetch ahead
        self._recent = (following, *[end for end in recent if end != following][: _READERS - 1])
        if first in recent or first + 1 in recent:
            self._fetch_from(following)

    def _fetch_from(self, following: int) -> None:
        farthest = min(following + self._reach, self._chunks) - 1
        if farthest < following or not self._claim(farthest // self._piece):
            return
        for piece in range(following // self._piece, farthest // self._piece):
            if self._claim(piece):
                self._workers.later(partial(self._fetch, piece))
        self._workers.later(partial(self._fetch, farthest // self._piece))

    def _claim(self, piece: int) -> bool:
        """Whether a piece is neither there nor on its way nor waiting for a worker; from now on it waits."""
        last = min((piece + 1) * self._piece, self._chunks) - 1
        with self._lock:
            if piece in self._queued or self._cache.knows(last):
                return False
            self._queued.add(piece)
            return True

    def _fetch(self, piece: int) -> None:
        first = piece * self._piece
        try:
            # What fails is told to whoever asks for it.
            self._cache.take(first, min(first + self._piece, self._chunks), self._load)
        except ValueError:
            return  # the image was closed meanwhile
        finally:
            with self._lock:
                self._queued.discard(piece)
