"""Images with random content that must be the same afterwards, to the access time."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MakeImage(Protocol):
    def __call__(self, size: int, name: str = "disk.img") -> Path: ...


def state(path: Path) -> tuple[object, ...]:
    """Digest, size and all times of a file, read without touching them."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts = os.fstat(fd)
    return (digest, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_atime_ns, facts.st_ino)


@pytest.fixture
def make_image(tmp_path: Path) -> Iterator[MakeImage]:
    """Make an image; at the end of the test every one made is unchanged."""
    made: dict[Path, tuple[object, ...]] = {}

    def make(size: int, name: str = "disk.img") -> Path:
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        os.utime(
            path, (1, 1)
        )  # relatime would move an access time that is older than mtime: O_NOATIME must not
        made[path] = state(path)
        return path

    yield make
    for path, before in made.items():
        assert state(path) == before


@pytest.fixture
def scratch_image(tmp_path: Path) -> Path:
    """An image that the test itself will change."""
    path = tmp_path / "scratch.img"
    path.write_bytes(os.urandom(1 << 20))
    return path
