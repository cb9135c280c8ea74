"""The end of a command: a result is shown whole or not at all, and once it is shown a signal changes nothing of it."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

from imgkit.linux.signals import signals_held

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def final() -> Iterator[None]:
    """Show in the block what was done; once it is shown, it stays. One that came before the block is raised here."""
    with signals_held() as ignore:
        yield
        ignore()


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM from here on: what was done is shown, and only the end of the process is left."""
    for number in _HELD:
        signal.signal(number, signal.SIG_IGN)
