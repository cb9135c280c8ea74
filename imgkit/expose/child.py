"""The program of the process that serves an image: started by path, alone, with an empty environment.

It finds imgkit where the command found it: the first document on its standard input says so. Nothing of imgkit, and no
third-party code, is on its way before that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Take the first document, and hand over to imgkit.expose.serving."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's; its end is SIGTERM, or that nobody uses it
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    _close_inherited()
    end = socket.socket(fileno=os.dup(0))
    head = end.recv(8, socket.MSG_WAITALL)
    setup = json.loads(end.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL))
    sys.path[:] = setup["modules"]
    from imgkit.expose.serving import serve  # noqa: PLC0415 - found only now

    serve(end, setup)


def _close_inherited() -> None:
    """What a shell left open for its commands (`9>lock`) is not ours to keep."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # noqa: PLR2004 - standard error
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of this listing


if __name__ == "__main__":
    main()
