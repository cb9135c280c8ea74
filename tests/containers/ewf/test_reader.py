"""The reader of E01 beyond serving sound sets: large segments and chunks, many segments, limits, threads, I/O errors."""

from __future__ import annotations

import errno
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.containers.ewf import tables
from imgkit.containers.ewf.chunks import Chunks
from imgkit.errors import CorruptImage, CorruptMedia, MediaReadError, MissingSegment
from imgkit.image import Extent
from tests.containers.ewf_sparse import write_sparse_ewf
from tests.containers.ewf_writer import (
    COMPRESSED,
    Recipe,
    checked,
    descriptor,
    volume_data,
    write_ewf,
)

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.containers.ewf.chunks import Failure, Sink


GIB = 1 << 30
MIB = 1 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# --- segments over 2 GiB ---

BIG_CHUNK = 16 * MIB
BIG_COUNT = 140  # of 16 MiB: the last ones lie beyond 2 GiB
BIG = Recipe(sectors_per_chunk=BIG_CHUNK // 512)


def big_segment(path: Path, counts: tuple[int, ...], *, based: bool) -> list[int]:
    """A sparse segment of 2.2 GiB of zeros in stored chunks; return where each chunk lies.

    Args:
        path: Where.
        counts: Number of chunks of each table.
        based: Every fifth chunk is compressed and offsets count from the base of their table (EnCase 6.7 and later);
            otherwise all 32 bits are offset beyond 2 GiB (EnCase 6.7.1).
    """
    stored = struct.pack("<I", zlib.adler32(bytes(BIG_CHUNK)))
    packed = zlib.compress(bytes(BIG_CHUNK))
    volume = volume_data(BIG, sum(counts), sum(counts) * BIG_CHUNK // 512)
    offsets: list[int] = []
    with path.open("wb", buffering=0) as file:
        fd = file.fileno()
        at = os.pwrite(fd, b"EVF\x09\x0d\x0a\xff\x00" + struct.pack("<BHH", 1, 1, 0), 0)
        at += os.pwrite(fd, descriptor("volume", at + 76 + len(volume), 76 + len(volume)) + volume, at)
        for count in counts:
            sectors, at, entries = at, at + 76, []
            for number in range(count):
                compressed = based and number % 5 == 4
                offsets.append(at)
                entries.append(at - (sectors if based else 0) | (COMPRESSED if compressed else 0))
                if compressed:
                    at += os.pwrite(fd, packed, at)
                else:
                    at += BIG_CHUNK + os.pwrite(fd, stored, at + BIG_CHUNK)
            os.pwrite(fd, descriptor("sectors", at, at - sectors), sectors)
            header = checked(struct.pack("<I4xQ4x", count, sectors if based else 0))
            table = header + checked(struct.pack(f"<{count}I", *entries))
            for kind in ("table", "table2"):
                at += os.pwrite(fd, descriptor(kind, at + 76 + len(table), 76 + len(table)) + table, at)
        os.pwrite(fd, descriptor("done", at, 76), at)
    return offsets


@pytest.mark.parametrize(
    ("counts", "based"),
    [((140,), False), ((100, 70), True)],
    ids=["all 32 bits are offset", "base offsets"],
)
def test_a_segment_beyond_two_gib(tmp_path: Path, counts: tuple[int, ...], based: bool) -> None:
    path = tmp_path / "big.E01"
    offsets = big_segment(path, counts, based=based)
    assert offsets[-1] > 2 * GIB
    beyond = next(number for number, offset in enumerate(offsets) if offset > 2 * GIB)
    with open_image(path) as image:
        assert image.size == len(offsets) * BIG_CHUNK
        for number in (0, 99, 100, beyond - 1, beyond, beyond + 1, len(offsets) - 1):
            assert image.read_at(number * BIG_CHUNK + 12345, 4096) == bytes(4096)
        assert image.anomalies == ()
        with path.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"X", offsets[-2] + 77)
        with pytest.raises(CorruptMedia, match=f"chunk {len(offsets) - 2} of segment {path}"):
            image.read_at((len(offsets) - 2) * BIG_CHUNK, 512)


# --- large chunks, many chunks, many segments ---

PEAK = """
import sys
from imgkit.containers import open_image
from imgkit.hashing import hash_range
with open_image(sys.argv[1]) as image:
    found = hash_range(image, 0, image.size, algorithms=("md5", "sha1"))
    assert len(found.digests) == 2
    assert {item.value for item in image.stored_digests} <= {item.value for item in found.digests}
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("chunk", [32 << 10, 16 * MIB, 32 * MIB])
def test_memory_is_bounded(tmp_path: Path, chunk: int) -> None:
    """Peak of hashing, in a process of its own: 160 MiB are allowed whatever the size of a chunk."""
    piece = noise(MIB // 2) + bytes(MIB // 2)
    layout = write_ewf(
        tmp_path,
        lambda at, length: (piece * (length // MIB + 2))[at % MIB : at % MIB + length],
        Recipe(sectors_per_chunk=chunk // 512, store=("zlib1", "stored")),
        size=50 * MIB + 512,
    )
    done = subprocess.run(
        [sys.executable, "-c", PEAK, layout.paths[0]], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 160 << 10


def test_chunks_larger_than_any_writer_makes_are_refused(tmp_path: Path) -> None:
    layout = write_ewf(tmp_path, bytes(512), Recipe(sectors_per_chunk=(32 * MIB) // 512 + 1))
    with pytest.raises(CorruptImage, match="chunks of 33554944 bytes"):
        open_image(layout.paths[0])


def test_tables_of_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries than are kept at once, in one table, and a fault behind the first page."""
    monkeypatch.setattr(tables, "PAGE", 256)
    monkeypatch.setattr(tables, "_PAGES_KEPT", 2)
    media = noise(2000 * 64)
    recipe = Recipe(sectors_per_chunk=1, bytes_per_sector=64, chunks_per_table=1900)
    layout = write_ewf(tmp_path, media, recipe)
    with open_image(layout.paths[0]) as image:
        assert image.read_at(0, image.size) == media
        assert image.sector_size is None
        for number in (255, 256, 1024, 1, 1899, 1900):
            assert image.read_at(number * 64 - 3, 70) == media[number * 64 - 3 :][:70]
    flip(layout.paths[0], layout.chunks[600].entry)
    with open_image(layout.paths[0]) as image:
        assert list(image.anomalies) == []
        assert image.read_at(0, image.size) == media
        assert "fails the Adler-32 of its entries" in image.anomalies[0]


def flip(path: Path, offset: int) -> None:
    with path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 1]), offset)


def test_700_segments_with_64_descriptors(tmp_path: Path) -> None:
    media = noise(700 * 512)
    layout = write_ewf(
        tmp_path,
        media,
        Recipe(sectors_per_chunk=1, chunks_per_segment=1, stored_md5=True),
    )
    assert layout.paths[-1].suffix == ".EXC"
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "from imgkit.containers import open_image\n"
        "with open_image(sys.argv[1]) as image: sys.stdout.buffer.write(image.read_at(0, image.size))"
    )
    command = [sys.executable, "-c", code, str(layout.paths[500])]
    done = subprocess.run(command, check=True, capture_output=True)
    assert done.stdout == media


def test_a_set_of_20_tb_opens_without_reading_its_tables(tmp_path: Path) -> None:
    paths = write_sparse_ewf(tmp_path, 20 << 40, 50)
    with open_image(paths[0]) as image:
        assert image.size == 20 << 40
        assert list(image.data_extents()) == [Extent(0, 20 << 40)]
        with pytest.raises(CorruptMedia, match="table section at") as raised:
            image.read_at(15 << 40, 4096)
        assert [item[:2] for item in raised.value.ranges] == [(15 << 40, 4096)]


# --- threads ---


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "imgkit-inflate"]


def test_threads_begin_with_the_first_large_read_and_end_at_close(tmp_path: Path) -> None:
    media = noise(4 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("zlib1",)))
    image = open_image(layout.paths[0])
    assert threads() == []
    assert image.read_at(100, 1000) == media[100:1100]
    assert image.read_at(0, len(media)) == media
    assert threads()
    image.close()
    image.close()
    assert threads() == []
    with pytest.raises(ValueError, match="closed image"):
        image.read_at(0, MIB)


def test_where_no_thread_can_be_had_the_reader_works_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = noise(2 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("zlib1",)))

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with open_image(layout.paths[0]) as image:
        assert image.read_at(0, len(media)) == media
        for at in range(0, len(media), 100_000):
            assert image.read_at(at, 100_000) == media[at : at + 100_000]


def test_small_reads_in_order_inflate_each_chunk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = noise(4 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("zlib1",)))
    seen: list[int] = []
    read = Chunks.read

    def counted(chunks: Chunks, first: int, last: int, sink: Sink) -> list[Failure]:
        seen.extend(range(first, last))
        return read(chunks, first, last, sink)

    monkeypatch.setattr(Chunks, "read", counted)
    with open_image(layout.paths[0]) as image:
        for at in range(0, len(media), 4096):
            assert image.read_at(at, 4096) == media[at : at + 4096]
    assert sorted(seen) == list(range(len(layout.chunks)))


# --- reads that fail ---


def test_a_kernel_error_costs_the_chunks_it_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = noise(2 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("stored",)))
    bad = layout.chunks[33]
    preadv = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        length = sum(map(len, buffers))
        if length < 1 << 20 and offset <= bad.offset + 5000 < offset + length and fd in fds:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return preadv(fd, buffers, offset)

    with open_image(layout.paths[0]) as image:
        assert image.read_at(0, 512) == media[:512]
        fds = {int(name) for name in os.listdir("/proc/self/fd") if is_open(int(name), layout.paths[0])}
        monkeypatch.setattr(os, "preadv", failing)
        buffer = bytearray(len(media))
        with pytest.raises(MediaReadError) as raised:
            image.read_into(0, memoryview(buffer))
        monkeypatch.undo()
    error = raised.value
    assert not isinstance(error, CorruptMedia)
    assert error.errno == errno.EIO
    assert [item[:2] for item in error.ranges] == [(bad.media_offset, bad.length)]
    end = bad.media_offset + bad.length
    assert buffer[: bad.media_offset] == media[: bad.media_offset]
    assert buffer[end:] == media[end:]


def test_a_table_that_the_kernel_cannot_read_for_a_while_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's error is passed on as what it is, and an attached image gets over it (a file server that was away)."""
    media = noise(2 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("stored",)))
    entries = {layout.find(kind).payload + 24 for kind in ("table", "table2")}
    preadv = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset in entries:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return preadv(fd, buffers, offset)

    with open_image(layout.paths[0]) as image:
        monkeypatch.setattr(os, "preadv", failing)
        with pytest.raises(MediaReadError, match="Input/output error") as raised:
            image.read_at(4096, 512)
        monkeypatch.undo()
        assert not isinstance(raised.value, CorruptMedia)
        assert (raised.value.errno, raised.value.offset, raised.value.length) == (errno.EIO, 4096, 512)
        assert image.read_at(0, image.size) == media
        assert image.anomalies == ()


def is_open(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def test_a_segment_that_shrinks_is_an_error_and_never_zeros(tmp_path: Path) -> None:
    media = noise(2 * MIB)
    layout = write_ewf(tmp_path, media, Recipe(store=("stored",)))
    with open_image(layout.paths[0]) as image:
        assert image.read_at(0, 512) == media[:512]
        os.truncate(layout.paths[0], layout.chunks[40].offset + 10)
        buffer = bytearray(len(media))
        with pytest.raises(MediaReadError) as raised:
            image.read_into(0, memoryview(buffer))
        start = layout.chunks[40].media_offset
        offset, length = raised.value.ranges[-1][:2]
        assert (raised.value.ranges[0][0], offset + length) == (start, len(media))
        assert buffer[:start] == media[:start]
        assert "shorter than when it was opened" in raised.value.message


def test_a_table_that_changes_after_its_check_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PAGE", 256)
    media = noise(1000 * 512)
    layout = write_ewf(tmp_path, media, Recipe(sectors_per_chunk=1))
    with open_image(layout.paths[0]) as image:
        assert image.read_at(0, 512) == media[:512]
        flip(layout.paths[0], layout.chunks[900].entry)
        with pytest.raises(MediaReadError, match="not what it was when it was checked"):
            image.read_at(800 * 512, 512)
        assert image.read_at(512, 512) == media[512:1024]


# --- what the set says of itself ---


def test_a_sector_size_that_the_user_states(tmp_path: Path) -> None:
    layout = write_ewf(tmp_path, bytes(8192), Recipe())
    with open_image(layout.paths[0], sector_size=4096) as image:
        assert (image.sector_size, image.sector_size_source) == (4096, "stated by the user")
    with open_image(layout.paths[0]) as image:
        assert (image.sector_size, image.sector_size_source) == (512, "the volume section")
        image.forget(0, image.size)
        assert image.backing_fileno() is None


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_a_segment_cut_short_is_named_with_both_sizes(tmp_path: Path, segment: int) -> None:
    layout = write_ewf(tmp_path, noise(300_000), Recipe(chunks_per_segment=4))
    size = layout.paths[segment].stat().st_size
    os.truncate(layout.paths[segment], size - 1000)
    with pytest.raises(MissingSegment) as raised:
        open_image(layout.paths[0])
    assert f"segment {layout.paths[segment]} is short: it has {size - 1000} bytes" in raised.value.message
