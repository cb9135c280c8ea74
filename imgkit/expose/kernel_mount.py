"""A FUSE connection and the mount on it, made by root through the mount API: seen nowhere until it is moved."""

from __future__ import annotations

import errno
import os

from imgkit.errors import HostError, MountError
from imgkit.expose.file_system import LARGEST_READ
from imgkit.linux import fuse, mount

SUBTYPE = "imgkit"
FILESYSTEM = f"fuse.{SUBTYPE}"
SOURCE_PREFIX = "imgkit:"
NAME_LIMIT = 255 - len(SOURCE_PREFIX)  # bytes of a served file's name: fsconfig(2) takes so long a source
_ATTRIBUTES = (
    mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
)
_HINT = "load the driver: modprobe fuse"


def mounted_by(info: mount.MountInfo) -> int:
    """The user that an exposure was mounted by, as the kernel says."""
    options = dict(option.partition("=")[::2] for option in info.super_options)
    return int(options.get("user_id", 0))


def open_connection() -> int:
    """A descriptor of /dev/fuse.

    Raises:
        HostError: The kernel has no FUSE driver, or it is not to be had here.
    """
    try:
        return fuse.open_device()
    except OSError as error:
        raise HostError(f"cannot open {fuse.DEVICE}: {error.strerror}", hint=_HINT) from error


def served_mount(connection: int, name: str, *, others: bool) -> int:
    """A detached read-only mount on a connection; it is gone with its descriptor and the files opened through it.

    Args:
        connection: Of open_connection.
        name: Of the served file: findmnt shows it as the source.
        others: FUSE lets everybody in whom the file's mode lets in; else nobody but this user with this group, not even
            root with another group, who asks the loop driver for its status.

    Raises:
        HostError: The kernel has no FUSE driver.
        MountError: The kernel refuses.
    """
    try:
        context = mount.fsopen("fuse")
    except OSError as error:
        if error.errno in {errno.ENODEV, errno.ENOSYS}:
            raise HostError(f"the kernel has no FUSE driver: {error.strerror}", hint=_HINT) from error
        raise MountError(f"cannot make a FUSE mount: {error.strerror}") from error
    try:
        for key, value in _options(connection, name):
            mount.fsconfig_string(context, key, value)
        for flag in ("ro", "default_permissions", *(["allow_other"] if others else [])):
            mount.fsconfig_flag(context, flag)
        mount.fsconfig_create(context, exclusive=False)
        return mount.fsmount(context, _ATTRIBUTES)
    except OSError as error:
        said = "; ".join(mount.context_messages(context))
        raise MountError(f"cannot make a FUSE mount: {said or error.strerror}") from error
    finally:
        os.close(context)


def _options(connection: int, name: str) -> list[tuple[str, str]]:
    return [
        ("source", SOURCE_PREFIX + name),
        ("subtype", SUBTYPE),
        ("fd", str(connection)),
        ("rootmode", "40000"),
        ("user_id", str(os.geteuid())),
        ("group_id", str(os.getegid())),
        ("max_read", str(LARGEST_READ)),
    ]
