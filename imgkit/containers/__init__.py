"""How media is stored: one file per format, each an Image; `open_image` finds the one that reads a path."""

from __future__ import annotations

import os
import re
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from imgkit.containers.block_device import BlockDeviceImage
from imgkit.containers.evidence_file import EvidenceFile, open_evidence
from imgkit.containers.raw import RawImage
from imgkit.containers.recognise import recognise
from imgkit.containers.split_names import find_split_set
from imgkit.containers.split_raw import SplitRawImage
from imgkit.errors import ImageError, IncompleteChain, UnknownFormat, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.containers.reader import OpenParent, Reader
    from imgkit.containers.recognise import Format
    from imgkit.image import Image

__all__ = ["CONTAINERS", "BlockDeviceImage", "RawImage", "SplitRawImage", "open_image"]

# Names that promise a container: where the content is none, the user is told.
_CONTAINER_SUFFIXES = {
    *(".e01", ".ex01", ".s01", ".l01", ".lx01", ".aff", ".aff4", ".ad1", ".qcow", ".qcow2", ".vdi"),
    *(".vmdk", ".vhd", ".vhdx", ".dmg", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar", ".zip", ".tar"),
}
_SEGMENT_SUFFIX = re.compile(
    r"\.[esl]x?[0-9]{2}", re.ASCII
)  # a later segment of a set whose start is destroyed
_LONGEST_CHAIN = 64  # images that build upon each other
_SMALLEST_SECTOR, _LARGEST_SECTOR = 256, 65536


def _open_block_device(file: EvidenceFile, sector_size: int | None, _parent: OpenParent) -> Image | None:
    return BlockDeviceImage(file, sector_size=sector_size) if file.is_block_device else None


def _open_recognised(file: EvidenceFile, sector_size: int | None, parent: OpenParent) -> Image | None:
    """What the row of the format in recognise.py names: a reader, or none."""
    found = recognise(RawImage(file))
    if found is None:
        return None
    if not found.reader:
        raise _unread(file.path, found)
    if len(find_split_set(file.path).paths) > 1:
        raise UnknownFormat(
            f"{file.path} is the first piece of a {found.name} file that was cut up",
            hint="join copies of the pieces with cat, in order, and open that",
        )
    reader: Reader = import_module(f"imgkit.containers.{found.reader}").open_container
    return reader(file, sector_size=sector_size, open_parent=parent)


def _open_raw(file: EvidenceFile, sector_size: int | None, _parent: OpenParent) -> Image:
    """One file or a set of files whose bytes are the media, unless they turn out to be some other format's."""
    found = find_split_set(file.path)
    if len(found.paths) == 1:
        image: Image = RawImage(file, sector_size=sector_size)
    else:
        image = SplitRawImage(file.path, found.paths, sector_size=sector_size)
        file.close()
        _refuse_joined_format(image)
    image.metadata = {**image.metadata, "notices": (*found.notices, *_name_notices(image.path))}
    return image


def _refuse_joined_format(image: Image) -> None:
    """The pieces of a set may make up some other format once they are joined (its mark can lie in the last)."""
    try:
        found = recognise(image)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        image.close()
        raise
    if found is not None:
        image.close()
        raise _unread(f"{image.path} with the pieces after it", found)


def _unread(what: str, found: Format) -> UnknownFormat:
    return UnknownFormat(f"{what} is {found.name}, which imgkit does not read", hint=found.hint)


def _name_notices(path: str) -> tuple[str, ...]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _CONTAINER_SUFFIXES and not _SEGMENT_SUFFIX.fullmatch(suffix):
        return ()
    if suffix == ".vmdk" and (descriptor := _vmdk_descriptor_of(path)) is not None:
        return (f"{path} is read as raw: it is one flat extent of the disk that {descriptor} describes",)
    return (f"{path} is read as raw: its content is no {suffix[1:]}, whatever its name says",)


def _vmdk_descriptor_of(path: str) -> str | None:
    """The descriptor beside a file that lists it: its bytes are media, and perhaps not all of it."""
    from imgkit.containers.vmdk.folder import descriptor_of  # noqa: PLC0415  (loads what reads VMDK)

    return descriptor_of(path)


# In probe order; each takes over the file and returns an Image, or returns None and leaves it to the next. A container
# is a row in recognise.py that names the module which reads it: nothing of it is loaded until an image wants it.
CONTAINERS: tuple[Callable[[EvidenceFile, int | None, OpenParent], Image | None], ...] = (
    _open_block_device,
    _open_recognised,
    _open_raw,
)


def open_image(path: str | os.PathLike[str] | bytes, *, sector_size: int | None = None) -> Image:
    """Open a disk image, read-only, as what its content says it is.

    Args:
        path: A file, any file of a set, or a block device.
        sector_size: Bytes, stated by the user; overrides what the container or device states.

    Raises:
        UnknownFormat: Recognised and not read, or no image at all (a directory, a FIFO).
        MissingSegment: A file of a set is absent, short, or of another set.
        IncompleteChain: A parent or backing file is absent.
        CorruptImage: The container contradicts itself.
        NotPermitted: EACCES or EPERM.
        UsageError: A sector size that cannot be meant.
        ImageError: No such file, or the kernel refused.
    """
    _check_sector_size(sector_size)
    return _open(open_evidence(os.path.abspath(os.fsdecode(path))), sector_size, ())


def _open(
    file: EvidenceFile,
    sector_size: int | None,
    descendants: tuple[os.stat_result, ...],
    container: str | None = None,
) -> Image:
    """Open what `file` is of; `descendants` are the files that build upon it, `container` what they say it is."""
    parent = partial(_open_parent, file.path, (*descendants, file.stat))
    probes = CONTAINERS if container != RawImage.format else (_open_forced_raw,)
    try:
        for open_container in probes:
            image = open_container(file, sector_size, parent)
            if image is not None:
                return image
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        file.close()
        raise
    msg = "raw reads everything"
    raise AssertionError(msg)


def _open_forced_raw(file: EvidenceFile, sector_size: int | None, _parent: OpenParent) -> Image:
    return RawImage(file, sector_size=sector_size)


def _open_parent(
    child: str, descendants: tuple[os.stat_result, ...], path: str, *, container: str | None = None
) -> Image:
    """See OpenParent."""
    where = os.path.abspath(os.path.join(os.path.dirname(child), path))
    try:
        file = open_evidence(where)
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            hint = (
                "put a copy of it there, or name where it lies in a copy of the image (qcow2: qemu-img rebase -u -F FORMAT "
                "-b FILE COPY); an image is read with its whole chain or not at all"
            )
            raise IncompleteChain(f"{child} builds upon {where}, which is not there", hint=hint) from error
        raise
    if file.is_block_device:  # no device of this machine is what an image of another was made with
        file.close()
        raise IncompleteChain(
            f"{child} builds upon {where}, a device of this machine",
            hint="make an image of the device that is meant, and name that in a copy of the image that builds upon it",
        )
    circle = any(file.is_same_file(other) for other in descendants)
    if circle or len(descendants) > _LONGEST_CHAIN:
        file.close()
        why = "builds upon itself" if circle else f"builds upon a chain of more than {_LONGEST_CHAIN} images"
        raise IncompleteChain(f"{child} {why}")
    image = _open(file, None, descendants, container)
    if container is not None and image.format != container:
        found = image.format
        image.close()
        raise IncompleteChain(f"{child} builds upon {where}, a {container} it says, but that is {found}")
    return image


def _check_sector_size(sector_size: int | None) -> None:
    if sector_size is None:
        return
    if not _SMALLEST_SECTOR <= sector_size <= _LARGEST_SECTOR or sector_size & (sector_size - 1):
        raise UsageError(
            f"a sector size of {sector_size} bytes cannot be meant",
            hint=f"a power of two from {_SMALLEST_SECTOR} to {_LARGEST_SECTOR}, nearly always 512 or 4096",
        )
