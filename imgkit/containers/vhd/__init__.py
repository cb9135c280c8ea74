"""VHD (Virtual PC, Hyper-V, Azure): fixed, dynamic and differencing; what is read and what is refused: docs/containers/vhd.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.differencing import chain_of, not_its_parent, notices_of, open_first_parent, text
from imgkit.containers.vhd.dynamic import DynamicVhd
from imgkit.containers.vhd.fixed import FixedVhd
from imgkit.containers.vhd.footer import DIFFERENCING, FIXED, TYPES, in_words, read_footer
from imgkit.containers.vhd.header import read_header
from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent
    from imgkit.containers.vhd.footer import Footer
    from imgkit.containers.vhd.header import Header
    from imgkit.image import Image

__all__ = ["open_container"]

# 2040 GiB by the specification; the table's sector numbers end at 2 TiB of data in any case.
_LARGEST_DISK = 64 << 40
_OLD_TAPDISK = ("tap", 1)  # blktap's vhd-update turns the bitmaps of these around
_WHY_CURRENT_SIZE = (
    "it is what Hyper-V, Azure and disk2vhd use; Virtual PC, and qemu-img for some creators, use the geometry"
)


def open_container(file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Image:
    """See reader.Reader."""
    footer = read_footer(file)
    if not 0 < footer.current_size <= _LARGEST_DISK or footer.current_size % 512:
        raise CorruptImage(f"{file.path} states a disk of {footer.current_size} bytes, which cannot be meant")
    if footer.disk_type == FIXED:
        image: Image = FixedVhd(file, footer)
        image.metadata = _metadata(file, footer)
    else:
        image = _open_dynamic(file, footer, open_parent)
    image.sector_size = sector_size
    image.sector_size_source = "stated by the user" if sector_size else None
    return image


def _open_dynamic(file: EvidenceFile, footer: Footer, open_parent: OpenParent) -> Image:
    if (footer.creator_application, footer.creator_version) == _OLD_TAPDISK:
        raise UnknownFormat(
            f"{file.path} was written by a tapdisk (Xen) of version 0.1, whose sector bitmaps have another order",
            hint="make a raw copy with Xen's vhd-util, and open that",
        )
    header = read_header(file, footer)
    if footer.disk_type != DIFFERENCING:
        image = DynamicVhd(file, footer, header, None)
        image.metadata = _metadata(file, footer, header, notices=image.table_notices)
        return image
    parent = open_first_parent(file, header.parent_paths, open_parent, DynamicVhd.format)
    identifier = text(parent.metadata, "container", "unique_id")
    wanted = str(header.parent_unique_id)
    if identifier != wanted:
        raise not_its_parent(file, parent, f"the image {wanted}", f"the image {identifier}")
    try:
        image = DynamicVhd(file, footer, header, parent)
        notices = (*image.table_notices, *_time_notices(file, header, parent), *notices_of(parent))
        image.metadata = {
            **_metadata(file, footer, header, notices=notices),
            "chain": chain_of(parent, identifier),
            "atime_may_change": file.atime_may_change or bool(parent.metadata.get("atime_may_change")),
        }
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        parent.close()
        raise
    return image


def _time_notices(file: EvidenceFile, header: Header, parent: Image) -> tuple[str, ...]:
    """The child states when its parent was last modified: by the parent's footer (some writers) or its file (others)."""
    stated = in_words(header.parent_time_stamp)
    if not header.parent_time_stamp or stated == text(parent.metadata, "container", "time_stamp"):
        return ()
    if header.parent_time_stamp == int(parent.segments[0].stat.st_mtime) - _EPOCH_2000:
        return ()
    return (
        (
            f"{file.path} states that its parent was last modified {stated}, which neither the footer nor the file of "
            f"{parent.path} says: a copy often loses this time, and a parent that was changed since shows another disk"
        ),
    )


_EPOCH_2000 = 946_684_800


def _metadata(
    file: EvidenceFile, footer: Footer, header: Header | None = None, *, notices: tuple[str, ...] = ()
) -> dict[str, object]:
    container: dict[str, object] = {
        "type": TYPES[footer.disk_type],
        "current_size": footer.current_size,
        "original_size": footer.original_size,
        "geometry": {"cylinders": footer.cylinders, "heads": footer.heads, "sectors": footer.sectors},
        "geometry_size": footer.geometry_size,
        "size_used": "current_size",
        "size_used_because": _WHY_CURRENT_SIZE,
        "unique_id": str(footer.unique_id),
        "time_stamp": in_words(footer.time_stamp),
        "creator_application": footer.creator_application,
        "creator_version": f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}",
        "creator_host_os": footer.creator_host_os,
        "saved_state": footer.saved_state,
    }
    if header is not None:
        container["block_size"] = header.block_size
    if footer.disk_type == DIFFERENCING and header is not None:
        container["parent_unique_id"] = str(header.parent_unique_id)
        container["parent_time_stamp"] = in_words(header.parent_time_stamp)
        container["parent_paths"] = header.parent_paths
    return {
        "atime_may_change": file.atime_may_change,
        "container": container,
        "notices": (*footer.notices, *_size_notices(file, footer), *_state_notices(file, footer), *notices),
    }


def _size_notices(file: EvidenceFile, footer: Footer) -> tuple[str, ...]:
    if footer.geometry_size == footer.current_size or footer.geometry_is_largest:
        return ()
    return (
        (
            f"{file.path} states two sizes: {footer.current_size} bytes, and {footer.geometry_size} by its CHS geometry; "
            f"the first is used: {_WHY_CURRENT_SIZE}"
        ),
    )


def _state_notices(file: EvidenceFile, footer: Footer) -> tuple[str, ...]:
    if not footer.saved_state:
        return ()
    return (
        f"{file.path} is of a machine that was suspended (saved state): what its memory held had not all been written",
    )
