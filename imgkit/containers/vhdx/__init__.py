"""VHDX (Hyper-V): fixed, dynamic and differencing; what is read and what is refused: docs/containers/vhdx.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.containers.differencing import chain_of, not_its_parent, notices_of, open_first_parent, text
from imgkit.containers.vhdx.blocks import VhdxImage
from imgkit.containers.vhdx.metadata import read_metadata
from imgkit.containers.vhdx.structure import read_structure
from imgkit.errors import CorruptImage

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent
    from imgkit.containers.vhdx.metadata import Metadata
    from imgkit.containers.vhdx.structure import Structure
    from imgkit.image import Image

__all__ = ["open_container"]

_PATHS = ("relative_path", "volume_path", "absolute_win32_path")  # 2.6.2.6.3: in this order
_LINKAGES = ("parent_linkage", "parent_linkage2")


def open_container(file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Image:
    """See reader.Reader."""
    structure = read_structure(file)
    metadata = read_metadata(file, structure.metadata)
    parent = _parent(file, metadata, open_parent) if metadata.has_parent else None
    try:
        image = VhdxImage(file, structure, metadata, parent)
        image.metadata = _metadata(file, structure, metadata, image, parent)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        if parent is not None:
            parent.close()
        raise
    image.sector_size = sector_size or metadata.logical_sector_size
    image.sector_size_source = "stated by the user" if sector_size else "VHDX metadata"
    return image


def _parent(file: EvidenceFile, metadata: Metadata, open_parent: OpenParent) -> Image:
    """Open the parent, and hold it to what the child says of it (2.6.2.6.3)."""
    stated = [path for key in _PATHS if (path := metadata.parent.get(key))]
    wanted = [_guid(link) for key in _LINKAGES if (link := metadata.parent.get(key))]
    if not wanted:
        raise CorruptImage(f"{file.path} does not say which state of its parent it builds upon")
    parent = open_first_parent(file, stated, open_parent, VhdxImage.format)
    found = text(parent.metadata, "container", "data_write_guid")
    if found not in wanted:
        raise not_its_parent(
            file, parent, f"the state {' or '.join(wanted)} of its parent", f"in the state {found}"
        )
    sector = parent.sector_size
    if sector != metadata.logical_sector_size:
        parent.close()
        raise CorruptImage(
            f"{file.path} has sectors of {metadata.logical_sector_size} bytes, and its parent {parent.path} of {sector}"
        )
    return parent


def _guid(text_: str) -> str:
    """`{83ED0EC3-…}` as UUID writes it."""
    return text_.split("\0", maxsplit=1)[0].strip().strip("{}").lower()


def _metadata(
    file: EvidenceFile, structure: Structure, metadata: Metadata, image: VhdxImage, parent: Image | None
) -> dict[str, object]:
    container: dict[str, object] = {
        "type": "differencing" if metadata.has_parent else "fixed" if metadata.fixed else "dynamic",
        "version": structure.header.version,
        "creator": structure.creator,
        "virtual_disk_size": metadata.disk_size,
        "virtual_disk_id": str(metadata.disk_id),
        "block_size": metadata.block_size,
        "logical_sector_size": metadata.logical_sector_size,
        "physical_sector_size": metadata.physical_sector_size,
        "sequence_number": structure.header.sequence_number,
        "file_write_guid": str(structure.header.file_write_guid),
        "data_write_guid": str(structure.header.data_write_guid),
    }
    found: dict[str, object] = {
        "atime_may_change": file.atime_may_change,
        "container": container,
        "notices": (*structure.notices, *image.table_notices),
    }
    if parent is not None:
        container["parent"] = dict(metadata.parent)
        found["atime_may_change"] = file.atime_may_change or bool(parent.metadata.get("atime_may_change"))
        found["notices"] = (*structure.notices, *image.table_notices, *notices_of(parent))
        found["chain"] = chain_of(parent, text(parent.metadata, "container", "data_write_guid"))
    return found
