"""LOOP_GET_STATUS64 and stat ask the file system below: where that is FUSE, its server may be stopped or dead.

Then the question hangs without end, so it is asked in a child process that can be killed.
"""

from __future__ import annotations

import os

from imgkit.attachment.facts import split_exposed_name
from imgkit.linux import loop, sysblock
from imgkit.linux.files import acting_as, owner_of_place
from imgkit.linux.mount import read_mountinfo

ASK_LIMIT = 2.0
_DELETED = b" (deleted)"
# Stands alone: the child imports nothing of imgkit, so that it starts fast and anywhere.
_STATUS_PROGRAM = """
import fcntl, os, sys
buffer = bytearray(232)
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x4C05, buffer)
sys.stdout.write(buffer.hex())
"""
_STAT_PROGRAM = """
import os, sys
facts = os.stat(os.fsencode(sys.argv[1]))
sys.stdout.write(" ".join(map(str, (*facts[:7], facts.st_mtime_ns, facts.st_ctime_ns))))
"""


def loop_info(fd: int, number: int, *, limit: float = ASK_LIMIT) -> loop.LoopInfo64 | None:
    """What an open loop device is bound to; None where the file system below gives no answer, or none in time.

    Raises:
        OSError: ENXIO where it is bound to nothing.
    """
    if not lies_on_fuse(backing_path(number)):
        return loop.loop_get_status64(fd)
    answer = _ask(_STATUS_PROGRAM, f"/dev/loop{number}", limit)
    return loop.LoopInfo64.unpack(bytes.fromhex(answer)) if answer else None


def stat_in_time(path: str) -> os.stat_result:
    """os.stat, in a child where the path lies on FUSE.

    Raises:
        OSError: As stat(2); TimeoutError where the server does not answer.
    """
    if not lies_on_fuse(path):
        return _stat(path)
    answer = _ask(_STAT_PROGRAM, path)
    if answer is None:
        raise TimeoutError(0, "the file server does not answer", path)
    *first, mtime_ns, ctime_ns = map(int, answer.split())
    times = {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns}
    return os.stat_result((*first, 0, mtime_ns // 10**9, ctime_ns // 10**9), times)


def _stat(path: str) -> os.stat_result:
    """As the owner of the place, where a file server refuses root."""
    try:
        return os.stat(path)
    except PermissionError:
        owner = owner_of_place(os.path.dirname(path))
        if owner is None:
            raise
    with acting_as(owner):
        return os.stat(path)


def backing_path(number: int) -> str:
    """Where the kernel believes that the file below a loop device lies; good for reading, never for identifying."""
    raw = sysblock.read_attribute(f"loop{number}", "loop/backing_file") or b""
    return os.fsdecode(raw.removesuffix(_DELETED))


def lies_on_fuse(path: str) -> bool:
    """Whether a path lies on a FUSE mount, from the mount table alone: asking the file system could hang.

    What we serve ourselves below a device is in no mount table; it is known by its name.
    """
    if split_exposed_name(path) is not None:
        return True
    best, kind = "", ""
    for mount in read_mountinfo():
        folder = mount.target.rstrip("/") + "/"
        if (path + "/").startswith(folder) and len(folder) >= len(best):
            best, kind = folder, mount.filesystem
    return kind in {"fuse", "fuseblk"} or kind.startswith("fuse.")


def _ask(program: str, argument: str, limit: float = ASK_LIMIT) -> str | None:
    import subprocess  # noqa: PLC0415 - start-up: only where there is FUSE
    import sys  # noqa: PLC0415

    command = [sys.executable, "-I", "-S", "-c", program, argument]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout or None
