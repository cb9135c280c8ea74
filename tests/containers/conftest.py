"""A look at what a test did to the files it opened."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Trace(NamedTuple):
    """What opening and reading must not change."""

    sha256: str
    size: int
    mtime: int
    ctime: int
    atime: int


def trace(path: Path) -> Trace:
    """Look without touching: O_NOATIME."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    found = os.stat(path)
    return Trace(digest, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_atime_ns)


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Call it when the evidence lies in tmp_path; at the end nothing of it may have changed."""
    before: dict[Path, Trace] = {}

    def remember() -> None:
        for path in sorted(tmp_path.iterdir()):
            if path.is_file():
                os.utime(
                    path, ns=(1, path.stat().st_mtime_ns)
                )  # an old atime: relatime would renew it at a read
                before[path] = trace(path)

    yield remember
    assert before
    assert {path: trace(path) for path in before} == before
