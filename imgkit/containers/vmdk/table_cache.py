"""What is kept of the grain tables of an image, so that memory is bounded; and what was noticed in them."""

from __future__ import annotations

import threading
from collections import OrderedDict

_CACHE = 16 << 20  # bytes of tables kept for an image: the map of 256 GiB in grains of 64 KiB
_MOST_NOTES = 100


class TableCache:
    """The tables of all extents of an image, the longest unused dropped first. Safe from several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str, int], tuple[object, int]] = OrderedDict()
        self._size = 0
        self._notes: dict[str, None] = {}

    def find(self, key: tuple[int, str, int]) -> object | None:
        """What is kept under `key`, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: tuple[int, str, int], value: object, size: int) -> None:
        """Keep `value`, which takes `size` bytes."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = value, size
            self._size += size
            while self._size > _CACHE:
                self._size -= self._kept.popitem(last=False)[1][1]

    def note(self, sentence: str) -> None:
        """Remember what was found that took no byte away."""
        with self._lock:
            if len(self._notes) < _MOST_NOTES:
                self._notes[sentence] = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Every sentence, in order."""
        with self._lock:
            return tuple(self._notes)
