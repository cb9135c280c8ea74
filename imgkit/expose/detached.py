"""An image as a file that no directory shows: what goes below a loop device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from imgkit.expose.facts import ExposureFacts
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
        return self._fd

    def close(self) -> None:
        """Let go of the file. Closing twice is allowed."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def expose_detached(image: Image, *, name: str, identity: Identity | None = None) -> Exposure:
    """Serve the media of `image` as one read-only file that no directory shows.

    Args:
        image: An opened image; the process that serves it opens it again, and it must be the very same files.
        name: Of the file; sysfs and losetup show it as the backing file.
        identity: With whose rights the files of the image are opened; None: as this thread's are.

    Raises:
        Busy: Somebody has a file of the image open for writing.
        HostError: No /dev/fuse, no libfuse3, or the process did not come up.
        ImageError: The image cannot be opened again, or is another one by now.
        NotPermitted: Only root mounts.
    """
    raise NotImplementedError
