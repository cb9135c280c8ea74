"""fusermount3: libfuse's setuid program, with which an ordinary user mounts a FUSE file system on a directory of theirs."""

from __future__ import annotations

import errno
import os
import shutil
import socket

from imgkit.errors import HostError, MountError
from imgkit.expose.channel import receive_descriptors
from imgkit.expose.file_system import LARGEST_READ
from imgkit.expose.kernel_mount import SOURCE_PREFIX, SUBTYPE

_PROGRAM = "fusermount3"
_LIMIT = 30.0
_PATH = "/usr/local/bin:/usr/bin:/bin:/run/wrappers/bin"


def mount(directory: str, name: str) -> int:
    """Mount there; return the descriptor of the FUSE connection, on which nobody answers yet.

    Raises:
        HostError: There is no fusermount3.
        MountError: It refuses; the message is its own.
    """
    source = (SOURCE_PREFIX + name).replace("\\", "\\\\").replace(",", "\\,")
    options = f"ro,nosuid,nodev,noexec,default_permissions,max_read={LARGEST_READ},subtype={SUBTYPE},fsname={source}"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done, said = _run(["-o", options, "--", directory], theirs.fileno())
        theirs.close()
        if done:
            raise MountError(f"cannot expose an image at {directory}: {said}")
        ours.settimeout(_LIMIT)
        _, fds = receive_descriptors(ours, 1, 1)
    if not fds:
        raise MountError(f"cannot expose an image at {directory}: {_PROGRAM} gave no connection")
    return fds[0]


def unmount(directory: str) -> None:
    """Take down a mount of this user.

    Raises:
        OSError: EBUSY: somebody uses it. EPERM: it is another user's. EIO: whatever else fusermount3 says.
    """
    done, said = _run(["-u", "--", directory], None)
    if not done:
        return
    if "busy" in said:
        raise OSError(errno.EBUSY, said, directory)
    raise OSError(errno.EPERM if "permitted" in said or "mtab" in said else errno.EIO, said, directory)


def _run(words: list[str], end: int | None) -> tuple[int, str]:
    """Exit status, and the last line of what it said."""
    import subprocess  # noqa: PLC0415 - only an ordinary user needs it

    program = shutil.which(_PROGRAM, path=_PATH)
    if program is None:
        raise HostError(
            f"cannot mount without root: there is no {_PROGRAM}",
            hint="install it: the package is called fuse3",
        )
    environment = {"LC_ALL": "C", "PATH": _PATH} | ({} if end is None else {"_FUSE_COMMFD": str(end)})
    done = subprocess.run(
        [program, *words],
        env=environment,
        pass_fds=() if end is None else (end,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_LIMIT,
        check=False,
    )
    said = os.fsdecode(done.stderr).strip().rpartition("\n")[2].removeprefix(f"{program}: ")
    return done.returncode, said
