"""Bytes equal to the raw source, to pyewf and to ewfexport: at random offsets and lengths, from eight threads at once."""

from __future__ import annotations

import functools
import hashlib
import importlib
import random
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from tests.containers.conftest import trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.image import Image

SECTOR = 512
SIZE = 5357 * SECTOR  # no multiple of any chunk size
LENGTHS = [1, 100, SECTOR, 4096, 32768, 65536, 131072, 300_000, 1_100_000]

# (format, compression, sectors per chunk, bytes per segment)
VARIANTS = [
    ("encase1", "fast", 64, "1MiB"),
    ("encase2", "none", 64, "1MiB"),
    ("encase3", "best", 128, "1MiB"),
    ("encase4", "empty-block", 64, "1MiB"),
    ("encase5", "fast", 256, "1MiB"),
    ("encase6", "fast", 64, "1MiB"),
    ("encase6", "none", 16, "1.2MiB"),
    ("encase6", "best", 2048, "1.5GiB"),
    ("encase6", "empty-block", 32768, "1.5GiB"),
    ("encase7", "fast", 1024, "1.5GiB"),
    ("linen5", "fast", 64, "1MiB"),
    ("linen6", "none", 512, "1.5GiB"),
    ("linen7", "best", 64, "1MiB"),
    ("ftk", "fast", 64, "1MiB"),
    ("ewf", "fast", 64, "1MiB"),
    ("ewfx", "fast", 64, "1MiB"),
    ("smart", "fast", 64, "1MiB"),
    ("smart", "none", 128, "1.5GiB"),
]


@functools.cache
def media() -> bytes:
    """Bytes that compress well, hardly, not at all, and zeros, in runs that fit no chunk."""
    rng = random.Random(7)
    parts: list[bytes] = []
    while sum(map(len, parts)) < SIZE:
        length = rng.randrange(1000, 200_000)
        kind = rng.randrange(6)
        if kind == 0:
            parts.append(bytes(length))
        elif kind == 1:
            parts.append(b"".join(b"%d lines of text\n" % number for number in range(length // 16)))
        elif kind == 2:
            parts.append(rng.randbytes(97) * (length // 97))
        else:
            parts.append(rng.randbytes(length))
    return b"".join(parts)[:SIZE]


def acquire(folder: Path, kind: str, compression: str, sectors: int, segment: str) -> list[Path]:
    """Make a set with ewfacquire; return its files, the first one first."""
    source = folder / "source.raw"
    source.write_bytes(media())
    command = ["ewfacquire", "-u", "-q", "-f", kind, "-c", compression, "-b", str(sectors), "-S", segment]
    command += ["-d", "sha1", "-C", "case 1", "-D", "d", "-e", "me", "-E", "1", "-N", "n", "-l", "/dev/null"]
    command += ["-m", "fixed", "-M", "physical", "-t", str(folder / "image"), str(source)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    source.unlink()
    found = sorted(folder.glob("image.*"))
    assert found
    return found


def disagreements(image: Image, truth: Callable[[int, int], bytes], *, rounds: int, seed: int) -> list[str]:
    """Read at random places from eight threads at once; whole runs in order from two of them."""
    wrong: list[str] = []
    barrier = threading.Barrier(8)

    def look(number: int) -> None:
        rng = random.Random(seed * 100 + number)
        barrier.wait()
        at = rng.randrange(image.size)
        for _ in range(rounds):
            length = rng.choice(LENGTHS)
            at = (at + length) % image.size if number < 2 else rng.randrange(image.size)
            length = min(length, image.size - at)
            if image.read_at(at, length) != truth(at, length):
                wrong.append(f"{length} bytes at {at}")

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def witness(paths: list[Path]) -> Any:
    handle = importlib.import_module("pyewf").handle()
    handle.open([str(path) for path in paths])
    return handle


@pytest.mark.parametrize(("kind", "compression", "sectors", "segment"), VARIANTS)
def test_what_ewfacquire_makes(
    tmp_path: Path, kind: str, compression: str, sectors: int, segment: str
) -> None:
    paths = acquire(tmp_path, kind, compression, sectors, segment)
    before = [trace(path) for path in paths]
    with open_image(paths[-1]) as image:
        assert (image.format, image.size, image.sector_size) == ("ewf", SIZE, SECTOR)
        assert [item.path for item in image.segments] == [str(path) for path in paths]
        assert (len(paths) > 1) == (segment[-3] == "M")
        assert image.read_at(0, SIZE) == media()
        assert (
            disagreements(image, lambda at, length: media()[at : at + length], rounds=25, seed=sectors) == []
        )
        stated = image.stored_digests[0]
        assert stated.value == hashlib.new(stated.algorithm, media()).hexdigest()
        assert image.anomalies == ()
        assert "notices" not in image.metadata
        facts = image.metadata["container"]
        assert isinstance(facts, dict)
        assert facts["variant"] == {"smart": "SMART", "ewf": "EWF"}.get(kind, "EnCase")
        assert (facts["chunk_size"], facts["segment_count"]) == (sectors * SECTOR, len(paths))
        acquisition = image.metadata["acquisition"]
        assert isinstance(acquisition, dict)
        assert acquisition["case_number"] == "case 1"
    assert [trace(path) for path in paths] == before
    assert witness(paths).read_buffer_at_offset(SIZE, 0) == media()


def test_sha1_of_the_digest_section(tmp_path: Path) -> None:
    paths = acquire(tmp_path, "encase6", "fast", 64, "1.5GiB")
    with open_image(paths[0]) as image:
        assert [str(digest) for digest in image.stored_digests] == [
            f"{name}:{hashlib.new(name, media()).hexdigest()}" for name in ("md5", "sha1")
        ]


def test_sha1_that_only_the_xhash_section_states(tmp_path: Path) -> None:
    paths = acquire(tmp_path, "ewfx", "fast", 64, "1.5GiB")
    with open_image(paths[0]) as image:
        assert [str(digest) for digest in image.stored_digests] == [
            f"{name}:{hashlib.new(name, media()).hexdigest()}" for name in ("md5", "sha1")
        ]


def test_ewfexport_agrees(tmp_path: Path) -> None:
    paths = acquire(tmp_path, "encase5", "best", 64, "1MiB")
    command = ["ewfexport", "-u", "-q", "-f", "raw", "-t", str(tmp_path / "out"), str(paths[0])]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with open_image(paths[0]) as image:
        assert image.read_at(0, image.size) == (tmp_path / "out.raw").read_bytes()


@pytest.mark.parametrize("sectors", [1, 63, 64, 65, 127, 128, 129])
def test_sizes_around_a_chunk(tmp_path: Path, sectors: int) -> None:
    raw = media()[: sectors * SECTOR]
    source = tmp_path / "source.raw"
    source.write_bytes(raw)
    command = [
        "ewfacquire",
        "-u",
        "-q",
        "-c",
        "fast",
        "-l",
        "/dev/null",
        "-t",
        str(tmp_path / "image"),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with open_image(tmp_path / "image.E01") as image:
        assert image.read_at(0, 1 << 20) == raw
        assert image.read_at(len(raw) - 1, 10) == raw[-1:]
        assert image.read_at(len(raw), 10) == b""


@pytest.mark.parametrize("sectors", [100, 128])
def test_a_file_that_ends_within_a_sector(tmp_path: Path, sectors: int) -> None:
    """Its tail is in the last chunk or one of its own, and in the stored digest, and no part of the media as stated."""
    raw = media()[: sectors * SECTOR + 300]
    source = tmp_path / "source.raw"
    source.write_bytes(raw)
    for compression in ("none", "fast"):
        command = ["ewfacquire", "-u", "-q", "-c", compression, "-l", "/dev/null"]
        command += ["-t", str(tmp_path / compression), str(source)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        with open_image(tmp_path / f"{compression}.E01") as image:
            assert image.size == sectors * SECTOR
            assert image.read_at(0, len(raw)) == raw[: image.size]
            assert image.read_at(image.size - 1, 10) == raw[image.size - 1 : image.size]
            assert "300 bytes more than" in image.anomalies[0]


CORPUS = {
    "SecurityRonin__ewf-forensic/ctf_file6.E01": 1,
    "SecurityRonin__ewf-forensic/gpt_130_partitions.E01": 1,
    "SecurityRonin__ewf-forensic/ntfs_sample.E01": 1,
    "SecurityRonin__forensic-vfs-engine/data__gpt_ntfs.E01": 1,
    "Velocidex__go-ewf/rand.dd.E01": 6,
    "Velocidex__go-ewf/test.ntfs.dd.E01": 1,
    "log2timeline__dfvfs/ext2.E01": 1,
    "sleuthkit__sleuthkit/data__image.E01": 1,
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", CORPUS)
def test_what_others_made(corpus: Path, name: str) -> None:
    path = corpus / "images" / name
    paths = sorted(path.parent.glob(f"{path.stem}.E*"))
    assert len(paths) == CORPUS[name]
    handle = witness(paths)
    expected = handle.read_buffer_at_offset(handle.get_media_size(), 0)
    with open_image(path) as image:
        assert image.size == handle.get_media_size()
        assert disagreements(image, lambda at, length: expected[at : at + length], rounds=15, seed=1) == []
        found = image.read_at(0, image.size)
        assert found == expected
        stated = {digest.algorithm: digest.value for digest in image.stored_digests}
        assert stated
        assert stated == {name: hashlib.new(name, found).hexdigest() for name in stated}
        assert image.anomalies == ()
