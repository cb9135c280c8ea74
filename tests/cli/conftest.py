"""The installed command in a world of its own, and images of the kinds that commands meet."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Imgkit
from tests.conftest import ROOT

if TYPE_CHECKING:
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
