"""Read-ahead gives the image's bytes and the image's errors, whatever the order of the requests; it holds little."""

from __future__ import annotations

import random
import threading
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import MediaReadError
from imgkit.expose.read_ahead import BLOCK, ReadAhead
from imgkit.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.image import Extent

SIZE = 24 * BLOCK + 12345


class Counting(Image):
    """Media that say where they are; reads are counted, and bytes [bad, bad + 512) cannot be read."""

    format, path, size = "test", "/test", SIZE

    def __init__(self, bad: int | None = None) -> None:
        self.bad = bad
        self.reads: list[tuple[int, int]] = []
        self.lock = threading.Lock()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        with self.lock:
            self.reads.append((offset, len(buffer)))
        if self.bad is not None and offset < self.bad + 512 and self.bad < offset + len(buffer):
            raise MediaReadError("bad", offset=self.bad, length=512)
        buffer[:] = expected(offset, len(buffer))
        return len(buffer)

    def data_extents(self) -> Iterator[Extent]:
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


MEDIA = array("Q", range(SIZE // 8 + 1)).tobytes()[:SIZE]  # each 8 bytes hold their own place


def expected(offset: int, length: int) -> bytes:
    return MEDIA[offset : offset + length]


def got(ahead: ReadAhead, offset: int, length: int) -> bytes:
    return b"".join(ahead.read(offset, length))


@pytest.mark.parametrize("step", [4096, 131072, 1 << 20, 300_000, 3 << 20])
def test_in_order(step: int) -> None:
    image = Counting()
    ahead = ReadAhead(image, threads=2)
    for offset in range(0, SIZE, step):
        assert got(ahead, offset, step) == expected(offset, min(step, SIZE - offset))
    ahead.close()
    assert sum(length for _, length in image.reads) <= SIZE + 2 * BLOCK  # hardly anything twice
    assert all(length <= BLOCK for _, length in image.reads)


def test_anywhere_from_many_threads() -> None:
    image = Counting()
    ahead = ReadAhead(image, threads=3)

    def some(seed: int) -> bool:
        chance = random.Random(seed)
        position = chance.randrange(SIZE)
        for _ in range(60):
            if chance.random() < 0.2:
                position = chance.randrange(SIZE)
            length = chance.choice((1, 512, 4096, 131072, 700_000))
            if got(ahead, position, length) != expected(position, max(0, min(length, SIZE - position))):
                return False
            position = min(position + length, SIZE)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(some, range(8)))
    ahead.close()


def test_requests_out_of_order_cost_nothing_twice() -> None:
    """The kernel's direct I/O asks for a window of places at once, and they arrive in any order."""
    image, chance = Counting(), random.Random(5)
    ahead = ReadAhead(image, threads=2)
    places = list(range(0, SIZE - SIZE % BLOCK, BLOCK // 4))
    for start in range(0, len(places), 10):
        window = places[start : start + 10]
        chance.shuffle(window)
        for offset in window:
            assert got(ahead, offset, BLOCK // 4) == expected(offset, BLOCK // 4)
    ahead.close()
    assert sum(length for _, length in image.reads) <= SIZE + 4 * BLOCK


def test_random_small_reads_fetch_nothing_ahead() -> None:
    image, chance = Counting(), random.Random(1)
    ahead = ReadAhead(image, threads=2)
    for _ in range(40):
        got(ahead, chance.randrange(24) * BLOCK + 8192, 4096)
    ahead.close()
    assert {length for _, length in image.reads} == {4096}


def test_only_who_asks_for_what_is_bad_gets_the_error() -> None:
    bad = 5 * BLOCK + 8192
    ahead = ReadAhead(Counting(bad), threads=2)
    for offset in range(0, 9 * BLOCK, 4096):
        if offset <= bad < offset + 4096:
            with pytest.raises(MediaReadError):
                ahead.read(offset, 4096)
        else:
            assert got(ahead, offset, 4096) == expected(offset, 4096)
    ahead.close()


def test_the_end() -> None:
    ahead = ReadAhead(Counting(), threads=2)
    assert got(ahead, SIZE - 3, 100) == expected(SIZE - 3, 3)
    assert ahead.read(SIZE, 100) == []
    assert ahead.read(SIZE + BLOCK, 100) == []
    ahead.close()


def test_what_is_held_is_bounded() -> None:
    """Twelve streams at once, each read for a while and left."""
    image = Counting()
    ahead = ReadAhead(image, threads=2)
    for stream in range(12):
        for offset in range(0, BLOCK, 131072):
            got(ahead, stream * 2 * BLOCK + offset, 131072)
    time.sleep(0.05)
    assert len(ahead._blocks) <= 12
    ahead.close()
