"""An image as a file in a directory: an ordinary FUSE mount that stays, with or without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.expose.facts import ExposureFacts
    from imgkit.image import Image


def expose_at(image: Image, directory: str, *, name: str) -> ExposureFacts:
    """Show the media of `image` as the read-only file `name` in `directory`, until unexpose or a reboot.

    Raises:
        Busy: Somebody has a file of the image open for writing.
        HostError: No /dev/fuse, no libfuse3, no fusermount3, or the process did not come up.
        ImageError: The image cannot be opened again, or is another one by now.
        MountError: The directory does not take a mount.
    """
    raise NotImplementedError


def unexpose(directory: str, *, timeout: float = 5.0) -> None:
    """Take down what expose_at put at `directory`, and wait until its process has ended.

    Raises:
        Busy: Somebody uses it; the message says who.
        MountError: No exposure of imgkit is mounted there.
    """
    raise NotImplementedError
