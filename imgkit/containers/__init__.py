"""How media is stored: one file per format, each an Image; `open_image` finds the one that reads a path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imgkit.containers.block_device import BlockDeviceImage
from imgkit.containers.evidence_file import EvidenceFile, open_evidence
from imgkit.containers.raw import RawImage
from imgkit.containers.recognise import recognise
from imgkit.containers.split_names import find_split_set
from imgkit.containers.split_raw import SplitRawImage
from imgkit.errors import UnknownFormat, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.image import Image

__all__ = ["CONTAINERS", "BlockDeviceImage", "RawImage", "SplitRawImage", "open_image"]

# Names that promise a container: where the content is none, the user is told.
_CONTAINER_SUFFIXES = {
    *(".e01", ".ex01", ".s01", ".l01", ".lx01", ".aff", ".aff4", ".ad1", ".qcow", ".qcow2", ".vdi"),
    *(".vmdk", ".vhd", ".vhdx", ".dmg", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar", ".zip", ".tar"),
}
_SMALLEST_SECTOR, _LARGEST_SECTOR = 256, 65536


def _open_block_device(file: EvidenceFile, sector_size: int | None) -> Image | None:
    return BlockDeviceImage(file, sector_size=sector_size) if file.is_block_device else None


def _open_raw(file: EvidenceFile, sector_size: int | None) -> Image:
    """One file or a set of files whose bytes are the media, unless they turn out to be some other format's."""
    found = find_split_set(file.path)
    image: Image
    if len(found.paths) > 1:
        image = SplitRawImage(file.path, found.paths, sector_size=sector_size)
        file.close()
    else:
        image = RawImage(file, sector_size=sector_size)
    try:
        _refuse_unread_formats(image)
    except BaseException:
        image.close()
        raise
    image.metadata = {**image.metadata, "notices": (*found.notices, *_name_notices(image.path))}
    return image


def _refuse_unread_formats(image: Image) -> None:
    found = recognise(image)
    if found is not None:
        raise UnknownFormat(f"{image.path} is {found.name}, which imgkit does not read yet", hint=found.hint)


def _name_notices(path: str) -> tuple[str, ...]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _CONTAINER_SUFFIXES:
        return ()
    return (f"{path} is read as raw: its content is no {suffix[1:]}, whatever its name says",)


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
