"""VHD read by imgkit, by qemu-img and by libvhdi, and as it was made: the same bytes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from imgkit.containers import open_image
from tests.conftest import need
from tests.containers.conftest import trace
from tests.containers.sets import media
from tests.containers.vhd.make import Parent, Vhd, fixed, some_blocks
from tests.containers.vhd.witness import by_libvhdi, by_qemu, mapped, open_ranges, read_by_many

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE, CHILD, GRANDCHILD = UUID(int=0xB), UUID(int=0xC), UUID(int=0xD)
MIB = 1 << 20


def patchy(size: int, seed: int = 1) -> bytes:
    """Bytes with holes of every size in them."""
    noise = media(size, seed)
    return b"".join(
        noise[start : start + 300_000] if start // 300_000 % 3 else bytes(min(300_000, size - start))
        for start in range(0, size, 300_000)
    )


@pytest.mark.parametrize("options", ["subformat=fixed", "subformat=dynamic"])
@pytest.mark.parametrize("size", [5 * MIB + 512, 40 * MIB])
def test_what_qemu_img_writes(tmp_path: Path, options: str, size: int, untouched: Callable[[], None]) -> None:
    content = patchy(size)
    (tmp_path / "source").write_bytes(content)
    path = tmp_path / "disk.vhd"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", f"{options},force_size=on"]
    subprocess.run([*command, tmp_path / "source", path], check=True)
    untouched()
    with open_image(path) as image:
        assert (image.format, image.size, image.backing_fileno()) == ("vhd", size, None)
        assert image.read_at(0, size) == content
        assert mapped(image) == content
        read_by_many(image, content, border=2 * MIB)
    assert by_libvhdi(path) == content


def test_the_size_that_qemu_rounds_up_is_in_both_fields(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(media(3 * MIB + 512))
    path = tmp_path / "disk.vhd"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", tmp_path / "source", path], check=True)
    with open_image(path) as image:
        container = image.metadata["container"]
        assert isinstance(container, dict)
        assert container["current_size"] == container["geometry_size"] == image.size > 3 * MIB + 512
        assert image.metadata["notices"] == ()


def test_two_sizes_are_shown_and_the_current_one_is_used(tmp_path: Path) -> None:
    content = media(MIB)
    path = fixed(tmp_path / "disk.vhd", content, BASE)
    with open_image(path) as image:
        container = image.metadata["container"]
        assert isinstance(container, dict)
        assert container["geometry_size"] < container["current_size"] == image.size == MIB
        assert container["size_used"] == "current_size"
        assert any("two sizes" in notice for notice in image.metadata["notices"])  # type: ignore[attr-defined]
        assert image.read_at(0, MIB) == content


# libvhdi 20260901 takes every sector after a present one, up to the next whole byte of the bitmap, for present: it can
# be a witness only where the bitmap goes by 8 sectors.
@pytest.mark.parametrize("grain", [1, 8])
@pytest.mark.parametrize("block_size", [1 << 12, 1 << 16, 2 * MIB])
def test_differencing_over_differencing_over_fixed(
    tmp_path: Path, block_size: int, grain: int, untouched: Callable[[], None]
) -> None:
    size = 4 * MIB + 3 * 512
    content = patchy(size)
    base = fixed(tmp_path / "base.vhd", content, BASE)
    blocks, middle = some_blocks(size, block_size, content, 2, grain=grain)
    to_base = Parent(BASE)
    child = Vhd(size, CHILD, block_size, blocks, to_base).write(tmp_path / "child.vhd")
    blocks, top = some_blocks(size, block_size, middle, 3, grain=grain)
    to_child = Parent(CHILD, name="child.vhd", locators=((b"W2ku", "D:\\x\\CHILD.vhd"),))
    path = Vhd(size, GRANDCHILD, block_size, blocks, to_child).write(tmp_path / "top.vhd")
    untouched()
    with open_image(path) as image:
        assert image.read_at(0, size) == top
        assert mapped(image) == top
        read_by_many(image, top, border=block_size)
        assert [(s.path, s.role) for s in image.segments] == [
            (str(path), "segment"),
            (str(child), "parent"),
            (str(base), "parent"),
        ]
        chain = image.metadata["chain"]
        assert isinstance(chain, tuple)
        assert [link["path"] for link in chain] == [str(child), str(base)]
        assert [link["identifier"] for link in chain] == [str(CHILD), str(BASE)]
    if grain == 8:
        assert by_libvhdi(child, base) == middle
        assert by_libvhdi(path, child, base) == top


def test_a_child_that_was_made_larger_than_its_parent(tmp_path: Path) -> None:
    fixed(tmp_path / "base.vhd", media(100 * 512), BASE)
    path = Vhd(300 * 512, CHILD, 1 << 14, {}, Parent(BASE)).write(tmp_path / "child.vhd")
    with open_image(path) as image:
        assert image.read_at(0, image.size) == media(100 * 512) + bytes(200 * 512)
        assert open_ranges(image) == [(0, 100 * 512)]


def test_sectors_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    """A dynamic disk: libvhdi and the specification go by the bitmap, qemu by the block; we tell where they differ."""
    block = media(1 << 14)
    present = [sector // 8 % 3 != 0 for sector in range(32)]
    path = Vhd(1 << 15, BASE, 1 << 14, {1: (present, block)}).write(tmp_path / "disk.vhd")
    expected = bytes(1 << 14) + b"".join(
        block[i * 512 : i * 512 + 512] if here else bytes(512) for i, here in enumerate(present)
    )
    with open_image(path) as image:
        assert not image.anomalies
        assert image.read_at(0, image.size) == expected
        assert mapped(image) == expected
        assert len(image.anomalies) == 1
        assert "block 1" in image.anomalies[0]
    assert by_libvhdi(path) == expected
    assert by_qemu(path, tmp_path / "raw", "vpc") != expected


@pytest.mark.corpus
def test_every_vhd_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    seen = 0
    for path in sorted((corpus / "images").rglob("*.vhd")):
        if path.name == "image-differential.vhd":
            continue  # its checksums are wrong: test_faults
        before = trace(path)
        expected = by_qemu(path, tmp_path / "raw", "vpc")
        with open_image(path) as image:
            assert image.read_at(0, image.size) == expected == mapped(image) == by_libvhdi(path)
            read_by_many(image, expected, border=1 << 12)
        assert trace(path)[:4] == before[:4]
        seen += 1
    assert seen >= 5


def cached(path: Path) -> int:
    """Bytes of the file in the page cache."""
    told = subprocess.run(
        ["fincore", "-b", "-n", "-o", "RES", path], check=True, capture_output=True, text=True
    )
    return int(told.stdout)


def test_what_is_forgotten_leaves_the_cache(tmp_path: Path) -> None:
    size, block_size = 32 * MIB, 2 * MIB
    content = media(block_size)
    base = fixed(tmp_path / "base.vhd", content * 8, BASE)  # smaller than the child
    whole = [True] * (block_size // 512)
    blocks = dict.fromkeys(range(2, 16), (whole, content))
    child = Vhd(size, CHILD, block_size, blocks, Parent(BASE)).write(tmp_path / "child.vhd")
    os.sync()
    with base.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    need(not cached(base), "the file system keeps files in memory")
    with open_image(child) as image:
        image.read_at(0, size)
        for offset in range(0, size, 8 * MIB):
            image.forget(offset, 8 * MIB)
        assert cached(base) < 4 * MIB  # of 16
        assert cached(child) < 14 * MIB  # of 28
