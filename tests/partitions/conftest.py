"""The tricky images, made once a session: tests that use them are in one xdist group."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need
from tests.partitions.disks import make_tricky

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS = (
    "sgdisk",
    "parted",
    "mkfs.vfat",
    "mkfs.ntfs",
    "mkfs.exfat",
    "mke2fs",
    "mkfs.xfs",
    "mkfs.btrfs",
    "genisoimage",
    "mksquashfs",
)


@pytest.fixture(scope="session")
def tricky(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of about 100 hostile or odd images; removed afterwards, it holds 170 MB."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    need(not missing, f"needs {', '.join(missing)} (packages.txt)")
    folder = tmp_path_factory.mktemp("tricky")
    make_tricky(corpus / "make_tricky.sh", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tricky_expected(corpus: Path) -> dict[str, list[dict[str, int]]]:
    expected: dict[str, list[dict[str, int]]] = json.loads((corpus / "tricky-expected.json").read_text())
    return expected


@pytest.fixture(scope="session")
def corpus_index(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "index.jsonl").read_text().splitlines()]
