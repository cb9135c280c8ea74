"""Processes as posix_spawn(3), pidfd_open(2) and proc(5) see them: started without fork, named by pid and start time."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_START_TIME = 22 - 3  # field 22 of proc(5)'s stat, counted from field 3
_NOT_RUNNING = ("T", "t", "Z", "X")  # stopped, traced, dead (proc(5), field 3 of stat)
_left: set[int] = set()  # children that go on without us: reaped when they have ended


def spawn(words: list[str], *, environment: Mapping[str, str], descriptors: Mapping[int, int]) -> int:
    """Start a program in a session of its own, with no signal held back; return its pid.

    Never forks: a child forked from a process with threads may inherit a lock that nobody will open.

    Args:
        words: Its command line; the first is the path of the program.
        environment: All of its environment.
        descriptors: Number there -> descriptor here. Standard streams that are not named are /dev/null.
    """
    reap()
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    for number in range(3):
        if number in descriptors:
            actions.append((os.POSIX_SPAWN_DUP2, descriptors[number], number))
        else:
            actions.append((os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0))
    return os.posix_spawn(
        words[0],
        words,
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ),
    )


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot.

    Raises:
        OSError: ENOENT, ESRCH: there is none.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[_START_TIME])


def effective_uid(pid: int) -> int:
    """As whom a process acts. Not the owner of its folder in /proc: that is root's where it is not dumpable.

    Raises:
        OSError: ENOENT, ESRCH: there is none.
    """
    with open(f"/proc/{pid}/status", "rb") as file:
        return next(int(line.split()[2]) for line in file if line.startswith(b"Uid:"))


def is_running(pid: int) -> bool:
    """Whether a process is there and not stopped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode() not in _NOT_RUNNING
    except (FileNotFoundError, ProcessLookupError):
        return False


def leave_child(pid: int) -> None:
    """A child that is to go on without us: nobody waits for it."""
    _left.add(pid)


def reap() -> None:
    """Take the children that were left and have ended off the process table."""
    for pid in list(_left):
        with contextlib.suppress(ChildProcessError):  # somebody else's wait got it
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        _left.discard(pid)


def kill_child(pid: int) -> None:
    """End a child of ours, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of the process that began at that time, or None where it has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise
    try:
        same = start_time(pid) == started  # after the open: from here on the number stays this process's
    except (FileNotFoundError, ProcessLookupError):
        same = False
    if same:
        return fd
    os.close(fd)
    return None


def has_ended(pid: int, started: int) -> bool:
    """Whether the process that began at that time has ended; one that hidepid keeps from being looked at has not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError as error:
        if error.errno == errno.EINVAL:  # a thread's number by now
            return True
        raise
    try:
        return wait_until_ended(fd, 0) or start_time(pid) != started
    except OSError:
        return wait_until_ended(fd, 0)
    finally:
        os.close(fd)


def pid_namespace() -> int:
    """What tells the numbers of processes seen from here from those of a container.

    Raises:
        OSError: /proc is not there.
    """
    return os.stat("/proc/self/ns/pid").st_ino


def wait_until_ended(fd: int, seconds: float) -> bool:
    """Whether the process of a pidfd ended in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
