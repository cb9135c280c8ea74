"""The time stamp of a record: wall clock, zone, time since boot, which boot, and whether anything keeps the clock right."""

from __future__ import annotations

import functools
import time
from typing import Any

from imgkit.errors import CustodyError
from imgkit.linux.files import clock_unsynchronised


def stamp() -> dict[str, Any]:
    """Return `{utc, tz, boot_us, boot_id, sync}` of now.

    Raises:
        CustodyError: The kernel does not name its boot.
    """
    wall, boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return {
        "utc": utc_text(wall),
        "tz": _zone_text(time.localtime(wall // 10**9).tm_gmtoff),
        "boot_us": boot // 1000,
        "boot_id": boot_id(),
        "sync": "unsync" if _unsynchronised() else "ok",
    }


def utc_text(wall_ns: int) -> str:
    """Return RFC 3339 with microseconds and Z."""
    seconds, rest = divmod(wall_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1000:06d}Z"


@functools.cache
def boot_id() -> str:
    """Return the kernel's random id of this boot.

    Raises:
        CustodyError: /proc does not show it.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        raise CustodyError(
            f"cannot read the boot id from /proc: {error.strerror}", hint="mount /proc"
        ) from error


def _zone_text(offset: int) -> str:
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}"


def _unsynchronised() -> bool:
    """Where adjtimex itself is forbidden (a container's filter), nothing is known to keep the clock right."""
    try:
        return clock_unsynchronised()
    except OSError:
        return True
