"""The header of a sparse extent, and the markers of a compressed one. Virtual Disk Format 5.0, "Hosted Sparse Extents".

Field names are the specification's (SparseExtentHeader, COWDisk_Header, Marker); numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers.vmdk.descriptor import MOST_BYTES, SECTOR
from imgkit.errors import CorruptImage, MissingSegment, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile

# magicNumber version flags | capacity grainSize descriptorOffset descriptorSize | numGTEsPerGT | rgdOffset gdOffset
# overHead | uncleanShutdown, four characters that line-end conversion would change | compressAlgorithm
_SPARSE = struct.Struct("<4sIIQQQQIQQQB4sH")
# magicNumber version flags | numSectors grainSize gdOffset numGDEntries freeSector
_COWD = struct.Struct("<4sIIIIIII")
_MARKER = struct.Struct("<QII")  # sectors, size (0: a marker of metadata), type
_GD_AT_END = (1 << 64) - 1
_LINE_ENDS = b"\n \r\n"
_FLAG_LINE_ENDS, _FLAG_REDUNDANT, _FLAG_ZERO_GRAIN = 1 << 0, 1 << 1, 1 << 2
_FLAG_COMPRESSED, _FLAG_MARKERS = 1 << 16, 1 << 17
_DIRECTORY_MARKER, _FOOTER_MARKER = 2, 3
_DEFLATE = 1
_COWD_ENTRIES = 4096

LARGEST_GRAIN = 2 << 20  # bytes; 64 KiB nearly always
_MOST_ENTRIES = 1 << 13  # of a grain table; 512 always
_MOST_TABLES = 1 << 21  # of an extent: 64 TiB in grains of 64 KiB
_COPY_HINT = "copy it again from the source"
_TAIL = 1 << 20  # bytes at the end in which a footer is looked for

SESPARSE = struct.pack("<Q", 0xCAFEBABE)


class Sizes(NamedTuple):
    """What the map of a sparse extent is like.

    Attributes:
        capacity: Bytes of the media that it holds.
        grain_size: Bytes of a grain.
        entries: Of a grain table.
        tables: Number of grain tables.
    """

    capacity: int
    grain_size: int
    entries: int
    tables: int


@dataclass(frozen=True, slots=True)
class SparseHeader:
    """What the header of a sparse extent says, in bytes; offsets are checked against the file.

    Attributes:
        kind: `KDMV` (hosted) or `COWD` (ESX).
        sizes: See Sizes.
        directory: Where the grain directory is.
        redundant: Where the redundant grain directory is, or None where there is none.
        descriptor: (offset, length) of the embedded descriptor, or None.
        compressed: Grains are zlib streams behind markers.
        zero_grains: An entry of 1 means zeros.
        unclean: The program that wrote it did not close it.
        version: Of the header.
        overhead: Where the first grain may be.
        footer: The header was read from the end of the file: a stream.
    """

    kind: str
    sizes: Sizes
    directory: int
    redundant: int | None
    descriptor: tuple[int, int] | None
    compressed: bool
    zero_grains: bool
    unclean: bool
    version: int
    overhead: int = SECTOR
    footer: bool = False

    @property
    def capacity(self) -> int:
        """Bytes of the media that it holds."""
        return self.sizes.capacity

    @property
    def grain_size(self) -> int:
        """Bytes of a grain."""
        return self.sizes.grain_size


def read_header(file: EvidenceFile) -> SparseHeader:
    """Read and check the header of a sparse extent.

    Raises:
        CorruptImage: It contradicts itself or the file.
        MissingSegment: The file is shorter than what it says.
        UnknownFormat: A variant that is not read.
    """
    head = file.read_at(0, SECTOR)
    if head.startswith(SESPARSE):
        hint = "convert it with qemu-img convert -O raw, through its descriptor, and open that"
        raise UnknownFormat(
            f"{file.path} is a VMDK extent of ESX (SESparse), which imgkit does not read", hint=hint
        )
    if len(head) < SECTOR or head[:4] not in {b"KDMV", b"COWD"}:
        raise CorruptImage(f"{file.path} is no sparse extent of a VMDK: it begins with {head[:4]!r}")
    header = _cowd(head, file) if head.startswith(b"COWD") else _hosted(head, file, footer=False)
    _check_directory(header.directory, "grain directory", header, file)
    return header


def _hosted(head: bytes, file: EvidenceFile, *, footer: bool) -> SparseHeader:
    (_magic, version, flags, capacity, grain_size, descriptor_offset, descriptor_size, entries, redundant, directory,
     overhead, unclean, line_ends, algorithm) = _SPARSE.unpack_from(head)  # fmt: skip
    if not 1 <= version <= 3:
        raise UnknownFormat(f"{file.path} is a VMDK extent of version {version}, which imgkit does not read")
    if flags & _FLAG_LINE_ENDS and line_ends != _LINE_ENDS:
        hint = "it went through a transfer in text mode: copy it again in binary mode"
        raise CorruptImage(
            f"{file.path} was changed as if it were text: {line_ends!r} where {_LINE_ENDS!r} belongs",
            hint=hint,
        )
    place = _descriptor_place(descriptor_offset, descriptor_size, file)
    if directory == _GD_AT_END:
        if footer:
            raise CorruptImage(f"the footer of {file.path} does not say where the grain directory is")
        return _at_end(_sizes(capacity, grain_size, entries, file), place, file)
    compressed = bool(flags & _FLAG_COMPRESSED)
    if compressed and algorithm != _DEFLATE:
        raise UnknownFormat(
            f"{file.path} is a VMDK compressed by method {algorithm}, which imgkit does not read"
        )
    if compressed and not flags & _FLAG_MARKERS:
        raise CorruptImage(f"{file.path} says its grains are compressed and have no markers")
    return SparseHeader(
        kind="KDMV",
        sizes=_sizes(capacity, grain_size, entries, file),
        directory=directory * SECTOR,
        redundant=redundant * SECTOR if flags & _FLAG_REDUNDANT and 0 < redundant < _GD_AT_END else None,
        descriptor=place,
        compressed=compressed,
        zero_grains=bool(flags & _FLAG_ZERO_GRAIN),
        unclean=unclean != 0,
        version=version,
        overhead=overhead * SECTOR,
        footer=footer,
    )


def _cowd(head: bytes, file: EvidenceFile) -> SparseHeader:
    _magic, version, _flags, sectors, grain_size, directory, tables, _free = _COWD.unpack_from(head)
    if version != 1:
        raise UnknownFormat(
            f"{file.path} is a VMDK extent (COWD) of version {version}, which imgkit does not read"
        )
    sizes = _sizes(sectors, grain_size, _COWD_ENTRIES, file)
    if tables < sizes.tables:
        raise CorruptImage(
            f"{file.path} has {tables} grain tables where {sectors} sectors need {sizes.tables}"
        )
    return SparseHeader(
        kind="COWD",
        sizes=sizes,
        directory=directory * SECTOR,
        redundant=None,
        descriptor=None,
        compressed=False,
        zero_grains=False,
        unclean=False,
        version=version,
    )


def _sizes(capacity: int, grain_size: int, entries: int, file: EvidenceFile) -> Sizes:
    """Capacity, size of a grain, entries of a table and number of tables: none so large that it could not be kept."""
    if grain_size & (grain_size - 1) or not 1 <= grain_size <= LARGEST_GRAIN // SECTOR:
        raise CorruptImage(f"{file.path} states grains of {grain_size} sectors")
    if not 1 <= entries <= _MOST_ENTRIES:
        raise CorruptImage(f"{file.path} states grain tables of {entries} entries")
    tables = -(-capacity // (grain_size * entries))
    if not 1 <= tables <= _MOST_TABLES:
        raise CorruptImage(f"{file.path} states a capacity of {capacity} sectors, in {tables} grain tables")
    return Sizes(capacity * SECTOR, grain_size * SECTOR, entries, tables)


def _descriptor_place(offset: int, size: int, file: EvidenceFile) -> tuple[int, int] | None:
    if offset == 0 or size == 0:
        return None
    if size * SECTOR > MOST_BYTES:
        raise CorruptImage(f"{file.path} states a descriptor of {size} sectors")
    end = (offset + size) * SECTOR
    if end > file.stat.st_size:
        raise MissingSegment(
            f"{file.path} is cut short: its descriptor ends at {end} and the file at {file.stat.st_size}",
            hint=_COPY_HINT,
        )
    return offset * SECTOR, size * SECTOR


def _check_directory(offset: int, what: str, header: SparseHeader, file: EvidenceFile) -> None:
    end = offset + 4 * header.sizes.tables
    if offset < SECTOR:
        raise CorruptImage(f"{file.path} has no {what}: it is said to be at byte {offset}")
    if end > file.stat.st_size:
        raise MissingSegment(
            f"{file.path} is cut short: its {what} ends at {end} and the file at {file.stat.st_size}",
            hint=_COPY_HINT,
        )


def _find_footer(file: EvidenceFile) -> bytes:
    """The last sector that is not zeros, with its marker before it and the end-of-stream marker (zeros) behind it."""
    size = file.stat.st_size
    start = max(0, (size - _TAIL) // SECTOR * SECTOR)
    tail = file.read_at(start, size - start)
    last = (len(tail.rstrip(b"\0")) - 1) // SECTOR * SECTOR
    footer, marker = tail[last : last + SECTOR], tail[max(0, last - SECTOR) : last]
    whole = last >= SECTOR and len(tail) >= last + 2 * SECTOR and footer.startswith(b"KDMV")
    if not whole or _MARKER.unpack_from(marker) != (1, 0, _FOOTER_MARKER):
        raise MissingSegment(
            f"{file.path} is cut short: a stream of {size} bytes without the footer and the end-of-stream marker",
            hint=_COPY_HINT,
        )
    return footer


def _at_end(sizes: Sizes, descriptor: tuple[int, int] | None, file: EvidenceFile) -> SparseHeader:
    """The header of a stream, completed by its footer; the two have to agree."""
    footer = _hosted(_find_footer(file), file, footer=True)
    if footer.sizes != sizes:
        raise CorruptImage(f"{file.path} states {sizes} in its header and {footer.sizes} in its footer")
    _check_directory(footer.directory, "grain directory", footer, file)
    marker = file.read_at(footer.directory - SECTOR, _MARKER.size)
    if len(marker) < _MARKER.size or _MARKER.unpack(marker)[1:] != (0, _DIRECTORY_MARKER):
        raise CorruptImage(
            f"{file.path} has no marker of a grain directory at byte {footer.directory - SECTOR}, where its footer says so"
        )
    return replace(footer, descriptor=descriptor)


def is_sparse(head: bytes) -> bool:
    """Whether a file that begins so is a sparse extent of any kind."""
    return head.startswith((b"KDMV", b"COWD", SESPARSE))
