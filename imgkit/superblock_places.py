"""Where libblkid looks for superblocks and labels, for media that no descriptor holds: a copy of these places is enough.

Numbers are those of libblkid 2.38 (libblkid/src/superblocks/), found by tracing what it reads of each kind of volume.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]  # read(offset, length) -> bytes of the volume, fewer past its end

_MIB = 1 << 20
_BOOT_SECTOR = 512
# VMFS is looked for at 2 MiB and 4 MiB, btrfs's second copy lies at 64 MiB.
_FAR = (2 * _MIB, 4 * _MIB, 64 * _MIB)
_PROMISE = 3087 * 512  # from the end; the other places of this and of every other RAID lie in the last MiB
_DDF_ANCHORS = (512, 257 * 512)  # from the end
_HFS_HEADER = 1024
_HFS_EXTENTS = 8  # of a file in the volume header


def superblock_places(read: Read, length: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of every place that libblkid may read of a volume of `length` bytes; some may lie outside."""
    yield 0, min(length, 2 * _MIB)  # UDF with 4096-byte blocks has its anchor at 1 MiB
    yield max(0, length - _MIB), min(length, _MIB)
    yield from ((offset, 4096) for offset in _FAR)
    yield length - _PROMISE, 512
    for back in _DDF_ANCHORS:
        yield from _ddf(read(length - back, 512) if length >= back else b"")
    boot = read(0, _BOOT_SECTOR)
    if len(boot) == _BOOT_SECTOR:
        yield from _by_boot_sector(boot)
    yield from _hfs_plus(read)


def _ddf(anchor: bytes) -> Iterator[tuple[int, int]]:
    """The header that the anchor of a DDF RAID member names has to be one, too."""
    if anchor[:4] == b"\xde\x11\xde\x11":
        yield int.from_bytes(anchor[96:104], "big") * 512, 512


def _by_boot_sector(boot: bytes) -> Iterator[tuple[int, int]]:
    """What boot sectors point to: NTFS's MFT, root directories."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(boot[at : at + size], "little")

    sector, cluster = number(11, 2), number(11, 2) * boot[13]
    if boot[3:11] == b"NTFS    ":
        if boot[13] > 128:  # noqa: PLR2004 - sectors of a cluster, beyond it the negative exponent of 2
            cluster = sector << min(256 - boot[13], 31)
        yield number(48, 8) * cluster, 16384  # $MFT: libblkid wants its first records
    elif boot[3:11] == b"EXFAT   ":
        shift = min(boot[108], 12)
        heap, root = number(88, 4), number(96, 4)
        yield (heap << shift) + ((root - 2) << (shift + min(boot[109], 16))), 65536
    elif number(44, 4) >= 2:  # noqa: PLR2004 - FAT32: the first cluster is 2
        tables_end = number(14, 2) + boot[16] * number(36, 4)
        yield tables_end * sector + (number(44, 4) - 2) * cluster, 65536


def _hfs_plus(read: Read) -> Iterator[tuple[int, int]]:
    """HFS Plus keeps its label as the first name in the catalogue: its header node, and its first leaf.

    https://developer.apple.com/library/archive/technotes/tn/tn1150.html
    """
    start, header = 0, read(_HFS_HEADER, 512)
    if header[:2] == b"BD" and header[124:126] in {b"H+", b"HX"}:  # wrapped in an HFS volume
        block_size, first_block = struct.unpack_from(">I4xH", header, 20)
        start = first_block * 512 + int.from_bytes(header[126:128], "big") * block_size
        yield start + _HFS_HEADER, 512
        header = read(start + _HFS_HEADER, 512)
    if header[:2] not in {b"H+", b"HX"} or len(header) < _BOOT_SECTOR:
        return
    block_size = int.from_bytes(header[40:44], "big")
    extents = [struct.unpack_from(">II", header, 288 + 8 * index) for index in range(_HFS_EXTENTS)]
    node = start + extents[0][0] * block_size
    yield node, 8192
    tree = read(node, 512)
    if not block_size or len(tree) < _BOOT_SECTOR:
        return
    (first_leaf,), (node_size,) = struct.unpack_from(">I", tree, 24), struct.unpack_from(">H", tree, 32)
    block = first_leaf * node_size // block_size
    for first, count in extents:
        if block < count:
            yield start + (first + block) * block_size, node_size
            return
        block -= count
