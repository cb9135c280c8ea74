"""Every variant that QEMU writes is read as qemu-img reads it, in any pieces, by many threads at once."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from imgkit.containers import open_image
from tests.containers.conftest import trace
from tests.containers.qcow2.qemu import MIB, as_raw, convert, create, io, mixed_media, poke, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.image import Image

SIZE = 5 * MIB + 1536


class Variant(NamedTuple):
    """Options of `qemu-img convert`, and what qemu-io then does."""

    options: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


# The order of `then` matters: zeros over data, data over zeros, a hole in what was there.
CHANGES = (
    "write -P 9 1M 3k",
    "write -z 700k 130k",
    "write -z -u 2M 300k",
    "discard 3M 640k",
    "write -P 4 3400k 5k",
    "write -P 1 5243904 512",
)
VARIANTS = {
    "plain": Variant(),
    "version-2": Variant(("-o", "compat=0.10"), CHANGES),
    "version-2-compressed": Variant(("-c", "-o", "compat=0.10"), CHANGES),
    "lazy-refcounts": Variant(("-o", "lazy_refcounts=on")),
    "changed": Variant((), CHANGES),
    "zlib": Variant(("-c",)),
    "zlib-changed": Variant(("-c",), CHANGES),
    "zlib-512": Variant(("-c", "-o", "cluster_size=512")),
    "zlib-4k": Variant(("-c", "-o", "cluster_size=4k"), CHANGES),
    "zlib-2M": Variant(("-c", "-o", "cluster_size=2M"), CHANGES),
    "zstd": Variant(("-c", "-o", "compression_type=zstd"), CHANGES),
    "zstd-512": Variant(("-c", "-o", "compression_type=zstd,cluster_size=512")),
    "zstd-2M": Variant(("-c", "-o", "compression_type=zstd,cluster_size=2M")),
    "plain-512": Variant(("-o", "cluster_size=512"), CHANGES),
    "plain-2M": Variant(("-o", "cluster_size=2M"), CHANGES),
    "subclusters": Variant(("-o", "extended_l2=on"), CHANGES),
    "subclusters-16k-zstd": Variant(
        ("-c", "-o", "extended_l2=on,cluster_size=16k,compression_type=zstd"), CHANGES
    ),
    "subclusters-2M": Variant(("-o", "extended_l2=on,cluster_size=2M"), CHANGES),
    "preallocated": Variant(("-o", "preallocation=metadata"), CHANGES),
    "preallocated-full": Variant(("-o", "preallocation=full")),
    "preallocated-subclusters": Variant(("-o", "preallocation=falloc,extended_l2=on"), CHANGES),
    "refcount-bits": Variant(("-o", "refcount_bits=1")),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.raw"
    path.write_bytes(mixed_media(SIZE))
    return path


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str, source: Path, tmp_path: Path) -> None:
    path = convert(source, tmp_path / "disk.qcow2", *VARIANTS[name].options)
    if VARIANTS[name].then:
        io(path, *VARIANTS[name].then)
    expected = as_raw(path)
    assert (expected == source.read_bytes()) is not bool(VARIANTS[name].then)
    before = trace(path)
    with open_image(path) as image:
        assert (image.format, image.sector_size, image.backing_fileno()) == ("qcow2", None, None)
        check_against(image, expected)
    assert trace(path) == before


def check_against(image: Image, expected: bytes) -> None:
    assert image.size == len(expected)
    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(check_pieces, image, expected, seed) for seed in range(8)]
        assert sum(future.result() for future in done) == 8 * 30
    assert image.read_at(0, image.size) == expected
    assert image.read_at(image.size - 3, 100) == expected[-3:]
    assert image.read_at(image.size, 1) == b""
    check_extents(image, expected)


def check_pieces(image: Image, expected: bytes, seed: int) -> int:
    rng = random.Random(seed)
    cluster = 65536
    for _ in range(30):
        length = rng.choice([1, 512, 4096, 70_000, 400_000, 1_500_000])
        border = rng.randrange(0, image.size, cluster)
        offset = max(0, rng.choice([border - 1, border, border - 4096, rng.randrange(image.size)]))
        assert image.read_at(offset, length) == expected[offset : offset + length], (offset, length)
    return 30


def check_extents(image: Image, expected: bytes) -> None:
    """Ascending, apart, inside the media, and only zeros between them."""
    position = 0
    for extent in image.data_extents():
        assert extent.length
        assert position <= extent.offset
        assert extent.end <= image.size
        assert position == 0 or position < extent.offset
        assert not any(expected[position : extent.offset])
        position = extent.end
    assert not any(expected[position:])


def test_holes_are_no_extents_and_cost_no_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = io(
        create(tmp_path / "d.qcow2", "64M"), "write -P 1 1M 64k", "write -z 8M 1M", "write -P 2 40M 128k"
    )
    with open_image(path) as image:
        assert [(e.offset, e.length) for e in image.data_extents()] == [(MIB, 65536), (40 * MIB, 131072)]
        monkeypatch.setattr("os.preadv", None)  # calling it would be a TypeError
        assert image.read_at(2 * MIB, 30 * MIB) == bytes(30 * MIB)


def test_snapshots_are_listed_and_not_read(source: Path, tmp_path: Path) -> None:
    path = convert(source, tmp_path / "d.qcow2")
    run("qemu-img", "snapshot", "-c", "before", path)
    io(path, *CHANGES)
    run("qemu-img", "snapshot", "-c", "nächster Zustand", path)
    io(path, "write -P 77 0 100k")
    with open_image(path) as image:
        check_against(image, as_raw(path))
        listed = image.metadata["snapshots"]
        assert isinstance(listed, tuple)
        assert [(item["id"], item["name"]) for item in listed] == [("1", "before"), ("2", "nächster Zustand")]
        assert all(item["disk_size"] == SIZE and item["vm_state_size"] == 0 for item in listed)
        assert all(abs(item["date"] - path.stat().st_mtime) < 100 for item in listed)
        assert "internal snapshots (2)" in str(image.metadata["notices"])


def test_facts_of_the_container(source: Path, tmp_path: Path) -> None:
    options = "lazy_refcounts=on,compression_type=zstd,extended_l2=on,cluster_size=32k,refcount_bits=32"
    path = convert(source, tmp_path / "d.qcow2", "-o", options)
    run("qemu-img", "bitmap", "--add", path, "changes")
    with open_image(path) as image:
        assert image.metadata["container"] == {
            "version": 3,
            "virtual_size": SIZE,
            "cluster_size": 32768,
            "compression_type": "zstd",
            "lazy_refcounts": True,
            "extended_l2": True,
            "refcount_bits": 32,
            "nb_snapshots": 0,
            "nb_bitmaps": 1,
            "bitmaps_consistent": True,
        }
    with open_image(path, sector_size=4096) as image:
        assert (image.sector_size, image.sector_size_source) == (4096, "stated by the user")


@pytest.mark.parametrize("options", [(), ("-o", "compat=0.10"), ("-o", "cluster_size=4k")])
def test_libqcow_agrees_where_nothing_is_compressed(
    options: tuple[str, ...], source: Path, tmp_path: Path
) -> None:
    import pyqcow  # type: ignore[import-not-found, import-untyped, unused-ignore]

    path = convert(source, tmp_path / "d.qcow2", *options)
    witness = pyqcow.file()
    witness.open(str(path))
    with open_image(path) as image:
        assert witness.get_media_size() == image.size
        assert witness.read_buffer_at_offset(image.size, 0) == image.read_at(0, image.size)
    witness.close()


def test_media_that_is_no_multiple_of_a_sector(tmp_path: Path) -> None:
    """The header can state any number of bytes; QEMU shows whole sectors of them."""
    path = io(create(tmp_path / "d.qcow2", "1M"), "write -P 5 0 1M")
    poke(path, 24, (MIB - 100).to_bytes(8, "big"))
    with open_image(path) as image:
        assert image.size == MIB - 100
        assert image.read_at(0, MIB) == b"\5" * (MIB - 100)
        assert "412 fewer" in str(image.metadata["notices"])


def test_an_empty_disk(tmp_path: Path) -> None:
    with open_image(create(tmp_path / "d.qcow2", 0)) as image:
        assert (image.size, image.read_at(0, 10), list(image.data_extents())) == (0, b"", [])


@pytest.mark.corpus
def test_corpus(corpus: Path, tmp_path: Path) -> None:
    seen = 0
    for path in sorted((corpus / "images").rglob("*.qcow2")):
        copy = tmp_path / f"{seen}.qcow2"
        copy.write_bytes(path.read_bytes())
        with open_image(path) as image:
            check_against(image, as_raw(copy))
        seen += 1
    assert seen == 5


def test_descriptors_and_threads_are_given_back(
    source: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    path, media = convert(source, tmp_path / "d.qcow2", "-c"), source.read_bytes()
    untouched()
    files, threads = set(os.listdir("/proc/self/fd")), threading.active_count()
    image = open_image(path)
    assert image.read_at(0, SIZE) == media
    assert threading.active_count() > threads
    image.close()
    image.close()
    assert threading.active_count() == threads
    assert set(os.listdir("/proc/self/fd")) == files
    with pytest.raises(ValueError, match="closed"):
        image.read_at(0, SIZE)
