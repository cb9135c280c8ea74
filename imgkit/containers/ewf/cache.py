"""ChunkCache: the chunks used last, inflated once however many threads want them at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.containers.ewf.chunks import Failure

    # Loads the chunks [first, last): hands each to the sink, returns what failed.
    Load = Callable[[int, int, Callable[[int, bytes | memoryview], None]], list[Failure]]

_KEPT = 32 << 20  # bytes


class _Batch:
    """Chunks that one thread is loading; what is not there when it is done, failed."""

    __slots__ = ("chunks", "done")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.chunks: dict[int, bytes] = {}

    def take(self, number: int, data: bytes | memoryview) -> None:
        """Keep a chunk; never as a view of a whole run."""
        self.chunks[number] = bytes(data)


class ChunkCache:
    """The chunks used last, up to a number of bytes; safe from several threads at once."""

    def __init__(self, chunk_size: int) -> None:
        self._most = max(1, _KEPT // chunk_size)
        self._lock = threading.Lock()
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self._pending: dict[int, _Batch] = {}

    @property
    def most(self) -> int:
        """How many chunks are kept."""
        return self._most

    def knows(self, number: int) -> bool:
        """Whether a chunk is there or on its way."""
        with self._lock:
            return number in self._chunks or number in self._pending

    def take(self, first: int, last: int, load: Load) -> tuple[dict[int, bytes], list[Failure]]:
        """Return the chunks [first, last) that can be had, and what failed of the others."""
        have: dict[int, bytes] = {}
        mine: list[int] = []
        others: dict[int, _Batch] = {}
        batch: _Batch | None = None
        with self._lock:
            for number in range(first, last):
                data = self._chunks.get(number)
                if data is not None:
                    self._chunks.move_to_end(number)
                    have[number] = data
                elif number in self._pending:
                    others[number] = self._pending[number]
                else:
                    batch = batch or _Batch()
                    self._pending[number] = batch
                    mine.append(number)
        failures = self._load(mine, batch, have, load) if batch else []
        for number, other in others.items():
            other.done.wait()
            if number in other.chunks:
                have[number] = other.chunks[number]
            else:  # the thread that tried knows why; so shall this one
                again = _Batch()
                failures += load(number, number + 1, again.take)
                have |= again.chunks
        return have, sorted(failures, key=lambda failure: failure.offset)

    def _load(self, mine: list[int], batch: _Batch, have: dict[int, bytes], load: Load) -> list[Failure]:
        failures: list[Failure] = []
        try:
            for low, high in _runs(mine):
                failures += load(low, high, batch.take)
        finally:
            with self._lock:
                for number in mine:
                    del self._pending[number]
                self._chunks |= batch.chunks
                while len(self._chunks) > self._most:
                    self._chunks.popitem(last=False)
            batch.done.set()
        have |= batch.chunks
        return failures

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._chunks.clear()


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """[first, last) of each run of neighbours in ascending numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
