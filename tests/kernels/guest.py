"""What the second kernels share: this machine's files below a throw-away overlay, one command, its status.

The guest's console carries everything: lines between two marks are the command's output, the last line its status.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BUSYBOX = "/bin/busybox"

# {lower} is where the machine's own files are, read-only; what the command writes goes to a tmpfs and is lost.
# /dev, /tmp and /run are the guest's own, the machine's whole tree is at /host.
STAGE = """\
mount -t tmpfs -o size=75% t /mnt && mkdir /mnt/up /mnt/work /mnt/new
mount -t overlay -o lowerdir={lower},upperdir=/mnt/up,workdir=/mnt/work o /mnt/new
N=/mnt/new
mkdir -p $N/host
mount -o bind {lower} $N/host
mount -o bind /dev $N/dev; mount -o bind /proc $N/proc; mount -o bind /sys $N/sys
mkdir -p $N/dev/shm $N/dev/pts
mount -t tmpfs t $N/dev/shm; mount -t devpts p $N/dev/pts
mount -t tmpfs t $N/tmp; mount -t tmpfs t $N/run
echo {mark}-BEGIN
chroot $N /bin/sh -c {command} </dev/null 2>&1
echo "{mark}-STATUS $?"
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran in a guest.

    Attributes:
        status: Its exit status; None where the guest ended without one.
        output: What it printed, both streams.
        console: Everything, for whoever must find out why.
        seconds: From start to power-off.
    """

    status: int | None
    output: str
    console: str
    seconds: float


def stage(command: Sequence[str], *, lower: str, mark: str) -> str:
    """The shell lines that lay the overlay, run the command in the checkout, and print its status."""
    # The checkout may lie below /tmp, which is the guest's own: /host always has it.
    checkout = shlex.quote(f"/host{ROOT}")
    inner = f"cd {checkout} && PYTHONPATH={checkout} PYTHONDONTWRITEBYTECODE=1 exec {shlex.join(command)}"
    return STAGE.format(lower=lower, mark=mark, command=shlex.quote(inner))


def python_of_host() -> str:
    """The interpreter of the tests, where the guest has it."""
    return f"/host{sys.executable}"


def watch(argv: Sequence[str], *, mark: str, timeout: float) -> Ran:
    """Starts a guest in a process group of its own and reads its console to the end; the group dies at the timeout."""
    began = time.monotonic()
    guest = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    timer = threading.Timer(timeout, os.killpg, (guest.pid, signal.SIGKILL))
    timer.start()
    try:
        assert guest.stdout is not None
        with guest.stdout as console:
            lines = [line.decode(errors="replace").rstrip("\r\n") for line in console]
        guest.wait()
    finally:
        timer.cancel()
        timer.join()
    return _read(lines, mark, time.monotonic() - began)


def _read(lines: list[str], mark: str, seconds: float) -> Ran:
    status, output, inside = None, [], False
    for line in lines:
        if line.endswith(f"{mark}-BEGIN"):
            inside = True
        elif f"{mark}-STATUS " in line:
            status, inside = int(line.rpartition(" ")[2]), False
        elif inside:
            output.append(line)
    return Ran(status, "\n".join(output), "\n".join(lines), seconds)
