"""A qcow2 that ends too early is told of at open; a count for a cluster that was never written is no loss."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from tests.containers.qcow2.qemu import MIB, create, io, peek, poke

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.image import Image

SIZES = ["refcount_bits=1", "refcount_bits=4", "refcount_bits=16", "refcount_bits=64", "cluster_size=512"]


def written(tmp_path: Path, options: str = "refcount_bits=16") -> Path:
    return io(create(tmp_path / "d.qcow2", 8 * MIB, "-o", options), "write -P 7 0 4M")


def notices(image: Image) -> str:
    return " ".join(str(item) for item in image.metadata.get("notices", ()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", SIZES)
def test_whole(tmp_path: Path, options: str) -> None:
    with open_image(written(tmp_path, options)) as image:
        assert image.cut_short == ()
        assert "cut short" not in notices(image)


@pytest.mark.parametrize("options", SIZES)
def test_without_its_last_cluster(tmp_path: Path, options: str) -> None:
    path = written(tmp_path, options)
    with open_image(path) as image:
        cluster = image.metadata["container"]["cluster_size"]  # type: ignore[index]
    os.truncate(path, path.stat().st_size - cluster)
    with open_image(path) as image:
        assert image.cut_short == (str(path),)
        assert f"{path} ends at {path.stat().st_size}" in notices(image)


def test_count_of_a_cluster_that_was_never_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    block = peek(path, peek(path, 48, ">Q"), ">Q")
    poke(path, block + 2 * (path.stat().st_size >> 16) + 20, b"\0\1")
    with open_image(path) as image:
        assert image.cut_short == ()
        assert image.read_at(4 * MIB - 512, 1024) == b"\7" * 512 + bytes(512)


def test_counts_that_lie_beyond_the_end(tmp_path: Path) -> None:
    path = written(tmp_path)
    poke(path, peek(path, 48, ">Q"), (1 << 62).to_bytes(8, "big"))
    with open_image(path) as image:
        assert image.cut_short == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 2 * MIB])
    with open_image(path) as image:
        assert image.cut_short == (str(path),)


def test_table_without_any_count(tmp_path: Path) -> None:
    path = written(tmp_path)
    poke(path, peek(path, 48, ">Q"), bytes(8))
    with open_image(path) as image:
        assert image.cut_short == ()
        assert image.size == 8 * MIB
