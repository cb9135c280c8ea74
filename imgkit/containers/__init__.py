"""How media is stored: one file per format, each an Image; `open_image` finds the one that reads a path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgkit.containers.block_device import BlockDeviceImage
from imgkit.containers.evidence_file import EvidenceFile, open_evidence
from imgkit.containers.raw import RawImage
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.image import Image

__all__ = ["CONTAINERS", "BlockDeviceImage", "RawImage", "open_image"]

_SMALLEST_SECTOR, _LARGEST_SECTOR = 256, 65536


def _open_block_device(file: EvidenceFile, sector_size: int | None) -> Image | None:
    return BlockDeviceImage(file, sector_size=sector_size) if file.is_block_device else None


def _open_raw(file: EvidenceFile, sector_size: int | None) -> Image | None:
    return RawImage(file, sector_size=sector_size)


# In probe order; each takes over the file and returns an Image, or returns None and leaves it to the next.
CONTAINERS: tuple[Callable[[EvidenceFile, int | None], Image | None], ...] = (
    _open_block_device,
    _open_raw,
)


def open_image(path: str | os.PathLike[str] | bytes, *, sector_size: int | None = None) -> Image:
    """Open a disk image, read-only, as what its content says it is.

    Args:
        path: A file, any file of a split set, or a block device.
        sector_size: Bytes, stated by the user; overrides what the container or device states.

    Raises:
        UnknownFormat: Recognised and not read yet, or no image at all (a directory, a FIFO).
        MissingSegment: A file of a set is absent, short, or of another set.
        NotPermitted: EACCES or EPERM.
        UsageError: A sector size that cannot be meant.
        ImageError: No such file, or the kernel refused.
    """
    _check_sector_size(sector_size)
    file = open_evidence(os.path.abspath(os.fsdecode(path)))
    try:
        for open_container in CONTAINERS:
            image = open_container(file, sector_size)
            if image is not None:
                return image
    except BaseException:
        file.close()
        raise
    msg = "raw reads everything"
    raise AssertionError(msg)


def _check_sector_size(sector_size: int | None) -> None:
    if sector_size is None:
        return
    if not _SMALLEST_SECTOR <= sector_size <= _LARGEST_SECTOR or sector_size & (sector_size - 1):
        raise UsageError(
            f"a sector size of {sector_size} bytes cannot be meant",
            hint=f"a power of two from {_SMALLEST_SECTOR} to {_LARGEST_SECTOR}, nearly always 512 or 4096",
        )
