"""The header of a qcow2 file and its extensions, with the specification's field names.

Specification: https://www.qemu.org/docs/master/interop/qcow2.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imgkit.containers.evidence_file import fill
from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile

_V2_FIELDS = struct.Struct(">4xIQIIQIIQQIIQ")
_V3_FIELDS = struct.Struct(">QQQII")
_V2_LENGTH, _V3_LENGTH = 72, 104
_COMPRESSION_TYPE_AT = 104

# incompatible_features
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN_FEATURES = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2
LAZY_REFCOUNTS = 1  # of compatible_features
BITMAPS_CONSISTENT, RAW_EXTERNAL_DATA = 1, 2  # of autoclear_features

ZLIB, ZSTD = 0, 1
COMPRESSION_TYPES = {ZLIB: "zlib", ZSTD: "zstd"}

# Header extensions
_END, _BACKING_FORMAT, _FEATURE_NAMES, _BITMAPS = 0, 0xE2792ACA, 0x6803F857, 0x23852875
_MOST_EXTENSIONS = 256
_MOST_BACKING_NAME = 1023
_SMALLEST_CLUSTER, _SMALLEST_WITH_EXTENDED_L2, _LARGEST_CLUSTER = 9, 14, 21  # cluster_bits
_LARGEST_L1 = 32 << 20  # bytes; QEMU's limit too
_LARGEST_REFCOUNT_TABLE = 8 << 20  # the same
_MOST_SNAPSHOTS = 65536  # the same

_REPAIR = "repair a copy, never the evidence (qemu-img check -r all COPY), and say in the report that it was repaired"


@dataclass(frozen=True, slots=True)
class Header:
    """The specification's fields, and what the header extensions say.

    Attributes:
        backing_file: As the file states it, or None.
        backing_format: Of the header extension, or None.
        nb_bitmaps: Of the bitmaps extension; 0 without one.
    """

    version: int
    backing_file_offset: int
    backing_file_size: int
    cluster_bits: int
    size: int
    crypt_method: int
    l1_size: int
    l1_table_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    nb_snapshots: int
    snapshots_offset: int
    incompatible_features: int = 0
    compatible_features: int = 0
    autoclear_features: int = 0
    refcount_order: int = 4
    header_length: int = _V2_LENGTH
    compression_type: int = ZLIB
    backing_file: bytes | None = None
    backing_format: bytes | None = None
    nb_bitmaps: int = 0

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def extended_l2(self) -> bool:
        """Whether an L2 entry has a bitmap of subclusters."""
        return bool(self.incompatible_features & EXTENDED_L2)

    @property
    def l2_entry_size(self) -> int:
        """Bytes of an L2 entry."""
        return 16 if self.extended_l2 else 8

    @property
    def l2_span(self) -> int:
        """Bytes of the media that one L2 table describes."""
        return self.cluster_size // self.l2_entry_size * self.cluster_size

    @property
    def l1_needed(self) -> int:
        """Entries of the L1 table that describe the media; any after them are of a VM state."""
        return -(-self.size // self.l2_span)


def read_header(file: EvidenceFile) -> Header:
    """Read and check the header and its extensions.

    Raises:
        UnknownFormat: A variant that is not read (encrypted, an external data file, features of later versions).
        CorruptImage: It contradicts itself or the size of the file, or is marked as dirty or corrupt.
    """
    file_size = file.stat.st_size
    head = read_exactly(file, 0, min(file_size, _COMPRESSION_TYPE_AT + 8))
    header = _fields(file.path, head)
    _check_geometry(file.path, header)
    head = read_exactly(file, 0, min(file_size, header.cluster_size))
    extensions = _extensions(file.path, head, header)
    _check_features(file.path, header, extensions.get(_FEATURE_NAMES, b""))
    header = _with_extensions(file.path, head, header, extensions)
    _check_tables(file.path, header, file_size)
    return header


def read_exactly(file: EvidenceFile, offset: int, length: int) -> bytes:
    """Read bytes of the file that are none of the media.

    Raises:
        MediaReadError: The kernel failed, or the file has become shorter.
    """
    buffer = bytearray(length)
    fill(file.fd, offset, memoryview(buffer), path=file.path, media_offset=0)
    return bytes(buffer)


def damaged(path: str, what: str) -> CorruptImage:
    """An error for a structure that contradicts itself."""
    hint = "copy it again from its source, or ask qemu-img check about a copy"
    return CorruptImage(f"{path} is a damaged qcow2: {what}", hint=hint)


def _fields(path: str, head: bytes) -> Header:
    """The fixed fields, and compression_type where header_length says that it is there."""
    if len(head) < _V2_LENGTH:
        raise damaged(path, f"its header ends after {len(head)} bytes")
    header = Header(*_V2_FIELDS.unpack_from(head))
    if header.version < 3:
        return header
    if len(head) < _V3_LENGTH:
        raise damaged(path, f"its header ends after {len(head)} bytes")
    incompatible, compatible, autoclear, order, length = _V3_FIELDS.unpack_from(head, _V2_LENGTH)
    present = length > _COMPRESSION_TYPE_AT and len(head) > _COMPRESSION_TYPE_AT
    return replace(
        header,
        incompatible_features=incompatible,
        compatible_features=compatible,
        autoclear_features=autoclear,
        refcount_order=order,
        header_length=length,
        compression_type=head[_COMPRESSION_TYPE_AT] if present else ZLIB,
    )


def _check_geometry(path: str, header: Header) -> None:
    """What everything else is computed from."""
    if not _SMALLEST_CLUSTER <= header.cluster_bits <= _LARGEST_CLUSTER:
        raise damaged(path, f"cluster_bits is {header.cluster_bits}, not 9 to 21")
    if header.extended_l2 and header.cluster_bits < _SMALLEST_WITH_EXTENDED_L2:
        raise damaged(path, f"cluster_bits is {header.cluster_bits}, below 14 with extended L2 entries")
    if header.version >= 3 and (header.header_length < _V3_LENGTH or header.header_length % 8):
        raise damaged(path, f"header_length is {header.header_length}")
    if header.header_length > header.cluster_size:
        raise damaged(path, f"header_length is {header.header_length}, more than a cluster")
    if header.refcount_order > 6:
        raise damaged(path, f"refcount_order is {header.refcount_order}, more than 6")
    if header.size >= 1 << 63:
        raise damaged(path, f"its media would have {header.size} bytes")


def _check_features(path: str, header: Header, names: bytes) -> None:
    if header.crypt_method:
        kind = {1: "AES", 2: "LUKS"}.get(header.crypt_method, f"method {header.crypt_method}")
        raise UnknownFormat(
            f"{path} is an encrypted qcow2 ({kind}), which imgkit does not read",
            hint="qemu-img convert decrypts it into a raw file with its key",
        )
    features = header.incompatible_features
    if features & DATA_FILE:
        raise UnknownFormat(
            f"{path} is a qcow2 whose clusters lie in an external data file, which imgkit does not read",
            hint="qemu-img convert -O raw makes one file of both",
        )
    if features & ~_KNOWN_FEATURES:
        wanted = ", ".join(_feature_name(names, bit) for bit in range(5, 64) if features >> bit & 1)
        raise UnknownFormat(
            f"{path} is a qcow2 with features that imgkit does not know: {wanted}",
            hint="a newer qemu-img convert -O raw may read it",
        )
    if features & CORRUPT:
        raise CorruptImage(f"{path} is a qcow2 that is marked as corrupt by whoever wrote it", hint=_REPAIR)
    if features & DIRTY:
        raise CorruptImage(
            f"{path} is a qcow2 that is marked as dirty: it was not closed after it was written", hint=_REPAIR
        )
    if header.autoclear_features & RAW_EXTERNAL_DATA:
        raise damaged(path, "it has the flag of a raw external data file, and no such file")
    _check_compression(path, header)


def _check_compression(path: str, header: Header) -> None:
    if bool(header.incompatible_features & COMPRESSION) != (header.compression_type != ZLIB):
        raise damaged(path, f"compression_type {header.compression_type} contradicts its feature bit")
    if header.compression_type not in COMPRESSION_TYPES:
        raise UnknownFormat(
            f"{path} is a qcow2 with clusters of compression type {header.compression_type}, "
            "which imgkit does not read",
            hint="a newer qemu-img convert -O raw may read it",
        )


def _feature_name(table: bytes, bit: int) -> str:
    """What the feature name table calls an incompatible feature; entries of 48 bytes: type, bit, name."""
    for at in range(0, len(table) - 47, 48):
        if table[at] == 0 and table[at + 1] == bit:
            name = table[at + 2 : at + 48].rstrip(b"\0").decode("ascii", "backslashreplace")
            return f"bit {bit} ({name})"
    return f"bit {bit}"


def _extensions(path: str, head: bytes, header: Header) -> dict[int, bytes]:
    """Type -> data, of each header extension; they end at the backing file's name or with the first cluster."""
    named = header.header_length <= header.backing_file_offset < len(head)
    end = header.backing_file_offset if named else len(head)
    found: dict[int, bytes] = {}
    at = header.header_length
    for _ in range(_MOST_EXTENSIONS):
        if at + 8 > end:
            return found
        kind, length = struct.unpack_from(">II", head, at)
        if at + 8 + length > end:
            raise damaged(path, f"a header extension at {at} is {length} bytes long")
        if kind == _END:
            return found
        if kind in found and kind in {_BACKING_FORMAT, _BITMAPS}:
            raise damaged(path, f"its header extension {kind:08x} is there twice")
        found[kind] = head[at + 8 : at + 8 + length]
        at += 8 + -(-length // 8) * 8
    raise damaged(path, f"it has more than {_MOST_EXTENSIONS} header extensions")


def _with_extensions(path: str, head: bytes, header: Header, extensions: dict[int, bytes]) -> Header:
    bitmaps = extensions.get(_BITMAPS, b"")
    return replace(
        header,
        backing_file=_backing_file(path, head, header),
        backing_format=extensions.get(_BACKING_FORMAT),
        nb_bitmaps=int.from_bytes(bitmaps[:4], "big"),
    )


def _backing_file(path: str, head: bytes, header: Header) -> bytes | None:
    start, length = header.backing_file_offset, header.backing_file_size
    if start == 0:
        return None
    if not 1 <= length <= _MOST_BACKING_NAME or start < header.header_length or start + length > len(head):
        raise damaged(path, f"the name of its backing file has {length} bytes at {start}")
    name = head[start : start + length]
    if b"\0" in name:
        raise damaged(path, "the name of its backing file has a zero byte in it")
    return name


def _check_tables(path: str, header: Header, file_size: int) -> None:
    """Where the tables lie: aligned, inside the file, of a size that can be meant."""
    if header.l1_size < header.l1_needed:
        what = f"its L1 table has {header.l1_size} entries where {header.size} bytes need {header.l1_needed}"
        raise damaged(path, what)
    if header.l1_size * 8 > _LARGEST_L1:
        raise damaged(path, f"its L1 table has {header.l1_size} entries, more than {_LARGEST_L1 // 8}")
    refcount_table = header.refcount_table_clusters << header.cluster_bits
    if not 0 < refcount_table <= _LARGEST_REFCOUNT_TABLE:
        raise damaged(path, f"its refcount table has {header.refcount_table_clusters} clusters")
    if header.nb_snapshots > _MOST_SNAPSHOTS:
        raise damaged(path, f"it has {header.nb_snapshots} snapshots, more than {_MOST_SNAPSHOTS}")
    tables = [
        ("L1 table", header.l1_table_offset, header.l1_size * 8),
        ("refcount table", header.refcount_table_offset, 8),  # its last cluster need not be padded
        ("snapshot table", header.snapshots_offset, header.nb_snapshots * 40),
    ]
    for name, offset, length in tables:
        if length and (offset % header.cluster_size or offset < header.cluster_size):
            raise damaged(path, f"its {name} is said to start at {offset}, where none can start")
        if length and offset + length > file_size:
            raise damaged(path, f"its {name} ends at {offset + length}, the file at {file_size}")
