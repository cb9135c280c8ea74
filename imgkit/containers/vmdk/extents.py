"""The extents that a descriptor lists, each opened and checked against its file before a byte of it is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.vmdk.descriptor import SECTOR
from imgkit.containers.vmdk.header import is_sparse, read_header
from imgkit.containers.vmdk.runs import FlatExtent, ZeroExtent
from imgkit.containers.vmdk.sparse import SparseExtent
from imgkit.containers.vmdk.tables import GrainTables
from imgkit.errors import CorruptImage, MissingSegment

if TYPE_CHECKING:
    from imgkit.containers.segment_files import SegmentFiles
    from imgkit.containers.vmdk.descriptor import ExtentLine
    from imgkit.containers.vmdk.plan import Plan
    from imgkit.containers.vmdk.runs import Extent
    from imgkit.containers.vmdk.table_cache import TableCache

_FLAT = {"FLAT", "VMFS"}
_COPY_HINT = "copy it again from the source; an image is read with all its files or not at all"


class _Place(NamedTuple):
    """An extent line, the index of its file, and where its media begins."""

    line: ExtentLine
    file: int
    start: int


def open_extents(plan: Plan, files: SegmentFiles, tables: TableCache) -> tuple[Extent, ...]:
    """Open every extent of the descriptor.

    Raises:
        MissingSegment: A file is shorter than the descriptor or its own header says.
        CorruptImage: A file contradicts the descriptor or itself.
        UnknownFormat: A variant that is not read.
    """
    extents: list[Extent] = []
    start = 0
    for line, index in zip(plan.descriptor.extents, plan.files, strict=True):
        if index is None:
            extents.append(ZeroExtent(start, line.length))
        elif line.type in _FLAT:
            extents.append(_open_flat(plan.path, _Place(line, index, start), files))
        else:
            extents.append(_open_sparse(plan.path, _Place(line, index, start), files, tables))
        start += line.length
    return tuple(extents)


def _open_flat(path: str, place: _Place, files: SegmentFiles) -> Extent:
    line, segment = place.line, files.segments[place.file]
    needed = line.offset + line.length
    if segment.size < needed:
        raise MissingSegment(
            f"{segment.path} is short: {segment.size} bytes where {path} needs {needed}", hint=_COPY_HINT
        )
    with files.opened(place.file, place.start, line.length) as file:
        head = file.read_at(0, SECTOR)
    if is_sparse(head):
        raise CorruptImage(f"{segment.path} is a sparse extent and {path} lists it as flat")
    return FlatExtent(place.start, line.length, file=place.file, position=line.offset)


def _open_sparse(path: str, place: _Place, files: SegmentFiles, tables: TableCache) -> SparseExtent:
    line, segment = place.line, files.segments[place.file]
    with files.opened(place.file, place.start, line.length) as file:
        header = read_header(file)
    if (header.kind == "COWD") != (line.type == "VMFSSPARSE"):
        raise CorruptImage(f"{segment.path} is of kind {header.kind} and {path} lists it as {line.type}")
    # VirtualBox rounds the capacity up to whole grains, as the specification says it should be.
    rounded = -(-line.length // header.grain_size) * header.grain_size
    if header.capacity not in {line.length, rounded}:
        raise CorruptImage(
            f"{segment.path} has a capacity of {header.capacity} bytes where {path} lists {line.length}",
            hint="one of the two is of another disk, or damaged",
        )
    map_of_grains = GrainTables(files, place.file, header, tables)
    extent = SparseExtent(
        place.start, line.length, file=place.file, files=files, header=header, tables=map_of_grains
    )
    short = extent.cut_short()
    if short:
        raise MissingSegment(f"{segment.path} is cut short: {short}", hint=_COPY_HINT)
    return extent


def sparse_notices(extents: tuple[Extent, ...]) -> tuple[str, ...]:
    """What the headers say that the examiner should know."""
    notices = []
    for extent in extents:
        if not isinstance(extent, SparseExtent):
            continue
        header, path = extent.header, extent.path
        if header.unclean:
            notices.append(
                f"{path} was not closed by the program that wrote it: its last writes may be incomplete"
            )
        if header.capacity != extent.length:
            notices.append(
                f"{path} has a capacity of {header.capacity} bytes, of which the disk has {extent.length}"
            )
    return tuple(notices)
