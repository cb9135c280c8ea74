"""The installed command in a world of its own, and images of the kinds that commands meet."""

from __future__ import annotations

import gzip
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Imgkit
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def imgkit(tmp_path: Path) -> Imgkit:
    """`imgkit("hash", path)`: runs the installed command; nothing of this host's settings or memory reaches it."""
    return Imgkit(tmp_path)


def unpacked(imgkit: Imgkit, fixture: str) -> str:
    """Unpack one of the committed images into the working folder; return its name there."""
    name = fixture.removesuffix(".gz")
    imgkit.image(name, gzip.decompress((ROOT / "fixtures" / fixture).read_bytes()))
    return name


@pytest.fixture
def gpt_disk(imgkit: Imgkit) -> str:
    """A disk with a good GPT, in the working folder."""
    return unpacked(imgkit, "gpt_ok.img.gz")


@pytest.fixture
def bad_device(live: None, tmp_path: Path) -> Iterator[str]:
    """A device whose first 4096 bytes can be read and whose next 12288 give EIO: the file below it was cut short."""
    path = tmp_path / "below"
    path.write_bytes(b"x" * 16384)
    shown = subprocess.run(
        ["losetup", "--find", "--show", "--read-only", path], capture_output=True, check=True
    )
    device = shown.stdout.decode().strip()
    try:
        os.truncate(path, 4096)
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
