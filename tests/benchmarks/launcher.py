"""Run one command and say how long it took and how much memory it had at its peak.

A process of its own, since Linux counts the memory of whoever starts a program into the program's peak: started from
here, that is a few MiB and not a whole test run.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    order = json.load(sys.stdin)
    quiet = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    out = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    streams = [(os.POSIX_SPAWN_DUP2, quiet, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    start = time.perf_counter()
    pid = os.posix_spawnp(order["argv"][0], order["argv"], order["environment"], file_actions=streams)
    _pid, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    json.dump({"seconds": seconds, "code": code, "peak_kib": usage.ru_maxrss, "cpu": cpu}, sys.stdout)


if __name__ == "__main__":
    main()
