"""An image as a file that no directory shows: what goes below a loop device."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from imgkit.errors import HostError, NotPermitted, SizeMismatch
from imgkit.expose.kernel_mount import open_connection, served_mount
from imgkit.expose.start import Server, lease_or_none
from imgkit.linux import process

if TYPE_CHECKING:
    from imgkit.expose.facts import ExposureFacts
    from imgkit.expose.start import TakeGuard
    from imgkit.image import Image
    from imgkit.linux.files import Identity


class Exposure:
    """A served file, held open. A context manager; close() lets go of it.

    The process that serves it ends by itself when its last user (this descriptor, a loop device, a mount) has gone.

    Attributes:
        facts: What was read back.
    """

    def __init__(self, facts: ExposureFacts, fd: int) -> None:
        self.facts = facts
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor of the served file, O_RDONLY | O_CLOEXEC."""
        if self._fd < 0:
            msg = "the exposure is closed"
            raise ValueError(msg)
        return self._fd

    def close(self) -> None:
        """Let go of the file. Closing twice is allowed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _close(fd)
            process.reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(fd: int) -> None:
    with contextlib.suppress(
        OSError
    ):  # FUSE passes the end of its server on as an error; it is closed all the same
        os.close(fd)


def expose_detached(
    image: Image, *, name: str, identity: Identity | None = None, take_guard: TakeGuard = lease_or_none
) -> Exposure:
    """Serve the media of `image` as one read-only file that no directory shows.

    Args:
        image: An opened image; the process that serves it opens it again, and it must be the very same files.
        name: Of the file; sysfs and losetup show it as the backing file.
        identity: With whose rights the files of the image are opened; None: as this process's are.
        take_guard: Holds writers off one open file: returns `lease` or anything else for none, or raises Busy.

    Raises:
        Busy: Somebody has a file of the image open for writing.
        HostError: No FUSE driver, or the process did not come up.
        ImageError: The image cannot be opened again, or is another one by now.
        NotPermitted: Only root mounts.
    """
    if os.geteuid() != 0:
        raise NotPermitted(f"cannot expose {image.path} without a directory: only root makes such mounts")
    with Server(image, name, identity) as server:
        server.open()
        server.hold_writers_off(take_guard)
        connection = open_connection()
        try:
            mount = served_mount(connection, name, others=True)
            try:
                server.go(connection)
                fd = _open_served(mount, name, image)
            finally:
                os.close(mount)
        finally:
            os.close(connection)
        try:
            facts = _facts(server, image, name, fd)
            server.seen(facts.dev)
            server.keep()
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
            _close(fd)
            raise
    return Exposure(facts, fd)


def _open_served(mount: int, name: str, image: Image) -> int:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=mount)
    except OSError as error:
        if error.errno in {errno.ENOTCONN, errno.ECONNABORTED}:
            raise HostError(f"the process that should serve {image.path} ended") from error
        raise HostError(f"cannot open the served file {name}: {error.strerror}") from error
    return fd


def _facts(server: Server, image: Image, name: str, fd: int) -> ExposureFacts:
    """Read back what the kernel has: a regular file, of the media's size, with the inode number that was chosen."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size != image.size or found.st_ino != server.ino:
        raise SizeMismatch(
            f"the served file {name} has {found.st_size} bytes where {image.path} has {image.size}"
        )
    return server.facts(found)
