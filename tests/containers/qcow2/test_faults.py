"""Damage in a qcow2 ends in an error with the right range of the media: no zeros, no other cluster's bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import CorruptImage, CorruptMedia
from imgkit.hashing import hash_range
from tests.containers.oracle import bad_ranges
from tests.containers.qcow2.qemu import (
    MIB,
    convert,
    create,
    flip,
    io,
    l2_entries,
    l2_tables,
    mixed_media,
    peek,
    poke,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = 65536
SIZE = 3 * MIB + 512
MEDIA = b"".join(bytes([index + 1]) * 512 for index in range(128)) * (SIZE // CLUSTER + 1)
MEDIA = MEDIA[:SIZE]


def stored(tmp_path: Path, *options: str, media: bytes = MEDIA) -> Path:
    source = tmp_path / "source.raw"
    source.write_bytes(media)
    return convert(source, tmp_path / "disk.qcow2", *options)


def bad(path: Path, media: bytes = MEDIA) -> list[tuple[int, int]]:
    """The ranges that are refused; everything else is the media's."""
    with open_image(path) as image:
        found = bad_ranges(image, media)
        # What is refused is data as far as a map can tell: nobody skips it as a hole.
        extents = list(image.data_extents())
        assert all(any(e.offset <= at and at + n <= e.end for e in extents) for at, n in found)
        passed = hash_range(image, 0, image.size, algorithms=["sha256"])
        assert list(passed.read_errors) == found
        assert bool(passed.digests) is not bool(found)
        return found


def set_entry(path: Path, index: int, value: int) -> None:
    poke(path, l2_tables(path)[0] + 8 * index, struct.pack(">Q", value))


def entry_of(path: Path, index: int) -> int:
    return l2_entries(path, l2_tables(path)[0], index + 1)[index]


def test_truncated_file(tmp_path: Path) -> None:
    path = stored(tmp_path)
    last = entry_of(path, 20) & 0x00FFFFFFFFFFFE00
    with path.open("r+b") as file:
        file.truncate(last + 1000)
    assert bad(path) == [(20 * CLUSTER + 1000, SIZE - 20 * CLUSTER - 1000)]
    with open_image(path) as image, pytest.raises(CorruptMedia) as caught:
        image.read_at(20 * CLUSTER, CLUSTER)
    assert caught.value.errno is None
    assert (caught.value.offset, caught.value.length) == (20 * CLUSTER + 1000, CLUSTER - 1000)
    assert f"after the end of the file at {last + 1000}" in caught.value.message
    assert caught.value.hint


def test_last_cluster_need_not_be_padded_beyond_the_media(tmp_path: Path) -> None:
    """What old writers leave: the file ends with the last byte of the media, inside a cluster."""
    path = stored(tmp_path)
    end = (entry_of(path, SIZE // CLUSTER) & 0x00FFFFFFFFFFFE00) + SIZE % CLUSTER
    with path.open("r+b") as file:
        assert file.seek(0, 2) > end
        file.truncate(end)
    assert bad(path) == []
    with path.open("r+b") as file:
        file.truncate(end - 1)
    assert bad(path) == [(SIZE - 1, 1)]


def test_truncated_inside_a_compressed_cluster(tmp_path: Path) -> None:
    path = stored(tmp_path, "-c", media=mixed_media(SIZE))
    end = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(end - 512)
    found = bad(path, mixed_media(SIZE))
    assert found
    assert all(offset % CLUSTER == 0 for offset, _ in found)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1 << 63 | 0x10200, "inside a cluster"),
        (1 << 63 | 1 << 40, "after the end of the file"),
        (1 << 63 | 0x00FFFFFFFFFF0000, "after the end of the file"),
        (1 << 63, "leads to the header"),
        (1 << 63 | 1 << 56 | 0x50000, "reserved bits"),
        (1 << 63 | 1 << 4 | 0x50000, "reserved bits"),
        (1 << 62, "another range of the media"),
        (1 << 62 | 1 << 40, "after the end of the file"),
        (1 << 62 | 1 << 63 | 0x50000, "compressed and exclusive"),
        ((1 << 62) | ((1 << 54) - 1), "after the end of the file"),
    ],
)
def test_l2_entry_that_leads_nowhere(tmp_path: Path, value: int, says: str) -> None:
    path = stored(tmp_path)
    set_entry(path, 7, value)
    assert bad(path) == [(7 * CLUSTER, CLUSTER)]
    with open_image(path) as image, pytest.raises(CorruptMedia, match=says):
        image.read_at(7 * CLUSTER + 5, 1)


@pytest.mark.parametrize("table", ["l1", "l2", "refcount", "snapshots"])
def test_l2_entry_that_leads_to_a_table(tmp_path: Path, table: str) -> None:
    path = stored(tmp_path)
    run("qemu-img", "snapshot", "-c", "one", path)
    offsets = {"l1": peek(path, 40, ">Q"), "l2": l2_tables(path)[0], "refcount": peek(path, 48, ">Q")}
    offsets["snapshots"] = peek(path, 64, ">Q")
    set_entry(path, 7, 1 << 63 | offsets[table])
    assert bad(path) == [(7 * CLUSTER, CLUSTER)]


def test_l2_entry_that_leads_to_another_ranges_cluster(tmp_path: Path) -> None:
    """Which of the two is the liar cannot be known: neither is served."""
    path = stored(tmp_path)
    set_entry(path, 7, entry_of(path, 30))
    assert bad(path) == [(7 * CLUSTER, CLUSTER), (30 * CLUSTER, CLUSTER)]


def test_cluster_of_another_ranges_table(tmp_path: Path) -> None:
    """Found when the second table is read: what came first was served, and is refused from then on."""
    path = stored(tmp_path, "-o", "cluster_size=4k")
    first, second = l2_tables(path)[:2]
    poke(path, second, struct.pack(">Q", peek(path, first + 16, ">Q")))
    with open_image(path) as image:
        assert image.read_at(8192, 4096) == MEDIA[8192:12288]
        assert hash_range(image, 0, SIZE, algorithms=["sha256"]).read_errors == ((2 * MIB, 4096),)
        assert bad_ranges(image, MEDIA) == [(8192, 4096), (2 * MIB, 4096)]


def test_compressed_cluster_where_plain_data_lies(tmp_path: Path) -> None:
    media = mixed_media(SIZE)
    path = stored(tmp_path, "-c", media=media)
    entries = l2_entries(path, l2_tables(path)[0], 49)
    index, entry = next((i, e) for i, e in enumerate(entries) if e >> 62 == 1)
    plain = next(i for i, e in enumerate(entries) if e >> 62 == 2)
    set_entry(path, plain, 1 << 63 | (entry & ((1 << 54) - 1)) >> 16 << 16)
    found = bad(path, media)
    for each in (plain, index):
        assert any(at <= each * CLUSTER and each * CLUSTER + CLUSTER <= at + n for at, n in found)


def test_zero_flag_where_version_2_has_none(tmp_path: Path) -> None:
    path = stored(tmp_path, "-o", "compat=0.10")
    set_entry(path, 7, entry_of(path, 7) | 1)
    assert bad(path) == [(7 * CLUSTER, CLUSTER)]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "leads to the header"),
        (0x10200, "inside a cluster"),
        (1 << 40, "after the end of the file"),
        (1 << 60, "reserved bits"),
        (0x10000, "header or another table"),
    ],
)
def test_l1_entry_that_leads_nowhere(tmp_path: Path, value: int, says: str) -> None:
    """With clusters of 4 KiB a table describes 2 MiB; an entry without an offset is no table: nothing can tell."""
    path = stored(tmp_path, "-o", "cluster_size=4k")
    l1 = peek(path, 40, ">Q")
    table = peek(path, 48, ">Q") if says.startswith("header") else value
    poke(path, l1, struct.pack(">Q", 1 << 63 | table))
    if value == 0:
        with open_image(path) as image:
            assert image.read_at(0, 10) == bytes(10)
        return
    assert bad(path) == [(0, 2 * MIB)]
    with open_image(path) as image, pytest.raises(CorruptMedia, match=says):
        image.read_at(MIB, 1)


def test_two_l1_entries_with_one_table(tmp_path: Path) -> None:
    path = stored(tmp_path, "-o", "cluster_size=4k")
    poke(path, peek(path, 40, ">Q"), struct.pack(">Q", peek(path, peek(path, 40, ">Q") + 8, ">Q")))
    assert bad(path) == [(0, SIZE)]


def test_l2_table_cut_off(tmp_path: Path) -> None:
    path = stored(tmp_path)
    table = (path.stat().st_size | (CLUSTER - 1)) + 1
    content = path.read_bytes()
    old = l2_tables(path)[0]
    poke(path, table, content[old : old + CLUSTER - 512])
    poke(path, peek(path, 40, ">Q"), struct.pack(">Q", 1 << 63 | table))
    assert bad(path) == [(0, SIZE)]


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_flipped_bits_in_compressed_clusters(tmp_path: Path, kind: str) -> None:
    """A cluster whose stream breaks is refused, alone. One whose stream stays whole cannot be told: no checksum."""
    media = mixed_media(SIZE)
    path = stored(tmp_path, "-c", "-o", f"compression_type={kind}", media=media)
    compressed = [(i, e) for i, e in enumerate(l2_entries(path, l2_tables(path)[0], 49)) if e >> 62 == 1]
    for index, entry in compressed[:20]:
        host = entry & ((1 << 54) - 1)
        flip(path, host, 1)  # in the block header of deflate, in the magic of zstd
        with open_image(path) as image, pytest.raises(CorruptMedia) as caught:
            image.read_at(index * CLUSTER, CLUSTER)
        assert caught.value.ranges[0][:2] == (index * CLUSTER, min(CLUSTER, SIZE - index * CLUSTER))
        assert f"compressed cluster at {host} of {path}" in caught.value.message
        flip(path, host, 1)
    assert len(compressed) > 20
    assert bad(path, media) == []


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("length", [CLUSTER - 1, CLUSTER + 1, 1, 200 * MIB])
def test_compressed_cluster_of_another_length(tmp_path: Path, kind: str, length: int) -> None:
    """Also one that would fill the memory."""
    path = stored(tmp_path, "-c", "-o", f"compression_type={kind}")
    if kind == "zlib":
        import zlib

        deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
        stream = deflate.compress(bytes(length)) + deflate.flush()
    else:
        import zstandard

        stream = zstandard.ZstdCompressor(write_content_size=length % 2 == 0).compress(bytes(length))
    host = (path.stat().st_size | 511) + 1
    poke(path, host, stream)
    x = 62 - 8
    set_entry(path, 7, 1 << 62 | (min(len(stream) // 512, 127) << x) | host)
    assert bad(path) == [(7 * CLUSTER, CLUSTER)]


def test_stream_that_does_not_end(tmp_path: Path) -> None:
    import zlib

    path = stored(tmp_path, "-c")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    stream = deflate.compress(bytes(CLUSTER)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    host = (path.stat().st_size | 511) + 1
    poke(path, host, stream + bytes(512))
    set_entry(path, 7, 1 << 62 | host)
    assert bad(path) == [(7 * CLUSTER, CLUSTER)]


def test_subclusters_that_contradict(tmp_path: Path) -> None:
    path = stored(tmp_path, "-o", "extended_l2=on")
    table = l2_tables(path)[0]
    poke(path, table + 16 * 3 + 8, struct.pack(">Q", 0xFFFFFFFF | 1 << (32 + 5)))  # 5: allocated and zeros
    poke(path, table + 16 * 9, struct.pack(">QQ", 0, 1 << 4))  # 4: allocated, of no cluster
    sub = CLUSTER // 32
    media = bytearray(MEDIA)
    media[9 * CLUSTER : 10 * CLUSTER] = bytes(CLUSTER)
    assert bad(path, bytes(media)) == [(3 * CLUSTER + 5 * sub, sub), (9 * CLUSTER + 4 * sub, sub)]
    poke(path, table + 16 * 9, struct.pack(">QQ", 1 << 62 | 0x50000, 1))
    assert bad(path, bytes(media)) == [(3 * CLUSTER + 5 * sub, sub), (9 * CLUSTER, CLUSTER)]


def test_file_that_shrinks_while_it_is_open(tmp_path: Path) -> None:
    path = stored(tmp_path)
    compressed = stored_apart(tmp_path)
    with open_image(path) as image, open_image(compressed) as other:
        for each in (path, compressed):
            with each.open("r+b") as file:
                file.truncate(peek(path, 40, ">Q") if each == path else 400_000)
        with pytest.raises(CorruptMedia, match="shorter than when it was opened"):
            image.read_at(0, 1)
        with pytest.raises(CorruptMedia, match="shorter than when it was opened"):
            other.read_at(0, MIB)


def stored_apart(tmp_path: Path) -> Path:
    source = tmp_path / "noise.raw"
    source.write_bytes(mixed_media(MIB, seed=5))
    return convert(source, tmp_path / "other.qcow2", "-c")


def test_bad_sector_of_the_disk_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO of a plain cluster is told by the sector, of a compressed one by the cluster, of a table by what it describes."""
    import errno
    import os

    path = stored(tmp_path)
    host = (entry_of(path, 7) & 0x00FFFFFFFFFFFE00) + 1024
    plain = os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset < host + 512 and offset + len(buffers[0]) > host:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(fd, buffers, offset)

    monkeypatch.setattr("os.preadv", preadv)
    with open_image(path) as image:
        passed = hash_range(image, 0, image.size, algorithms=["sha256"])
    assert passed.read_errors == ((7 * CLUSTER + 1024, 512),)
    host = l2_tables(path)[0] + 100
    with open_image(path) as image:
        passed = hash_range(image, 0, image.size, algorithms=["sha256"])
    assert passed.read_errors == ((0, SIZE),)


def test_read_error_of_a_compressed_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    media = mixed_media(SIZE)
    path = stored(tmp_path, "-c", media=media)
    index, entry = next(
        (i, e) for i, e in enumerate(l2_entries(path, l2_tables(path)[0], 40)) if e >> 62 == 1 and i
    )
    host, plain = entry & ((1 << 54) - 1), os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset <= host < offset + len(buffers[0]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(fd, buffers, offset)

    monkeypatch.setattr("os.preadv", preadv)
    with open_image(path) as image:
        passed = hash_range(image, 0, image.size, algorithms=["sha256"])
    assert passed.read_errors == ((index * CLUSTER, CLUSTER),)
    assert "Input/output error" in passed.reasons[0][2]


def test_open_refuses_what_a_cut_leaves_of_an_empty_disk(tmp_path: Path) -> None:
    path = io(create(tmp_path / "d.qcow2", "1M"))
    with path.open("r+b") as file:
        file.truncate(3 * CLUSTER + 4)  # inside the L1 table
    with pytest.raises(CorruptImage, match="L1 table ends"):
        open_image(path)
