"""A block device is opened with what the kernel says of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.image import Extent
from tests.containers.sets import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def device(live: None, tmp_path: Path) -> Iterator[str]:
    backing = tmp_path / "backing"
    # A disk is media even where its first bytes are some container's.
    backing.write_bytes(b"QFI\xfb\0\0\0\x03" + media((1 << 20) - 8))
    made = subprocess.run(
        ["losetup", "--find", "--show", "--read-only", "--sector-size", "4096", backing],
        check=True,
        capture_output=True,
        text=True,
    )
    path = made.stdout.strip()
    try:
        yield path
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


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
