"""VHDX read by imgkit, by qemu-img and by libvhdi, and as it was made: the same bytes."""

from __future__ import annotations

import gzip
import itertools
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from imgkit.containers import open_image
from imgkit.containers.vhdx.crc32c import crc32c
from imgkit.errors import UnknownFormat
from tests.containers.conftest import trace
from tests.containers.sets import media
from tests.containers.vhd.test_differential import patchy
from tests.containers.vhd.witness import by_libvhdi, by_qemu, mapped, open_ranges, read_by_many
from tests.containers.vhdx.make import FULL, MIB, UNMAPPED, ZERO, Vhdx, some_blocks
from tests.containers.vhdx.make import crc32c as crc32c_by_nibbles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE, CHILD, GRANDCHILD = UUID(int=0xB), UUID(int=0xC), UUID(int=0xD)
LINK = "{{{}}}"


def locator(identifier: UUID, name: str) -> dict[str, str]:
    return {
        "parent_linkage": LINK.format(identifier),  # libvhdi knows it in lower case only
        "relative_path": f".\\{name}",
        "absolute_win32_path": f"\\\\?\\C:\\images\\{name}",
    }


def test_the_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(media(5000)) == crc32c_by_nibbles(media(5000))


@pytest.mark.parametrize(
    "options", ["subformat=fixed", "subformat=dynamic", "subformat=dynamic,block_size=16M"]
)
@pytest.mark.parametrize("size", [5 * MIB + 512, 40 * MIB])
def test_what_qemu_img_writes(tmp_path: Path, options: str, size: int, untouched: Callable[[], None]) -> None:
    content = patchy(size)
    (tmp_path / "source").write_bytes(content)
    path = tmp_path / "disk.vhdx"
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", options]
    subprocess.run([*command, tmp_path / "source", path], check=True)
    untouched()
    with open_image(path) as image:
        assert (image.format, image.size, image.backing_fileno()) == ("vhdx", size, None)
        assert (image.sector_size, image.sector_size_source) == (512, "VHDX metadata")
        assert image.read_at(0, size) == content
        assert mapped(image) == content
        read_by_many(image, content, border=MIB)
    assert by_libvhdi(path) == content


# libvhdi 20260901 takes a block that is zeros by its state from the parent: a witness only where there is none.
@pytest.mark.parametrize("witnessed", [False, True])
@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("block_size", [MIB, 2 * MIB])
def test_differencing_over_differencing_over_dynamic(
    tmp_path: Path, sector: int, block_size: int, witnessed: bool, untouched: Callable[[], None]
) -> None:
    size = 6 * block_size + 5 * sector
    base = Vhdx(size, BASE, block_size, sector)
    content = media(size)
    base.blocks = {b: (FULL, content[b * block_size :][:block_size], []) for b in range(base.count) if b % 3}
    below = b"".join(
        content[b * block_size :][:block_size] if b % 3 else bytes(min(block_size, size - b * block_size))
        for b in range(base.count)
    )
    base.write(tmp_path / "base.vhdx")
    child = Vhdx(size, CHILD, block_size, sector, parent=locator(BASE, "base.vhdx"))
    child.blocks, middle = some_blocks(child, below, 2, zeros=not witnessed)
    child.write(tmp_path / "child.vhdx")
    top = Vhdx(size, GRANDCHILD, block_size, sector, parent=locator(CHILD, "CHILD.VHDX"))
    top.blocks, expected = some_blocks(top, middle, 5, zeros=not witnessed)
    chain = [top.write(tmp_path / "top.vhdx"), tmp_path / "child.vhdx", tmp_path / "base.vhdx"]
    untouched()
    with open_image(chain[0]) as image:
        assert image.sector_size == sector
        assert image.read_at(0, size) == expected
        assert mapped(image) == expected
        read_by_many(image, expected, border=block_size)
        assert [segment.path for segment in image.segments] == [str(path) for path in chain]
        assert [segment.role for segment in image.segments] == ["segment", "parent", "parent"]
        links = image.metadata["chain"]
        assert isinstance(links, tuple)
        assert [link["identifier"] for link in links] == [str(CHILD), str(BASE)]
    if witnessed:
        assert by_libvhdi(*chain[1:]) == middle
        assert by_libvhdi(*chain) == expected


def test_bitmaps_of_the_second_chunk(tmp_path: Path) -> None:
    """4 GiB and more: the table has the entry of a bitmap between those of the blocks."""
    size, block_size = (4 << 30) + 3 * 32 * MIB, 32 * MIB
    base = Vhdx(size, BASE, block_size)
    marks = {block: bytes([block % 251 + 1]) * 4096 for block in (0, 127, 128, 130)}
    base.blocks = {block: (FULL, mark, []) for block, mark in marks.items()}
    base.write(tmp_path / "base.vhdx")
    child = Vhdx(size, CHILD, block_size, parent=locator(BASE, "base.vhdx"))
    present = [sector == 1 for sector in range(block_size // 512)]
    child.blocks = dict.fromkeys((127, 128), (7, b"\xfe" * 4096, present))
    child.write(tmp_path / "child.vhdx")
    with open_image(tmp_path / "child.vhdx") as image:
        for block in (0, 127, 128, 129, 130):
            expected = bytearray(marks.get(block, bytes(4096)))
            if block in {127, 128}:
                expected[512:1024] = b"\xfe" * 512
            assert image.read_at(block * block_size, 4096) == expected, block
        assert sum(length for _, length in open_ranges(image)) == 4 * block_size


def test_the_map_goes_over_the_entries_of_bitmaps(tmp_path: Path) -> None:
    """A chunk of 16 blocks: what the entry of its bitmap says is of no block, and no run of blocks ends there."""
    block_size = 256 * MIB
    rng = random.Random(4)
    for seed in range(5):
        blocks = rng.randrange(1, 100)
        size = blocks * block_size - rng.choice([0, 512])
        states = [state for _ in range(blocks) for state in [rng.choice([0, 2, 6])] * rng.choice([1, 40])][
            :blocks
        ]
        plan = Vhdx(size, UUID(int=seed + 1), block_size)
        at = plan.bat_size + 3 * MIB
        plan.entries = {
            block + block // 16: (at + block * block_size if state == 6 else 0) | state
            for block, state in enumerate(states)
        }
        plan.entries |= {
            index: rng.choice([0, 2, 6 | at + 4096 * block_size]) for index in range(16, blocks, 17)
        }
        path = plan.write(tmp_path / f"{seed}.vhdx")
        os.truncate(path, at + 5000 * block_size)
        with open_image(path) as image:
            ranges = open_ranges(image)
            assert [
                block
                for offset, length in ranges
                for block in range(offset // block_size, -(-(offset + length) // block_size))
            ] == [block for block, state in enumerate(states) if state == 6]
            assert len(ranges) == sum(state == 6 for state, _ in itertools.groupby(states))
            assert all(
                offset + length in {size, (offset + length) // block_size * block_size}
                for offset, length in ranges
            )


def test_discarded_blocks_are_zeros_and_told(tmp_path: Path) -> None:
    """[MS-VHDX] 2.5.1.1 leaves open what an unmapped block reads as; the file may still hold what it was."""
    plan = Vhdx(4 * MIB, BASE, blocks={1: (FULL, media(MIB), [])})
    plan.entries = {0: ZERO, 2: 5 * MIB | UNMAPPED}
    path = plan.write(tmp_path / "disk.vhdx")
    with open_image(path) as image:
        assert image.read_at(0, 4 * MIB) == bytes(MIB) + media(MIB) + bytes(2 * MIB)
        assert open_ranges(image) == [(MIB, MIB)]
        notices = image.metadata["notices"]
        assert isinstance(notices, tuple)
        assert ["1 blocks" in notice and "discarded" in notice for notice in notices] == [True]


def test_64_tib_of_nothing(tmp_path: Path) -> None:
    plan = Vhdx(64 << 40, BASE, block_size=MIB)
    path = plan.write(tmp_path / "disk.vhdx")
    assert plan.bat_size == 513 * MIB
    with open_image(path) as image:
        assert image.size == 64 << 40
        assert image.read_at((64 << 40) - 10, 100) == bytes(10)
        assert open_ranges(image) == []


@pytest.mark.corpus
def test_every_vhdx_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    seen = 0
    for packed in sorted((corpus / "images").rglob("*.vhdx.gz")):
        path = tmp_path / packed.name.removesuffix(".gz")
        with gzip.open(packed) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        if "log-replay" in path.name:
            continue
        before = trace(path)
        raw = tmp_path / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
        with open_image(path) as image, raw.open("rb") as file:
            assert image.size == raw.stat().st_size
            stored = list(image.data_extents())
            assert 64 * MIB <= sum(extent.length for extent in stored) < 1 << 30
            for extent in stored:
                for offset in (
                    extent.offset,
                    extent.end - 2 * MIB,
                    *range(extent.offset, extent.end, 16 * MIB),
                ):
                    file.seek(offset)
                    assert image.read_at(offset, 2 * MIB) == file.read(2 * MIB)
        assert trace(path)[:4] == before[:4]
        seen += 1
    assert seen == 3


@pytest.mark.corpus
def test_a_log_that_was_not_replayed_and_the_hint(corpus: Path, tmp_path: Path) -> None:
    """Its MBR is only in the log: without it the disk looks empty. What the hint says makes a copy readable."""
    path = tmp_path / "disk.vhdx"
    with gzip.open(corpus / "images/LTRData__DiscUtils/Vhdx__Data__vhdx-log-replay.vhdx.gz") as source:
        path.write_bytes(source.read())
    before = trace(path)
    with pytest.raises(UnknownFormat, match="not closed cleanly") as caught:
        open_image(path)
    assert trace(path) == before
    assert caught.value.hint is not None
    assert "qemu-img check -r all" in caught.value.hint
    assert not any(by_libvhdi(path, most=512))
    subprocess.run(["qemu-img", "check", "-q", "-r", "all", path], check=False, capture_output=True)
    with open_image(path) as image:
        assert image.read_at(510, 2) == b"\x55\xaa"
        assert image.read_at(0, MIB) == by_qemu(path, tmp_path / "raw", "vhdx")[:MIB]
