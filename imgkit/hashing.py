"""Digest, and every hash algorithm behind one hashlib-style interface."""

from __future__ import annotations

import hashlib
import hmac
import os
import queue
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from imgkit.errors import HostError, MediaReadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Hasher(Protocol):
    """What hashlib objects and blake3 have in common."""

    def update(self, data: memoryview, /) -> object:
        """Add bytes; releases the GIL for long buffers."""

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""

    def hexdigest(self) -> str:
        """Return the digest in lower-case hex."""


def _blake3() -> Hasher:
    from blake3 import blake3  # noqa: PLC0415  (a compiled library: loaded where it is used)

    hasher: Hasher = blake3(max_threads=blake3.AUTO)
    return hasher


def _hashlib(name: str) -> Callable[[], Hasher]:
    return lambda: hashlib.new(name, usedforsecurity=False)


# name -> (constructor, digest bytes). hashlib's fixed-length algorithms, and blake3 (32 bytes, its default).
HASH_ALGORITHMS: dict[str, tuple[Callable[[], Hasher], int]] = {
    name: (_hashlib(name), size)
    for name, size in (
        ("md5", 16),
        ("sha1", 20),
        ("sha224", 28),
        ("sha256", 32),
        ("sha384", 48),
        ("sha512", 64),
        ("sha512_224", 28),
        ("sha512_256", 32),
        ("sha3_224", 28),
        ("sha3_256", 32),
        ("sha3_384", 48),
        ("sha3_512", 64),
        ("blake2b", 64),
        ("blake2s", 32),
        ("ripemd160", 20),
        ("sm3", 32),
    )
    if name in hashlib.algorithms_available
} | {"blake3": (_blake3, 32)}

_HEX = re.compile(r"[0-9a-f]+")


def algorithm_name(text: str) -> str:
    """Return the key of HASH_ALGORITHMS that `text` means: `SHA-256`, `sha256` and `SHA256` are one.

    Raises:
        UsageError: No such algorithm.
    """
    plain = text.strip().lower().replace("-", "").replace("_", "").replace("/", "")
    for name in HASH_ALGORITHMS:
        if name.replace("_", "") == plain:
            return name
    raise UsageError(
        f"unknown hash algorithm {text!r}", hint="known are " + ", ".join(sorted(HASH_ALGORITHMS))
    )


@dataclass(frozen=True, slots=True)
class Digest:
    """An algorithm and its value; equality takes constant time.

    Attributes:
        algorithm: A key of HASH_ALGORITHMS.
        value: Lower-case hex of the algorithm's full length.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm not in HASH_ALGORITHMS:
            raise UsageError(f"unknown hash algorithm {self.algorithm!r}")
        expected = 2 * HASH_ALGORITHMS[self.algorithm][1]
        if len(self.value) != expected or not _HEX.fullmatch(self.value):
            raise UsageError(f"a {self.algorithm} digest has {expected} hex digits, not {self.value!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:<hex>`, in any case.

        Raises:
            UsageError: No colon, unknown algorithm, or a value of the wrong length.
        """
        name, colon, value = text.strip().partition(":")
        if not colon:
            raise UsageError(
                f"a digest is written ALGORITHM:HEX, not {text!r}", hint="for example sha256:9f86d0..."
            )
        return cls(algorithm_name(name), value.strip().lower())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digest):
            return NotImplemented
        return self.algorithm == other.algorithm and hmac.compare_digest(self.value, other.value)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.value))


class Source(Protocol):
    """What the pass reads: an Image, or anything with its reading half."""

    @property
    def size(self) -> int:
        """Bytes of the media."""

    @property
    def sector_size(self) -> int | None:
        """Bytes of a sector, or None where nothing states it."""

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; see Image.read_into."""

    def read_again(self, offset: int, buffer: memoryview) -> int:
        """The same for one sector of what failed; see Image.read_again."""

    def forget(self, offset: int, length: int) -> None:
        """These bytes will not be read again soon: the page cache need not keep them."""


@dataclass(frozen=True, slots=True)
class HashPass:
    """What one read of a range gave.

    Attributes:
        digests: One for each algorithm asked for, in that order; empty where a byte could not be read.
        zero_filled: The same with unreadable sectors taken as zeros; empty unless asked for and needed.
        read_errors: (offset, length) of what could not be read, ascending, merged.
        length: Bytes of the range.
        reasons: (offset, length, text) of the first REASONS of them, as the reader named each.
    """

    digests: tuple[Digest, ...]
    zero_filled: tuple[Digest, ...]
    read_errors: tuple[tuple[int, int], ...]
    length: int
    reasons: tuple[tuple[int, int, str], ...] = ()


# Measured: fewer hand-overs between threads, and BLAKE3 over two cores wants more than 1 MiB at a time. One is filled
# while the other is hashed; a third only spreads over more of the cache.
BUFFER = 8 << 20
BUFFERS = 2
REASONS = 1000  # of read errors kept with their reason
_FEWER = "raise the limit on processes and threads (ulimit -u), or compute fewer digests in one run"
_SECTOR = 512  # where the media states no sector size

_Bad = tuple[int, int, str]  # offset, length, reason


def hash_range(
    source: Source,
    offset: int,
    length: int,
    *,
    algorithms: Sequence[str],
    zero_fill: bool = False,
    progress: Callable[[int], None] | None = None,
) -> HashPass:
    """Read [offset, offset + length) once and compute every digest in it; memory is bounded by BUFFER x BUFFERS.

    A sector that cannot be read is noted and the run goes on: each bad sector is read at most twice, and no digest of
    the range is returned.

    Args:
        source: The media.
        offset: First byte.
        length: Number of bytes.
        algorithms: Keys of HASH_ALGORITHMS; each name once.
        zero_fill: Also return the digests with unreadable sectors as zeros.
        progress: Called from this thread with the number of bytes done so far.

    Raises:
        HostError: A thread cannot be started, or a library gives up.
    """
    forget = length > _half_of_memory()
    size = min(BUFFER, length)
    with _Ring(algorithms, size) as ring:
        errors: list[tuple[int, int]] = []
        reasons: list[_Bad] = []
        done = 0
        while done < length:
            slot = ring.free_slot()
            want = min(size, length - done)
            bad = _fill(source, offset + done, ring.buffers[slot][:want])
            _merge(errors, bad)
            reasons += bad[: REASONS - len(reasons)]
            ring.give(slot, want)
            if forget:  # and once more what came before: the kernel keeps what lies across the end of a range
                again = min(size, done)
                source.forget(offset + done - again, again + want)
            done += want
            if progress is not None:
                progress(done)
        digests = ring.finish()
    if errors:
        return HashPass((), digests if zero_fill else (), tuple(errors), length, tuple(reasons))
    return HashPass(digests, (), (), length)


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _fill(source: Source, offset: int, buffer: memoryview) -> list[_Bad]:
    """Fill the buffer; return what could not be read, zeroed in the buffer."""
    try:
        got = source.read_into(offset, buffer)
    except MediaReadError as error:
        if error.ranges:
            found = [_blank(offset, buffer, item) for item in error.ranges]
            return [item for item in found if item[1]]
        return _fill_around(source, offset, buffer, error)
    if got == len(buffer):
        return []
    # The caller never asks beyond the media's end: fewer bytes than asked for are bytes that are missing.
    return [
        _blank(offset, buffer, (offset + got, len(buffer) - got, "the image ends before its stated size"))
    ]


def _blank(offset: int, buffer: memoryview, bad: _Bad) -> _Bad:
    """Zero a range of the media in the buffer, as far as it lies in it; return that part."""
    start = max(offset, bad[0])
    stop = max(start, min(offset + len(buffer), bad[0] + bad[1]))
    buffer[start - offset : stop - offset] = bytes(stop - start)
    return start, stop - start, bad[2]


def _fill_around(source: Source, offset: int, buffer: memoryview, error: MediaReadError) -> list[_Bad]:
    """Second and last look at a buffer that failed: by the sector, or around the range that the container names."""
    end = offset + len(buffer)
    if error.errno is None:  # the image itself knows the range (a shrunk file): nothing to narrow
        start, stop = max(offset, error.offset), min(end, error.offset + max(1, error.length))
        if start >= stop:
            start, stop = offset, end
        found = _blank(offset, buffer, (start, stop - start, error.message))
        before = _fill(source, offset, buffer[: start - offset]) if start > offset else []
        after = _fill(source, stop, buffer[stop - offset :]) if stop < end else []
        return [*before, found, *after]
    sector = source.sector_size or _SECTOR
    bad: list[_Bad] = []
    at = offset
    while at < end:
        step = min(sector - at % sector, end - at)
        piece = buffer[at - offset : at - offset + step]
        try:
            got = source.read_again(at, piece)
        except MediaReadError as again:
            got, error = -1, again
        if got != step:
            bad.append(_blank(at, piece, (at, step, error.message)))
        at += step
    return bad


def _merge(ranges: list[tuple[int, int]], more: Sequence[_Bad]) -> None:
    for offset, length, _ in more:
        if ranges and sum(ranges[-1]) == offset:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
        else:
            ranges.append((offset, length))


class _Ring:
    """A ring of buffers that one reader fills and one thread for each algorithm empties."""

    def __init__(self, algorithms: Sequence[str], size: int) -> None:
        self.buffers = [memoryview(bytearray(size)) for _ in range(BUFFERS)]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(BUFFERS):
            self._free.put(slot)
        self._users = [0] * BUFFERS
        self._lock = threading.Lock()
        self._hashers = {name: HASH_ALGORITHMS[name][0]() for name in algorithms}
        self._failures: dict[str, BaseException] = {}  # of an algorithm, once
        self._queues: list[queue.SimpleQueue[tuple[int, int] | None]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        try:
            for name, hasher in self._hashers.items():
                pending: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
                thread = threading.Thread(target=self._work, args=(name, hasher, pending), daemon=True)
                thread.start()
                self._queues.append(pending)
                self._threads.append(thread)
        except RuntimeError as error:  # a limit on threads
            self._stop()
            raise HostError(f"cannot start a thread to hash in: {error}", hint=_FEWER) from error
        return self

    def _work(self, name: str, hasher: Hasher, pending: queue.SimpleQueue[tuple[int, int] | None]) -> None:
        while (item := pending.get()) is not None:
            slot, length = item
            try:
                if name not in self._failures:
                    hasher.update(self.buffers[slot][:length])
            except BaseException as error:  # noqa: BLE001  (a panic of blake3 is no Exception; raised by the reader)
                self._failures[name] = error
            with self._lock:
                self._users[slot] -= 1
                last = self._users[slot] == 0
            if last:
                self._free.put(slot)

    def free_slot(self) -> int:
        slot = self._free.get()
        self._refuse_failures()
        return slot

    def _refuse_failures(self) -> None:
        """A hasher that missed bytes has no digest of the range.

        Raises:
            HostError: The library failed, as blake3 does where it may start no threads.
        """
        for name, error in self._failures.items():
            raise HostError(f"cannot compute {name}: {error}", hint=_FEWER) from error

    def give(self, slot: int, length: int) -> None:
        self._users[slot] = len(self._queues)
        if not self._queues:
            self._free.put(slot)
        for pending in self._queues:
            pending.put((slot, length))

    def finish(self) -> tuple[Digest, ...]:
        self._stop()
        self._refuse_failures()
        return tuple(Digest(name, hasher.hexdigest()) for name, hasher in self._hashers.items())

    def _stop(self) -> None:
        for pending in self._queues:
            pending.put(None)
        for thread in self._threads:
            thread.join()
        self._queues, self._threads = [], []

    def __exit__(self, *exc_info: object) -> None:
        self._stop()
