"""Which exposures there are, from the kernel alone; and the end of one that was left over."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from imgkit.errors import NotPermitted
from imgkit.expose import command_line
from imgkit.expose.facts import ExposureFacts
from imgkit.expose.kernel_mount import FILESYSTEM, SOURCE_PREFIX, mounted_by
from imgkit.linux import process
from imgkit.linux.mount import read_mountinfo

if TYPE_CHECKING:
    from imgkit.linux.mount import MountInfo

_GENTLY, _HARD = 1.0, 5.0  # seconds for SIGTERM, for SIGKILL


def list_exposures() -> list[ExposureFacts]:
    """Every exposure whose process can be seen from here, and every mount whose process has ended (pid 0)."""
    process.reap()
    mounts = {
        info.device: info
        for info in read_mountinfo()
        if info.filesystem == FILESYSTEM and info.source.startswith(SOURCE_PREFIX)
    }
    found = []
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        facts = _exposure(int(name), mounts)
        if facts is not None:
            found.append(facts)
    served = {facts.dev for facts in found}
    coming_up = {SOURCE_PREFIX + facts.name for facts in found if not facts.dev}
    return found + [
        _dead(info)
        for device, info in mounts.items()
        if device not in served and info.source not in coming_up
    ]


def _exposure(pid: int, mounts: dict[int, MountInfo]) -> ExposureFacts | None:
    try:
        started, uid = process.start_time(pid), process.effective_uid(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            served = command_line.parse(file.read())
    except OSError:
        return None  # gone meanwhile, or not ours to see
    if served is None:
        return None
    at = mounts.get(served.dev)
    if at is not None and mounted_by(at) not in {0, uid}:
        return None  # another user's process that calls itself so
    return ExposureFacts(
        name=served.name,
        pid=pid,
        started=started,
        path=served.path,
        size=served.size,
        dev=served.dev,
        ino=served.ino,
        guard=served.guard,
        directory=None if at is None else at.target,
    )


def _dead(info: MountInfo) -> ExposureFacts:
    """A mount whose process was killed: reads of it fail, and unexpose takes it down."""
    name = info.source.removeprefix(SOURCE_PREFIX)
    return ExposureFacts(
        name, 0, 0, "", 0, info.device, 0, "none", info.target, ("the process that served it is gone",)
    )


def stop(facts: ExposureFacts) -> None:
    """End the process of an exposure (SIGTERM, then SIGKILL); nothing happens if it has ended already.

    Raises:
        NotPermitted: It is another user's.
    """
    fd = process.open_process(facts.pid, facts.started) if facts.pid > 0 else None
    if fd is None:
        return
    try:
        gently = _GENTLY if process.is_running(facts.pid) else 0
        for number, seconds in ((signal.SIGTERM, gently), (signal.SIGKILL, _HARD)):
            signal.pidfd_send_signal(fd, number)
            if process.wait_until_ended(fd, seconds):
                return
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise NotPermitted(f"not permitted to end pid {facts.pid}, which serves {facts.name}") from error
    finally:
        os.close(fd)
        process.reap()
