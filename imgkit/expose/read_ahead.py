"""Reading an image for many small requests: what is read in order is fetched ahead, on all cores; the rest just as asked.

A reader of /dev/loopN asks for 128 KiB at a time, one after the other. Only with blocks fetched ahead in several threads
does a compressed container come at the speed of all cores.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.image import Image

BLOCK = 1 << 20
_AHEAD_FOR_EACH_THREAD = 3  # blocks: one that is read, one that waits, one that is being served
_MOST_THREADS = 8
_MOST_AHEAD = 16
_BEHIND = 6  # blocks kept beyond those ahead: the kernel asks for a window of 2.5 MiB, in any order
_IN_ORDER = BLOCK // 4  # bytes read of a block before the next ones are fetched
_REMEMBERED = 64  # blocks whose readers are counted: so many streams can be told apart


@dataclass(slots=True)
class _Block:
    """A block of the media: on its way, or there.

    Attributes:
        content: Its bytes, or what the reading of it raised.
        served: Bytes of it that were asked for.
    """

    content: Future[memoryview] = field(default_factory=Future)
    served: int = 0


class ReadAhead:
    """The bytes of an image, fetched ahead of who reads them in order. Safe from several threads at once.

    Bounded: 22 blocks at most are held. An error while fetching ahead is nobody's yet: whoever asks for bytes of
    that block has exactly those read again, and gets the bytes or the error that is theirs.
    """

    def __init__(self, image: Image, *, threads: int | None = None) -> None:
        self._image = image
        threads = threads or max(2, min(_MOST_THREADS, os.cpu_count() or 1))
        self._ahead = min(_MOST_AHEAD, threads * _AHEAD_FOR_EACH_THREAD)
        self._most = self._ahead + _BEHIND
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, _Block] = OrderedDict()  # the longest unused first
        self._finished: OrderedDict[int, None] = (
            OrderedDict()
        )  # read to the end just now, the longest ago first
        self._touched: OrderedDict[int, int] = OrderedDict()  # block -> bytes asked for without read-ahead

    def read(self, offset: int, length: int) -> list[memoryview]:
        """The media bytes [offset, offset + length), fewer only past the media's end, in pieces.

        Raises:
            MediaReadError: As Image.read_into.
        """
        end = min(offset + length, self._image.size)
        pieces = []
        while offset < end:
            part = min(end, (offset // BLOCK + 1) * BLOCK) - offset
            pieces.append(self._piece(offset, part))
            offset += part
        return pieces

    def close(self) -> None:
        """Fetch nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _piece(self, offset: int, length: int) -> memoryview:
        """Bytes that lie within one block."""
        number, inside = divmod(offset, BLOCK)
        block = self._look_up(number, length)
        if block is not None and block.content.exception() is None:
            return block.content.result()[inside : inside + length]
        buffer = memoryview(bytearray(length))
        done = self._image.read_into(offset, buffer)
        if done != length:
            msg = f"{self._image.path} gave {done} of {length} bytes at {offset}"
            raise OSError(msg)
        return buffer

    def _look_up(self, number: int, length: int) -> _Block | None:
        """The block if it was fetched ahead; counts the use, and has the next ones fetched where reading is in order."""
        with self._lock:
            block = self._blocks.get(number)
            if block is None:
                self._finished.pop(number, None)
                touched = self._touched[number] = self._touched.pop(number, 0) + length
                while len(self._touched) > _REMEMBERED:
                    self._touched.popitem(last=False)
                if touched >= _IN_ORDER:
                    self._fetch_after(number)
                return None
            block.served += length
            self._blocks.move_to_end(number)
            self._fetch_after(number)
            if block.served >= BLOCK:
                del self._blocks[number]  # who holds it still has it
                self._finish(number)
            return block

    def _finish(self, number: int) -> None:
        """Remember a block that was read to its end: a late request for the one before must not have it fetched again."""
        self._finished[number] = None
        while len(self._finished) > self._most:
            self._finished.popitem(last=False)

    def _fetch_after(self, number: int) -> None:
        """Have the blocks after this one fetched; the lock is held."""
        last = (self._image.size - 1) // BLOCK
        for following in range(number + 1, min(number + self._ahead, last) + 1):
            if following in self._blocks:
                self._blocks.move_to_end(following)  # wanted soon: what lies behind the reader goes first
                continue
            if following in self._finished:
                continue
            block = self._blocks[following] = _Block()
            self._pool.submit(self._fetch, following, block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def _fetch(self, number: int, block: _Block) -> None:
        offset = number * BLOCK
        work: Future[memoryview] = block.content
        with _outcome_in(work):
            buffer = memoryview(bytearray(min(BLOCK, self._image.size - offset)))
            done = self._image.read_into(offset, buffer)
            if done == len(buffer):
                work.set_result(buffer)
            else:
                work.set_exception(OSError(f"{done} of {len(buffer)} bytes at {offset}"))


class _outcome_in:  # noqa: N801 - used like contextlib's
    """Whatever the block raises becomes the outcome of the future: no reader waits for ever."""

    def __init__(self, future: Future[memoryview]) -> None:
        self._future = future

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return error is not None
