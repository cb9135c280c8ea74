"""libblkid through ctypes: superblocks and partition tables at any offset of a file or device, without root.

The library is LGPL and loaded at run time; where it is absent every function says None and the caller goes on.
It is C on hostile input and runs in this process: what that rests on is in docs/findings.md ("The witnesses").
Whatever it returns is bounded and checked here before anybody computes with it.

API: https://mirrors.edge.kernel.org/pub/linux/utils/util-linux/v2.38/libblkid-docs/
"""

from __future__ import annotations

import ctypes
import functools
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from imgkit.errors import HostError
from imgkit.superblock_places import superblock_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# The names of libblkid.h, v2.38.
BLKID_SUBLKS_LABEL: Final = 1 << 1
BLKID_SUBLKS_UUID: Final = 1 << 3
BLKID_SUBLKS_TYPE: Final = 1 << 5
BLKID_SUBLKS_SECTYPE: Final = 1 << 6
BLKID_SUBLKS_USAGE: Final = 1 << 7
BLKID_SUBLKS_VERSION: Final = 1 << 8
_SUPERBLOCK_FLAGS: Final = (
    BLKID_SUBLKS_LABEL
    | BLKID_SUBLKS_UUID
    | BLKID_SUBLKS_TYPE
    | BLKID_SUBLKS_SECTYPE
    | BLKID_SUBLKS_USAGE
    | BLKID_SUBLKS_VERSION
)
_FOUND, _NOTHING, _AMBIVALENT = 0, 1, -2
_LIMIT_BYTES: Final = 1024  # of one value; the longest real one is a label of 512 bytes
_LIMIT_PARTITIONS: Final = 65536
_LIMIT_SECTORS: Final = (1 << 63) // 512
_BLOCK: Final = 512  # libblkid counts starts and sizes in 512-byte units whatever the sector size is

_POINTER, _STRING, _INT, _OFFSET = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int64
_PROTOTYPES: Final = {
    "blkid_get_library_version": (_INT, (ctypes.POINTER(_STRING), ctypes.POINTER(_STRING))),
    "blkid_new_probe": (_POINTER, ()),
    "blkid_free_probe": (None, (_POINTER,)),
    "blkid_probe_set_device": (_INT, (_POINTER, _INT, _OFFSET, _OFFSET)),
    "blkid_probe_set_sectorsize": (_INT, (_POINTER, ctypes.c_uint)),
    "blkid_probe_enable_superblocks": (_INT, (_POINTER, _INT)),
    "blkid_probe_set_superblocks_flags": (_INT, (_POINTER, _INT)),
    "blkid_probe_enable_partitions": (_INT, (_POINTER, _INT)),
    "blkid_do_safeprobe": (_INT, (_POINTER,)),
    "blkid_do_probe": (_INT, (_POINTER,)),
    "blkid_probe_lookup_value": (
        _INT,
        (_POINTER, _STRING, ctypes.POINTER(_POINTER), ctypes.POINTER(ctypes.c_size_t)),
    ),
    "blkid_probe_get_partitions": (_POINTER, (_POINTER,)),
    "blkid_partlist_numof_partitions": (_INT, (_POINTER,)),
    "blkid_partlist_get_partition": (_POINTER, (_POINTER, _INT)),
    "blkid_partlist_get_table": (_POINTER, (_POINTER,)),
    "blkid_parttable_get_type": (_STRING, (_POINTER,)),
    "blkid_parttable_get_id": (_STRING, (_POINTER,)),
    "blkid_partition_get_table": (_POINTER, (_POINTER,)),
    "blkid_partition_get_partno": (_INT, (_POINTER,)),
    "blkid_partition_get_start": (_OFFSET, (_POINTER,)),
    "blkid_partition_get_size": (_OFFSET, (_POINTER,)),
    "blkid_partition_get_type": (_INT, (_POINTER,)),
    "blkid_partition_get_type_string": (_STRING, (_POINTER,)),
    "blkid_partition_get_name": (_STRING, (_POINTER,)),
    "blkid_partition_get_uuid": (_STRING, (_POINTER,)),
    "blkid_partition_is_extended": (_INT, (_POINTER,)),
    "blkid_partition_is_logical": (_INT, (_POINTER,)),
}


@dataclass(frozen=True, slots=True)
class BlkidResult:
    """What libblkid says an extent holds.

    Attributes:
        type: libblkid's TYPE (`ext4`, `crypto_LUKS`).
        label: LABEL, unescaped, or None.
        uuid: UUID as libblkid writes it, or None.
        usage: `filesystem`, `raid`, `crypto` or `other`.
        others: Further results, where several superblocks were found and none rules the others out.
    """

    type: str
    label: str | None = None
    uuid: str | None = None
    usage: str = "filesystem"
    others: tuple[BlkidResult, ...] = ()


@dataclass(frozen=True, slots=True)
class BlkidPartition:
    """One row as libblkid reads it; offset and length in bytes from the probed offset.

    Attributes:
        number: What Linux would call it.
        offset: First byte.
        length: Bytes.
        type: `0x83`, or libblkid's type string (a GUID, `Apple_HFS`).
        name: Or an empty string.
        uuid: Or None.
        table: libblkid's word for the table that holds the row (`dos`, `bsd` for a nested one).
        extended: It is an extended partition.
    """

    number: int
    offset: int
    length: int
    type: str
    name: str
    uuid: str | None
    table: str
    extended: bool


@dataclass(frozen=True, slots=True)
class BlkidTable:
    """A partition table as libblkid reads it.

    Attributes:
        type: libblkid's word: `dos`, `gpt`, `mac`, `bsd`, `sun`, `sgi`, `atari` ...
        id: Disk signature or GUID as libblkid writes it, or None.
        partitions: Rows in libblkid's order, nested ones last.
        rejected: Rows that libblkid returned with numbers that cannot be meant (negative, past 2^63).
    """

    type: str
    id: str | None
    partitions: tuple[BlkidPartition, ...]
    rejected: int = 0


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Libblkid with its prototypes, or None where it is absent or too old to have them all."""
    try:
        library = ctypes.CDLL("libblkid.so.1", use_errno=True)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library


def library_version() -> str | None:
    """The version of libblkid that is loaded (`2.38.1`), or None where there is none."""
    library = _library()
    if library is None:
        return None
    version, date = ctypes.c_char_p(), ctypes.c_char_p()
    library.blkid_get_library_version(ctypes.byref(version), ctypes.byref(date))
    return _text(version.value) or "unknown"


def probe_superblock(fd: int, offset: int, length: int) -> BlkidResult | None:
    """Name the file system, RAID member or encrypted volume at [offset, offset + length) of an open file.

    Args:
        fd: Open for reading; stays open and is only read.
        offset: First byte.
        length: Bytes; must end inside the file.

    Returns:
        None where libblkid knows nothing there, or is absent (library_version() tells the two apart).

    Raises:
        HostError: libblkid could not take the descriptor.
    """
    library = _library()
    if library is None or length <= 0:
        return None
    with _probe(library, fd, offset, length) as probe:
        library.blkid_probe_enable_superblocks(probe, 1)
        library.blkid_probe_set_superblocks_flags(probe, _SUPERBLOCK_FLAGS)
        answer = library.blkid_do_safeprobe(probe)
        if answer == _FOUND:
            return _result(library, probe)
        if answer != _AMBIVALENT:
            return None
    return _ambivalent(library, fd, offset, length)


def probe_superblock_through(read: Callable[[int, int], bytes], length: int) -> BlkidResult | None:
    """Probe bytes that no descriptor holds: a sparse copy of where superblocks lie.

    Args:
        read: read(offset, length) -> bytes, from the start of what is to be identified.
        length: Bytes of it.

    Returns:
        As probe_superblock; a label that lies far into a FAT or exFAT root directory may be missing.
    """
    if _library() is None or length <= 0:
        return None

    def within(offset: int, count: int) -> bytes:
        return read(offset, min(count, length - offset)) if 0 <= offset < length else b""

    pieces = ((offset, within(offset, count)) for offset, count in superblock_places(within, length))
    with sparse_copy(length, pieces) as fd:
        return probe_superblock(fd, 0, length)


@contextmanager
def sparse_copy(size: int, pieces: Iterable[tuple[int, bytes]]) -> Iterator[int]:
    """A file in memory of `size` bytes that holds these pieces and costs nothing between them, closed at the end.

    Args:
        size: Bytes; any size, 20 TiB too.
        pieces: (offset, bytes); what lies outside the size is left out.
    """
    fd = os.memfd_create("imgkit-sparse", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        for offset, data in pieces:
            if 0 <= offset < size:
                os.pwrite(fd, data[: size - offset], offset)
        yield fd
    finally:
        os.close(fd)


def _ambivalent(library: ctypes.CDLL, fd: int, offset: int, length: int) -> BlkidResult | None:
    """Several superblocks: the first as the answer, all others by name."""
    results: list[BlkidResult] = []
    with _probe(library, fd, offset, length) as probe:
        library.blkid_probe_enable_superblocks(probe, 1)
        library.blkid_probe_set_superblocks_flags(probe, _SUPERBLOCK_FLAGS)
        while len(results) < 16 and library.blkid_do_probe(probe) == _FOUND:  # noqa: PLR2004 - a bound, not a fact
            found = _result(library, probe)
            if found is not None:
                results.append(found)
    if not results:
        return None
    return replace(results[0], others=tuple(results[1:]))


def _result(library: ctypes.CDLL, probe: int) -> BlkidResult | None:
    """The values of a probe that found something; None where it was no superblock."""
    kind = _value(library, probe, b"TYPE")
    if not kind:
        return None
    label, uuid = _value(library, probe, b"LABEL"), _value(library, probe, b"UUID")
    return BlkidResult(kind, label, uuid, _value(library, probe, b"USAGE") or "other")


def probe_partitions(
    fd: int, offset: int, length: int, *, sector_size: int | None = None
) -> BlkidTable | None:
    """Read the partition table at `offset`, nested ones included.

    Args:
        fd: Open for reading; stays open and is only read.
        offset: First byte of the media in the file.
        length: Bytes of the media.
        sector_size: Bytes of one LBA, or None for libblkid's own choice (512 for files).

    Returns:
        None where libblkid sees no table, or is absent.

    Raises:
        HostError: libblkid could not take the descriptor.
    """
    library = _library()
    if library is None or length <= 0:
        return None
    with _probe(library, fd, offset, length) as probe:
        if sector_size is not None:
            library.blkid_probe_set_sectorsize(probe, sector_size)
        library.blkid_probe_enable_partitions(probe, 1)
        rows = library.blkid_probe_get_partitions(probe)
        table = library.blkid_partlist_get_table(rows) if rows else None
        if not table:
            return None
        return _table(library, rows, table, offset)


def _table(library: ctypes.CDLL, rows: int, table: int, origin: int) -> BlkidTable:
    """Copy everything out of the library's memory, which dies with the probe."""
    count = min(max(library.blkid_partlist_numof_partitions(rows), 0), _LIMIT_PARTITIONS)
    partitions = [
        _partition(library, row, origin)
        for index in range(count)
        if (row := library.blkid_partlist_get_partition(rows, index))
    ]
    sound = tuple(partition for partition in partitions if partition is not None)
    kind = _text(library.blkid_parttable_get_type(table))
    identity = _text(library.blkid_parttable_get_id(table)) or None
    return BlkidTable(kind, identity, sound, len(partitions) - len(sound))


def _partition(library: ctypes.CDLL, row: int, origin: int) -> BlkidPartition | None:
    """One row in bytes, or None where its numbers cannot be meant."""
    start, size = library.blkid_partition_get_start(row), library.blkid_partition_get_size(row)
    if start < 0 or size < 0 or start + size > _LIMIT_SECTORS or start * _BLOCK < origin:
        return None
    table = library.blkid_partition_get_table(row)
    kind = _text(library.blkid_partition_get_type_string(row))
    return BlkidPartition(
        number=library.blkid_partition_get_partno(row),
        offset=start * _BLOCK - origin,
        length=size * _BLOCK,
        type=kind or f"0x{library.blkid_partition_get_type(row) & 0xFF:02x}",
        name=_text(library.blkid_partition_get_name(row)),
        uuid=_text(library.blkid_partition_get_uuid(row)) or None,
        table=_text(library.blkid_parttable_get_type(table)) if table else "",
        extended=library.blkid_partition_is_extended(row) == 1,
    )


@contextmanager
def _probe(library: ctypes.CDLL, fd: int, offset: int, length: int) -> Iterator[int]:
    """A probe over [offset, offset + length) of the descriptor, freed at the end."""
    probe = library.blkid_new_probe()
    if not probe:
        raise HostError("cannot make a libblkid probe: out of memory")
    try:
        if library.blkid_probe_set_device(probe, fd, offset, length) != 0:
            raise HostError(f"cannot hand descriptor {fd} to libblkid at {offset}: it refused")
        yield probe
    finally:
        library.blkid_free_probe(probe)


def _value(library: ctypes.CDLL, probe: int, name: bytes) -> str | None:
    """One value of a probe, or None where it has none of that name."""
    data, length = ctypes.c_void_p(), ctypes.c_size_t()
    answer = library.blkid_probe_lookup_value(probe, name, ctypes.byref(data), ctypes.byref(length))
    if answer != 0 or not data.value:
        return None
    return _text(ctypes.string_at(data.value, min(length.value, _LIMIT_BYTES)))


def _text(raw: bytes | None) -> str:
    """Bytes of the library as text up to the first NUL, bounded."""
    return (raw or b"")[:_LIMIT_BYTES].split(b"\0", 1)[0].decode("utf-8", "replace")
