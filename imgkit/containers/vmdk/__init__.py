"""VMDK: virtual disks of VMware and of many others. Virtual Disk Format 5.0; docs/containers/vmdk.md.

Everything is checked before a byte is served: the descriptor, every file that it lists, each header, the parent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgkit.containers.segment_files import SegmentFiles
from imgkit.containers.vmdk.chain import open_parent_of
from imgkit.containers.vmdk.extents import open_extents, sparse_notices
from imgkit.containers.vmdk.image import VmdkImage
from imgkit.containers.vmdk.plan import plan_image
from imgkit.containers.vmdk.sparse import SparseExtent
from imgkit.containers.vmdk.table_cache import TableCache
from imgkit.errors import CorruptImage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.containers.reader import OpenParent
    from imgkit.containers.vmdk.descriptor import ExtentLine
    from imgkit.containers.vmdk.plan import Plan
    from imgkit.containers.vmdk.runs import Extent
    from imgkit.image import Image, Segment

__all__ = ["VmdkImage", "open_container"]

_MOST_SHOWN = 64  # extents in `info`


def open_container(file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Image:
    """Open the VMDK that `file` describes. See containers/reader.py.

    Raises:
        MissingSegment, IncompleteChain, CorruptImage, UnknownFormat: As the protocol says.
    """
    plan = plan_image(file)
    files = SegmentFiles(plan.paths)
    parent: Image | None = None
    try:
        if not file.is_same_file(files.segments[0].stat):
            raise CorruptImage(f"{file.path} became another file while it was opened")
        tables = TableCache()
        extents = open_extents(plan, files, tables)
        parent, chain = open_parent_of(plan.path, plan.descriptor, open_parent)
        below = parent.metadata if parent is not None else {}
        image = VmdkImage(
            plan.path,
            files=files,
            segments=_segments(plan, files, parent),
            extents=extents,
            tables=tables,
            parent=parent,
            content_id=plan.descriptor.content_id,
            sector_size=sector_size,
            metadata={
                "atime_may_change": files.atime_may_change or bool(below.get("atime_may_change")),
                "notices": (*plan.notices, *sparse_notices(extents), *_notices_of(below)),
                "container": _facts(plan, extents),
                "chain": chain,
            },
        )
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays open
        files.close()
        if parent is not None:
            parent.close()
        raise
    file.close()
    return image


def _segments(plan: Plan, files: SegmentFiles, parent: Image | None) -> tuple[Segment, ...]:
    """The files in order, and those of the parents; a descriptor of its own holds no media."""
    first, *others = files.segments
    if 0 not in plan.files:
        first = replace(first, role="descriptor")
    above = parent.segments if parent is not None else ()
    return (first, *others, *(replace(segment, role="parent") for segment in above))


def _notices_of(metadata: Mapping[str, object]) -> tuple[str, ...]:
    notices = metadata.get("notices", ())
    return notices if isinstance(notices, tuple) else ()


def _facts(plan: Plan, extents: tuple[Extent, ...]) -> dict[str, object]:
    """What `info` shows of the container."""
    descriptor = plan.descriptor
    headers = [extent.header for extent in extents if isinstance(extent, SparseExtent)]
    return {
        "create_type": descriptor.create_type,
        "version": descriptor.version,
        "content_id": _hex(descriptor.content_id),
        "parent_content_id": _hex(descriptor.parent_id),
        "compressed": any(header.compressed for header in headers),
        "grain_size": max((header.grain_size for header in headers), default=None),
        "extent_count": len(extents),
        "extents": [_extent_facts(line) for line in descriptor.extents[:_MOST_SHOWN]],
        "stated": descriptor.facts,
    }


def _hex(number: int | None) -> str | None:
    return None if number is None else f"{number:08x}"


def _extent_facts(line: ExtentLine) -> dict[str, object]:
    return {
        "type": line.type,
        "access": line.access,
        "length": line.length,
        "file": line.name,
        "file_offset": line.offset,
    }
