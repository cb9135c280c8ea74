"""Which file system holds the log: shared ones are named in the record, those without shared locks are refused."""

from __future__ import annotations

import os
from dataclasses import dataclass

from imgkit.errors import CustodyError
from imgkit.linux import files

# magic -> name; on these a lock or an fsync is only as good as server or daemon make it
_SHARED = {
    files.NFS_SUPER_MAGIC: "nfs",
    files.SMB_SUPER_MAGIC: "cifs",
    files.CIFS_SUPER_MAGIC: "cifs",
    files.SMB2_SUPER_MAGIC: "cifs",
    files.V9FS_MAGIC: "9p",
    files.FUSE_SUPER_MAGIC: "fuse",
}
_FLEETING = {files.TMPFS_MAGIC: "tmpfs", files.OVERLAYFS_SUPER_MAGIC: "overlay"}


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds a log.

    Attributes:
        name: `nfs`, `cifs`, `9p`, `fuse`, `tmpfs`, `overlay`; None: a local file system without anything to say.
        notice: A sentence for the examiner, or None.
    """

    name: str | None
    notice: str | None

    @property
    def shared(self) -> bool:
        """Whether locks and syncs pass through a server or a daemon."""
        return self.name in _SHARED.values()


def holding(path: str) -> Holding:
    """Look at the file system of an existing file or folder.

    Raises:
        CustodyError: Its locks are local to this client: two hosts would fork the log.
        OSError: As the kernel says.
    """
    magic = files.statfs_type(path)
    if magic in _FLEETING:
        name = _FLEETING[magic]
        return Holding(name, f"{path} lies on {name}: it may be gone after a restart")
    if magic not in _SHARED:
        return Holding(None, None)
    name = _SHARED[magic]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        local = local_lock_option(file.read(), os.stat(path).st_dev)
    if local is not None:
        raise CustodyError(
            f"cannot keep a custody log on {path!r}: {name} is mounted with {local}, its locks hold on this host only",
            hint="mount it with shared locks, or keep the case on a local disk",
        )
    return Holding(name, f"{path} lies on {name}: locks and syncs are only as good as its server makes them")


def local_lock_option(mountinfo: str, device: int) -> str | None:
    """Return the option of that device's mount that keeps locks on this host, or None.

    Args:
        mountinfo: Text of /proc/self/mountinfo.
        device: st_dev of a file on it.
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        fields, _dash, rest = line.partition(" - ")
        words, tail = fields.split(" "), rest.split(" ")
        if len(words) < 6 or len(tail) < 3 or words[2] != number:  # noqa: PLR2004  (proc(5): fields up to the options)
            continue
        options = {*words[5].split(","), *tail[2].split(",")}
        found = options & {"local_lock=flock", "local_lock=all", "nolock", "nobrl"}
        if found:
            return min(found)
    return None
