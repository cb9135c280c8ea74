"""The bench of a live test, taken down whatever happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(live: None, tmp_path: Path) -> Iterator[Bench]:
    """The installed command, root, and a kernel; at the end nothing of it is attached or mounted."""
    os.makedirs("/run/imgkit", exist_ok=True)
    bench = Bench(tmp_path)
    try:
        yield bench
    finally:
        bench.take_all_down()
