"""What a test waits for, instead of sleeping: the kernel ends things a moment after who asked for it has gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0  # seconds; far beyond what a loaded host needs: who waits this long has found a fault


def wait_until(condition: Callable[[], object], limit: float = PATIENCE) -> None:
    """Return as soon as it holds; fail after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)
