"""The installed command in a world of its own, and images of the kinds that commands meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Imgkit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def imgkit(tmp_path: Path) -> Imgkit:
    """`imgkit("hash", path)`: runs the installed command; nothing of this host's settings or memory reaches it."""
    return Imgkit(tmp_path)
