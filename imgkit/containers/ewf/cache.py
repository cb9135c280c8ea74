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


class _Pending:
    """A chunk that some thread is loading; without data when it is done, it failed."""

    __slots__ = ("data", "done")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.data: bytes | None = None


class ChunkCache:
    """The chunks used last, up to a number of bytes; safe from several threads at once."""

    def __init__(self, chunk_size: int) -> None:
        self._most = max(1, _KEPT // chunk_size)
        self._lock = threading.Lock()
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self._pending: dict[int, _Pending] = {}

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
        mine: dict[int, _Pending] = {}
        others: dict[int, _Pending] = {}
        with self._lock:
            for number in range(first, last):
                data = self._chunks.get(number)
                if data is not None:
                    self._chunks.move_to_end(number)
                    have[number] = data
                elif number in self._pending:
                    others[number] = self._pending[number]
                else:
                    mine[number] = self._pending[number] = _Pending()
        failures = self._load(mine, have, load)
        for number, pending in others.items():
            pending.done.wait()
            if pending.data is not None:
                have[number] = pending.data
            else:  # the thread that tried knows why; so shall this one
                failures += load(number, number + 1, lambda at, data: have.update({at: bytes(data)}))
        return have, sorted(failures, key=lambda failure: failure.offset)

    def _load(self, mine: dict[int, _Pending], have: dict[int, bytes], load: Load) -> list[Failure]:
        def sink(number: int, data: bytes | memoryview) -> None:
            have[number] = mine[number].data = bytes(data)  # never a view of a whole run

        failures: list[Failure] = []
        try:
            for low, high in _runs(list(mine)):
                failures += load(low, high, sink)
        finally:
            with self._lock:
                for number, pending in mine.items():
                    del self._pending[number]
                    if pending.data is not None:
                        self._chunks[number] = pending.data
                while len(self._chunks) > self._most:
                    self._chunks.popitem(last=False)
            for pending in mine.values():
                pending.done.set()
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
