"""Digest and the pass: known answers of every algorithm, one read for all, bad sectors narrowed, memory bounded."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter

import pytest

from imgkit.errors import CorruptMedia, HostError, MediaReadError, UsageError
from imgkit.hashing import BUFFER, BUFFERS, HASH_ALGORITHMS, REASONS, Digest, algorithm_name, hash_range
from tests.conftest import need

# Digests of b"abc": FIPS 180-4, FIPS 202, RFC 1321, RFC 7693, ISO/IEC 10118-3, GB/T 32905-2016 and the BLAKE3 paper's
# reference implementation; not computed here.
ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha224": "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha384": "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
    "8086072ba1e7cc2358baeca134c825a7",
    "sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    "sha512_224": "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
    "sha512_256": "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
    "sha3_224": "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
    "sha3_256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    "sha3_384": "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
    "98d88cea927ac7f539f1edf228376d25",
    "sha3_512": "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
    "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    "blake2b": "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
    "blake2s": "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
    "ripemd160": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    "sm3": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
    "blake3": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
}
OPENSSL = {
    "sha512_224": "sha512-224",
    "sha512_256": "sha512-256",
    "blake2b": "blake2b512",
    "blake2s": "blake2s256",
}


class Media:
    """Bytes with sectors that cannot be read; counts how often each was asked for."""

    def __init__(self, content: bytes, *, bad: set[int] | None = None, sector_size: int | None = 512) -> None:
        self.content = content
        self.bad = bad or set()
        self.sector_size = sector_size
        self.asked: Counter[int] = Counter()
        self.forgotten: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.content)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fails as a whole where one of its sectors is bad, as pread does."""
        unit = self.sector_size or 512
        sectors = range(offset // unit, -(-(offset + len(buffer)) // unit))
        hit = self.bad.intersection(sectors)
        self.asked.update(hit)
        if hit:
            raise MediaReadError("bad", offset=offset, length=len(buffer), errno=5)
        piece = self.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def read_again(self, offset: int, buffer: memoryview) -> int:
        return self.read_into(offset, buffer)

    def forget(self, offset: int, length: int) -> None:
        assert 0 <= offset <= self.size - length
        self.forgotten.append((offset, length))


def pattern(size: int) -> bytes:
    """Bytes of which no two sectors are alike."""
    return b"".join(number.to_bytes(8, "big") for number in range(-(-size // 8)))[:size]


# -- known answers ---------------------------------------------------------------------------------


def test_every_algorithm_of_hashlib_of_fixed_length_is_there() -> None:
    fixed = {name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")}
    assert fixed <= set(HASH_ALGORITHMS)
    assert set(ABC) == set(HASH_ALGORITHMS)


@pytest.mark.parametrize("name", HASH_ALGORITHMS)
def test_known_answers(name: str) -> None:
    done = hash_range(Media(b"abc"), 0, 3, algorithms=[name])
    assert done.digests == (Digest(name, ABC[name]),)


@pytest.mark.parametrize("name", sorted(set(HASH_ALGORITHMS) - {"blake3"}))
def test_openssl_says_the_same(name: str) -> None:
    need(shutil.which("openssl") is not None, "needs openssl")
    content = pattern(70_001)
    command = ["openssl", "dgst", "-r", f"-{OPENSSL.get(name, name.replace('_', '-'))}"]
    shown = subprocess.run(command, input=content, capture_output=True, check=False)
    need(shown.returncode == 0, f"this openssl does not know {name}")
    done = hash_range(Media(content), 0, len(content), algorithms=[name])
    assert done.digests[0].value == shown.stdout.split()[0].decode()


def test_all_algorithms_in_one_read_and_in_the_order_asked_for() -> None:
    content = pattern(3 * BUFFER + 777)
    names = sorted(HASH_ALGORITHMS, reverse=True)
    done = hash_range(Media(content), 0, len(content), algorithms=names)
    assert [digest.algorithm for digest in done.digests] == names
    for digest in done.digests:
        hasher = HASH_ALGORITHMS[digest.algorithm][0]()
        hasher.update(memoryview(content))
        assert digest.value == hasher.hexdigest()


@pytest.mark.parametrize("length", [0, 1, 511, 513, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER])
@pytest.mark.parametrize("offset", [0, 1, 4097])
def test_a_range_is_exactly_that_range(offset: int, length: int) -> None:
    content = pattern(offset + length + 100)
    done = hash_range(Media(content), offset, length, algorithms=["sha256"])
    assert done.digests[0].value == hashlib.sha256(content[offset : offset + length]).hexdigest()
    assert done.length == length


def test_progress_is_told_to_the_end() -> None:
    told: list[int] = []
    hash_range(Media(bytes(3 * BUFFER + 1)), 0, 3 * BUFFER + 1, algorithms=["md5"], progress=told.append)
    assert told == [BUFFER, 2 * BUFFER, 3 * BUFFER, 3 * BUFFER + 1]


# -- bad sectors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sector_size", [512, 4096, None])
@pytest.mark.parametrize(
    "bad",
    [{0}, {7}, {0, 1, 2}, {5, 7}, {31}, {30, 31}, set(range(32)), {0, 31}],
    ids=str,
)
def test_bad_sectors_are_narrowed_read_twice_at_most_and_give_no_digest(
    bad: set[int], sector_size: int | None
) -> None:
    unit = sector_size or 512
    content = pattern(32 * unit)
    media = Media(content, bad=bad, sector_size=sector_size)
    done = hash_range(media, 0, len(content), algorithms=["sha256", "md5"], zero_fill=True)
    assert done.digests == ()
    unreadable = {
        sector
        for start, length in done.read_errors
        for sector in range(start // unit, (start + length) // unit)
    }
    assert unreadable == bad
    assert all(start % unit == 0 and length % unit == 0 for start, length in done.read_errors)
    assert max(media.asked.values()) <= 2
    filled = bytearray(content)
    for sector in bad:
        filled[sector * unit : (sector + 1) * unit] = bytes(unit)
    assert done.zero_filled[0] == Digest("sha256", hashlib.sha256(filled).hexdigest())


def test_ranges_are_merged_and_ascending_across_buffers() -> None:
    sectors = BUFFER // 512
    bad = {sectors - 1, sectors, sectors + 5}
    media = Media(bytes(2 * BUFFER), bad=bad)
    done = hash_range(media, 0, 2 * BUFFER, algorithms=["md5"])
    assert done.read_errors == ((BUFFER - 512, 1024), (BUFFER + 5 * 512, 512))
    assert done.zero_filled == ()
    assert max(media.asked.values()) <= 2


def test_a_range_that_begins_within_a_bad_sector() -> None:
    media = Media(pattern(4096), bad={1})
    done = hash_range(media, 700, 1000, algorithms=["md5"], zero_fill=True)
    assert done.read_errors == ((700, 324),)
    expected = bytes(324) + pattern(4096)[1024:1700]
    assert done.zero_filled[0].value == hashlib.md5(expected, usedforsecurity=False).hexdigest()


def test_media_that_ends_early_is_unreadable_from_there() -> None:
    class Short(Media):
        size = 4096  # what it had when it was opened

    done = hash_range(Short(pattern(1000)), 0, 4096, algorithms=["md5"])
    assert done.digests == ()
    assert done.read_errors == ((1000, 3096),)


def test_a_range_that_the_image_itself_names_is_taken_at_its_word() -> None:
    class Container(Media):
        def read_into(self, offset: int, buffer: memoryview) -> int:
            """A bad chunk at 2048: the container knows which bytes are lost."""
            if offset < 3072 and offset + len(buffer) > 2048:
                self.asked[0] += 1
                raise MediaReadError("bad chunk", offset=2048, length=1024)
            return super().read_into(offset, buffer)

    media = Container(pattern(8192))
    done = hash_range(media, 0, 8192, algorithms=["md5"], zero_fill=True)
    assert done.read_errors == ((2048, 1024),)
    expected = pattern(8192)[:2048] + bytes(1024) + pattern(8192)[3072:]
    assert done.zero_filled[0].value == hashlib.md5(expected, usedforsecurity=False).hexdigest()
    assert media.asked[0] == 1


class Chunks(Media):
    """A container of chunks of 1000 bytes that names every bad one of a read, and fills the rest."""

    def __init__(self, content: bytes, bad: set[int]) -> None:
        super().__init__(content)
        self.bad_chunks = bad
        self.reads = 0

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Every good chunk, rubbish for the bad ones."""
        self.reads += 1
        end = offset + len(buffer)
        buffer[:] = self.content[offset:end]
        hit = [n for n in sorted(self.bad_chunks) if n * 1000 < end and (n + 1) * 1000 > offset]
        for n in hit:
            start, stop = max(offset, n * 1000), min(end, (n + 1) * 1000)
            buffer[start - offset : stop - offset] = b"?" * (stop - start)
        if hit:
            ranges = tuple((n * 1000, 1000, f"chunk {n} is bad") for n in hit)
            raise CorruptMedia("bad chunks", offset=hit[0] * 1000, length=1000, ranges=ranges)
        return len(buffer)


def test_all_bad_ranges_of_a_read_are_taken_from_one_error_with_their_reasons() -> None:
    content = pattern(20_000)
    media = Chunks(content, {0, 3, 4, 19})
    done = hash_range(media, 500, 19_000, algorithms=["sha256"], zero_fill=True)
    assert done.digests == ()
    assert done.read_errors == ((500, 500), (3000, 2000), (19_000, 500))
    assert [text for _, _, text in done.reasons] == [f"chunk {n} is bad" for n in (0, 3, 4, 19)]
    assert done.reasons[1][:2] == (3000, 1000)
    filled = bytearray(content)
    for n in media.bad_chunks:
        filled[n * 1000 : (n + 1) * 1000] = bytes(1000)
    assert done.zero_filled[0].value == hashlib.sha256(filled[500:19_500]).hexdigest()
    assert media.reads == 1


def test_reasons_are_bounded_and_ranges_are_not() -> None:
    bad = set(range(0, 4 * REASONS, 2))
    done = hash_range(Chunks(bytes(4000 * REASONS), bad), 0, 4000 * REASONS, algorithms=["md5"])
    assert len(done.read_errors) == len(bad)
    assert len(done.reasons) == REASONS


def test_an_error_of_another_kind_ends_the_pass() -> None:
    class Broken(Media):
        def read_into(self, offset: int, buffer: memoryview) -> int:
            raise KeyboardInterrupt(offset, len(buffer))

    with pytest.raises(KeyboardInterrupt):
        hash_range(Broken(bytes(9000)), 0, 9000, algorithms=["md5", "blake3"])


# -- memory ----------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_media() -> None:
    class Endless(Media):
        def read_into(self, offset: int, buffer: memoryview) -> int:
            return len(buffer) if offset >= 0 else 0

    size = 64 * BUFFER
    media = Endless(b"")
    tracemalloc.start()
    try:
        hash_range(media, 0, size, algorithms=["md5", "sha1"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BUFFER * BUFFERS * 1.25


def test_media_larger_than_memory_does_not_fill_the_page_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * BUFFER + 5
    media = Media(bytes(size))
    hash_range(media, 0, size, algorithms=["md5"])
    assert media.forgotten == []
    monkeypatch.setattr("imgkit.hashing._half_of_memory", lambda: BUFFER)
    hash_range(media, 3, size - 3, algorithms=["md5"])
    assert media.forgotten == [
        (3, BUFFER),
        (3, 2 * BUFFER),
        (BUFFER + 3, BUFFER + 2),
    ]  # each border once inside


class Panic(BaseException):
    """As pyo3 raises it: no Exception."""


class Failing:
    """A hasher that gives up at its second buffer."""

    def __init__(self) -> None:
        self.updates = 0

    def update(self, data: memoryview, /) -> None:
        self.updates += 1
        if self.updates == 2:
            raise Panic(f"no thread for {len(data)} bytes")

    def digest(self) -> bytes:
        return bytes(16)

    def hexdigest(self) -> str:
        return "0" * 32


@pytest.mark.parametrize("buffers", [2, 7])
def test_a_hasher_that_gives_up_has_no_digest_and_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, buffers: int
) -> None:
    monkeypatch.setattr("imgkit.hashing.BUFFER", 4096)
    monkeypatch.setitem(HASH_ALGORITHMS, "md5", (Failing, 16))
    content = pattern(buffers * 4096)
    before = threading.active_count()
    with pytest.raises(HostError, match="cannot compute md5: no thread for 4096 bytes"):
        hash_range(Media(content), 0, len(content), algorithms=["sha256", "md5"])
    assert threading.active_count() == before


def test_a_limit_on_threads_is_said_and_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(HostError, match="cannot start a thread to hash in"):
        hash_range(Media(b"abc"), 0, 3, algorithms=["md5", "sha1"])
    assert not started[0].is_alive()


# -- Digest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SHA-256", "sha256"),
        ("sha256", "sha256"),
        (" Sha_256 ", "sha256"),
        ("SHA512/256", "sha512_256"),
        ("sha3-512", "sha3_512"),
        ("SHA-1", "sha1"),
        ("BLAKE3", "blake3"),
    ],
)
def test_names_in_every_spelling(text: str, name: str) -> None:
    assert algorithm_name(text) == name


@pytest.mark.parametrize("text", ["", "sha257", "shake_128", "crc32", "sha", "md5sum", "\x1b"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        algorithm_name(text)


def test_a_digest_reads_what_it_writes() -> None:
    for name, value in ABC.items():
        digest = Digest(name, value)
        assert Digest.parse(str(digest)) == digest == Digest.parse(f" {name.upper()} : {value.upper()} ")
        assert hash(digest) == hash(Digest.parse(str(digest)))
    assert Digest("md5", ABC["md5"]) != Digest("md5", "0" * 32)
    assert Digest("md5", ABC["md5"]) != ABC["md5"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md5",
        "md5:",
        ":" + "0" * 32,
        "md5:" + "0" * 31,
        "md5:" + "0" * 33,
        "md5:" + "g" * 32,
        "md5:" + "\u0660" * 32,
    ],
)
def test_a_malformed_digest_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        Digest.parse(text)


def test_a_digest_of_capitals_is_none() -> None:
    with pytest.raises(UsageError):
        Digest("md5", ABC["md5"].upper())


def test_importing_it_loads_no_compiled_library() -> None:
    code = "import sys, imgkit.hashing; print('blake3' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == "False"
