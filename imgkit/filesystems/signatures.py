"""What a partition holds: identify(image, extent) by libblkid, and a table of magic numbers where libblkid says nothing.

Type names are libblkid's throughout. The table is small on purpose: it names what an examiner meets, so that imgkit
works without libblkid and knows the types that an old libblkid does not; it decides nothing that libblkid decides.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgkit import blkid
from imgkit.image import read_what_can_be

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.image import Extent, Image


@dataclass(frozen=True, slots=True)
class Filesystem:
    """What an extent holds.

    Attributes:
        type: libblkid's word: `ext4`, `vfat`, `crypto_LUKS`, `LVM2_member` ...
        label: Unescaped, or None.
        uuid: As libblkid writes it for the type, or None.
        usage: `filesystem`, `raid`, `crypto` or `other`: only the first can be mounted.
        also: Further types whose superblocks are there, too, and that the first does not rule out.
    """

    type: str
    label: str | None = None
    uuid: str | None = None
    usage: str = "filesystem"
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """One row: a magic number and where it stands.

    Attributes:
        type: libblkid's word.
        magic: The bytes.
        offset: From the start of the volume.
        usage: As in Filesystem.
        label: (offset, length, encoding) of the label, or None.
        uuid: Offset of a 16-byte UUID, or None.
        check: What else must hold of the volume's first bytes, where the magic is short.
        newer: libblkid learned it late: asked even where a libblkid is there and says nothing.
        place: Bytes of the volume -> offset, for what stands at its end; `offset` does not count then.
    """

    type: str
    magic: bytes
    offset: int
    usage: str = "filesystem"
    label: tuple[int, int, str] | None = None
    uuid: int | None = None
    check: Callable[[bytes], bool] | None = None
    newer: bool = False
    place: Callable[[int], int] | None = None


def _word(start: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(start[at : at + size], "little")


def _is_ext(start: bytes) -> bool:
    """Block size, state of the counters, and a first data block that fits: 53 EF alone is two bytes."""
    return (
        _word(start, 1048) <= 6
        and _word(start, 1028) > 0
        and _word(start, 1044) <= 1
        and _word(start, 1064) > 0
    )


def _journal(start: bytes) -> bool:
    return bool(_word(start, 1116) & 0x4)


def _ext4_features(start: bytes) -> bool:
    """Any incompatible feature beyond ext3's (filetype, recover, meta_bg), or a read-only one beyond its three."""
    return bool(_word(start, 1120) & ~0x16 or _word(start, 1124) & ~0x7)


def _is_ext4(start: bytes) -> bool:
    return _is_ext(start) and _ext4_features(start) and not _word(start, 1120) & 0x8


def _is_ext3(start: bytes) -> bool:
    return _is_ext(start) and _journal(start) and not _ext4_features(start)


def _is_ext2(start: bytes) -> bool:
    return _is_ext(start) and not _journal(start) and not _ext4_features(start)


def _is_boot_sector(start: bytes) -> bool:
    return (
        start[510:512] == b"\x55\xaa" and start[:1] in {b"\xeb", b"\xe9"} and _word(start, 11, 2) % 512 == 0
    )


def _is_minix(start: bytes) -> bool:
    return _word(start, 1024, 2) > 0 and 0 < _word(start, 1028, 2) < 1024 and _word(start, 1034, 2) <= 3


def _is_apfs(start: bytes) -> bool:
    return _word(start, 36) in {4096, 8192, 16384, 32768, 65536}


def _is_bcachefs(start: bytes) -> bool:
    """It shares its magic with bcache, whose versions end below 9."""
    return _word(start, 4112, 2) >= 9


_EXT_LABEL: Final = (1144, 16, "utf-8")
_FAT16_LABEL: Final = (43, 11, "cp850")
_ISO_LABEL: Final = (32808, 32, "utf-8")
_BITLOCKER_GUID: Final = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_MD: Final = b"\xfc\x4e\x2b\xa9"
_BCACHEFS: Final = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS_2: Final = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")
_UFS2_AT: Final = 65536 + 1372

# In probe order: what wraps a volume comes before what it may have left of an older one.
SIGNATURES: Final[tuple[Signature, ...]] = (
    Signature("crypto_LUKS", b"LUKS\xba\xbe", 0, "crypto"),
    Signature("BitLocker", b"-FVE-FS-", 3, "crypto", newer=True),
    Signature("BitLocker", _BITLOCKER_GUID, 424, "crypto", newer=True),
    *(Signature("LVM2_member", b"LVM2 001", at + 24, "raid") for at in (512, 0, 1024, 1536)),
    Signature("linux_raid_member", _MD[::-1], 4096, "raid", (4128, 32, "utf-8"), 4112),
    Signature("linux_raid_member", _MD[::-1], 0, "raid", place=lambda size: (size // 512 - 16 & ~7) * 512),
    Signature("linux_raid_member", _MD[::-1], 0, "raid", place=lambda size: (size & ~0xFFFF) - 0x10000),
    Signature("linux_raid_member", _MD[::-1], 0, "raid", (32, 32, "utf-8"), 16),
    Signature("stratis", b"!Stra0tis\x86\xff\x02^\x41rh", 4, "raid"),
    Signature("DM_verity_hash", b"verity\0\0", 0, "crypto"),
    Signature("bcachefs", _BCACHEFS, 4120, uuid=4152, check=_is_bcachefs, newer=True),
    Signature("bcachefs", _BCACHEFS_2, 4120, uuid=4152, newer=True),
    Signature("bcache", _BCACHEFS, 4120, "other"),
    Signature("apfs", b"NXSB", 32, uuid=72, check=_is_apfs, newer=True),
    Signature("ntfs", b"NTFS    ", 3, check=_is_boot_sector),
    Signature("exfat", b"EXFAT   ", 3, check=lambda start: not any(start[11:64])),
    Signature("ReFS", b"ReFS\0\0\0\0", 3, newer=True),
    Signature("vfat", b"FAT32   ", 82, label=(71, 11, "cp850"), check=_is_boot_sector),
    Signature("vfat", b"FAT16   ", 54, label=_FAT16_LABEL, check=_is_boot_sector),
    Signature("vfat", b"FAT12   ", 54, label=_FAT16_LABEL, check=_is_boot_sector),
    Signature("squashfs", b"hsqs", 0, check=lambda start: _word(start, 28, 2) == 4),
    Signature("xfs", b"XFSB", 0, label=(108, 12, "utf-8"), uuid=32),
    Signature("cramfs", b"Compressed ROMFS", 16),
    Signature("romfs", b"-rom1fs-", 0),
    Signature("ext4", b"\x53\xef", 1080, label=_EXT_LABEL, uuid=1128, check=_is_ext4),
    Signature("ext3", b"\x53\xef", 1080, label=_EXT_LABEL, uuid=1128, check=_is_ext3),
    Signature("ext2", b"\x53\xef", 1080, label=_EXT_LABEL, uuid=1128, check=_is_ext2),
    Signature("f2fs", b"\x10\x20\xf5\xf2", 1024, label=(1148, 1024, "utf-16-le"), uuid=1132),
    Signature("erofs", b"\xe2\xe1\xf5\xe0", 1024, label=(1088, 16, "utf-8"), uuid=1072),
    Signature("hfsplus", b"H+\x00\x04", 1024),
    Signature("hfsplus", b"HX\x00\x05", 1024),
    Signature("hfs", b"BD", 1024, check=lambda start: _word(start, 1044) != 0),
    Signature("nilfs2", b"\x34\x34", 1030, label=(1192, 80, "utf-8"), uuid=1176, check=lambda start: _word(start, 1024) == 2),
    Signature("minix", b"\x7f\x13", 1040, check=_is_minix),
    Signature("minix", b"\x8f\x13", 1040, check=_is_minix),
    *(Signature("swap", b"SWAPSPACE2", page - 10, "other", (1052, 16, "utf-8"), 1036) for page in (4096, 8192, 16384, 65536)),
    *(Signature("swsuspend", b"S1SUSPEND", page - 10, "other") for page in (4096, 8192, 16384, 65536)),
    Signature("ufs", b"\x54\x19\x01\x00", 8192 + 1372),
    Signature("ufs", b"\x19\x01\x54\x19", _UFS2_AT),
    Signature("jfs", b"JFS1", 32768, label=(32920, 16, "utf-8"), uuid=32768 + 136),
    Signature("udf", b"BEA01", 32769),
    Signature("udf", b"BEA01", 32769 + 2048),
    Signature("iso9660", b"CD001", 32769, label=_ISO_LABEL),
    Signature("reiserfs", b"ReIsEr2Fs", 65588),
    Signature("reiserfs", b"ReIsEr3Fs", 65588),
    Signature("reiserfs", b"ReIsErFs", 65588),
    Signature("btrfs", b"_BHRfS_M", 65600, label=(65536 + 299, 256, "utf-8"), uuid=65568),
    Signature("gfs2", b"\x01\x16\x19\x70\0\0\0\x01", 65536),
    Signature("VMFS_volume_member", b"\x0d\xd0\x01\xc0", 1 << 20, "raid"),
)  # fmt: skip
_NEEDED: Final = max(row.offset + 2048 for row in SIGNATURES if row.type != "VMFS_volume_member")


def identify(image: Image, extent: Extent) -> Filesystem | None:
    """Name the file system, RAID member or encrypted volume that an extent holds.

    Args:
        image: The media.
        extent: As the table states it; what lies past the media's end is left out.

    Returns:
        None where nothing is recognised. What cannot be read counts as not there, as it does for the kernel: a damaged
        place elsewhere in the first MiBs keeps no file system from being named.
    """
    within = extent.clipped_to(image.size)
    if not within.length:
        return None

    def read(offset: int, length: int) -> bytes:
        if not 0 <= offset < within.length:
            return b""
        return read_what_can_be(image, within.offset + offset, min(length, within.length - offset))

    fd = image.backing_fileno()
    if fd is not None:
        found = blkid.probe_superblock(fd, within.offset, within.length)
    else:
        found = blkid.probe_superblock_through(read, within.length)
    if found is not None:
        return _of_several(found, read, within.length)
    return match(read, within.length, newer_only=blkid.library_version() is not None)


def _of_several(found: blkid.BlkidResult, read: Callable[[int, int], bytes], length: int) -> Filesystem:
    """Where several superblocks contradict each other, our probe order decides which one is named first."""
    results = (found, *found.others)
    first = found
    if found.others:
        ours = match(read, length)
        first = next((result for result in results if ours and result.type == ours.type), found)
    also = tuple(sorted({result.type for result in results} - {first.type}))
    return Filesystem(first.type, first.label, first.uuid, first.usage, also)


def match(read: Callable[[int, int], bytes], length: int, *, newer_only: bool = False) -> Filesystem | None:
    """The first row of SIGNATURES that fits.

    Args:
        read: read(offset, length) -> bytes of the volume, fewer past its end.
        length: Bytes of the volume.
        newer_only: Ask only the rows that an old libblkid does not know.
    """
    start = read(0, _NEEDED)
    for row in SIGNATURES:
        if newer_only and not row.newer:
            continue
        offset = row.offset if row.place is None else row.place(length)
        far = offset < 0 or offset + len(row.magic) > _NEEDED
        here = read(offset, len(row.magic)) if far else start[offset : offset + len(row.magic)]
        if here == row.magic and (row.check is None or row.check(start)):
            return Filesystem(row.type, _label(row, start), _uuid(row, start), row.usage)
    return None


def _label(row: Signature, start: bytes) -> str | None:
    """The label up to its first NUL, without the padding of formats that pad."""
    if row.label is None:
        return None
    at, length, encoding = row.label
    text = start[at : at + length].decode(encoding, "replace").split("\0", 1)[0].rstrip(" ")
    return None if not text or text == "NO NAME" else text


def _uuid(row: Signature, start: bytes) -> str | None:
    raw = start[row.uuid : row.uuid + 16] if row.uuid is not None else b""
    return str(uuid.UUID(bytes=raw)) if len(raw) == 16 and any(raw) else None
