"""A block device is opened with what the kernel says of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.hashing import hash_range
from imgkit.image import Extent
from tests.containers.sets import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def loop_device(backing: Path, sector_size: int) -> Iterator[str]:
    made = subprocess.run(
        ["losetup", "--find", "--show", "--read-only", "--sector-size", str(sector_size), backing],
        check=True,
        capture_output=True,
        text=True,
    )
    path = made.stdout.strip()
    try:
        yield path
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


@pytest.fixture
def device(live: None, tmp_path: Path) -> Iterator[str]:
    backing = tmp_path / "backing"
    # A disk is media even where its first bytes are some container's.
    backing.write_bytes(b"QFI\xfb\0\0\0\x03" + media((1 << 20) - 8))
    with loop_device(backing, 4096) as path:
        yield path


@pytest.mark.live
def test_size_and_sector_size_are_the_kernels(device: str) -> None:
    with open_image(device) as image:
        assert (image.format, image.size) == ("block-device", 1 << 20)
        assert (image.sector_size, image.sector_size_source) == (4096, "BLKSSZGET")
        assert image.metadata["read_only"] is True
        assert isinstance(image.metadata["diskseq"], int)
        assert image.segments[0].size == 1 << 20
        assert image.backing_fileno() is not None
        assert image.read_at(8, 1000) == media((1 << 20) - 8)[:1000]
        assert image.read_at((1 << 20) - 4, 100) == media((1 << 20) - 8)[-4:]
        assert list(image.data_extents()) == [Extent(0, 1 << 20)]
    with contextlib.closing(open_image(device, sector_size=512)) as image:
        assert image.sector_size == 512


@pytest.mark.live
def test_no_descriptor_is_left(device: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    open_image(device).close()
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.live
@pytest.mark.parametrize(("sector_size", "readable"), [(512, 81 * 512), (4096, 80 * 512)])
def test_a_bad_sector_takes_no_other_of_its_page_along(
    live: None, tmp_path: Path, sector_size: int, readable: int
) -> None:
    """Sectors whose backing is gone are errors; the first of them lies in the middle of a page."""
    backing = tmp_path / "backing"
    content = media(1 << 16)
    backing.write_bytes(content)
    with loop_device(backing, sector_size) as path, open_image(path) as image:
        os.truncate(backing, 81 * 512)
        done = hash_range(image, 0, image.size, algorithms=["sha256"], zero_fill=True)
        assert done.read_errors == ((readable, image.size - readable),)
        as_imaged = content[:readable] + bytes(image.size - readable)
        assert done.zero_filled[0].value == hashlib.sha256(as_imaged).hexdigest()


@pytest.mark.live
def test_sectors_smaller_than_the_devices_are_read_all_the_same(live: None, tmp_path: Path) -> None:
    backing = tmp_path / "backing"
    backing.write_bytes(media(1 << 16))
    with loop_device(backing, 4096) as path, open_image(path, sector_size=512) as image:
        os.truncate(backing, 10 * 4096)
        done = hash_range(image, 0, image.size, algorithms=["sha256"])
        assert done.read_errors == ((10 * 4096, 6 * 4096),)
