"""The end of a command: from the moment its result is shown, a signal changes nothing of it."""

from __future__ import annotations

import signal


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM from here on: what was done is shown, and only the end of the process is left.

    One that came before and was not delivered yet is raised here.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
