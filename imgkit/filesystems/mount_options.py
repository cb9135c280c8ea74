"""What each file system needs to be seen without being replayed or repaired: a row a type.

Measured on Linux 6.1, 6.12 and 6.18 (docs/kernels.md): on a read-only loop device nothing ever changed, whatever the
options. The options decide whether the kernel shows anything at all, and how old what it shows is.

The order is always: plain `ro` first. Where the driver wants to replay a journal it refuses with EROFS, and that is how
dirtiness is found. Then the row's fallbacks, in order; each says what the examiner sees because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

View = Literal["current", "before-journal", "salvaged", "unknown"]
Journal = Literal["clean", "dirty", "none", "unknown"]


@dataclass(frozen=True, slots=True)
class Fallback:
    """Options to try where plain `ro` was refused.

    Attributes:
        options: As mount(8) takes them.
        in_force: Words that the kernel must show among the superblock's options afterwards; several spellings of
            one option are joined with `|` (ext4 shows `noload` as `norecovery`).
        view: What is seen then.
        notice: The same, for the examiner.
    """

    options: tuple[str, ...]
    in_force: tuple[str, ...]
    view: View
    notice: str


@dataclass(frozen=True, slots=True)
class MountRow:
    """How one type (libblkid's name) is mounted.

    Attributes:
        drivers: The kernel's names, the first that it has is taken.
        always: Options of every attempt.
        fallbacks: Tried in order after plain `ro` was refused.
        view: What plain `ro` shows.
        journal: What plain `ro` succeeding says: `clean` if the driver would have refused otherwise.
        notice: What the examiner must know after plain `ro`, or None.
        fuse: The command that shows it without the kernel's driver, with {device} in it, or None.
        own_device_number: Its files carry a device number that is not the block device's (btrfs).
    """

    drivers: tuple[str, ...]
    always: tuple[str, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    view: View = "current"
    journal: Journal = "none"
    notice: str | None = None
    fuse: str | None = None
    own_device_number: bool = False


@dataclass(frozen=True, slots=True)
class NotFilesystem:
    """Something that holds or surrounds file systems, or none: refused by name.

    Attributes:
        name: What it is, for the error.
        hint: The next command, with {device} in it; or a sentence where no command would help.
        is_command: Which of the two.
    """

    name: str
    hint: str
    is_command: bool = True


# An ext superblock can ask for a kernel panic on the first inconsistency, and fs/ext2 obeys even when mounted
# read-only; the image decides nothing on the examiner's host.
_NO_PANIC = ("errors=continue",)

_BEFORE_JOURNAL = (
    "the journal is not replayed: what is seen is the state before it, newer files may be missing or differ"
)

_EXT_JOURNAL = Fallback(("noload",), ("noload|norecovery",), "before-journal", _BEFORE_JOURNAL)

_XFS = (
    Fallback(
        ("nouuid",),
        ("nouuid",),
        "current",
        "another xfs with the same UUID is mounted: mounted beside it with nouuid",
    ),
    Fallback(
        ("norecovery", "nouuid"),
        ("norecovery", "nouuid"),
        "before-journal",
        "the xfs log is not replayed: what is seen is older, and may lack most files or be inconsistent",
    ),
)

_BTRFS = (
    Fallback(
        ("rescue=nologreplay",),
        ("nologreplay",),
        "before-journal",
        "the btrfs log tree is not replayed: what is seen is the last commit",
    ),
    Fallback(
        ("rescue=all",),
        ("nologreplay", "ignorebadroots"),
        "salvaged",
        "the log tree is not replayed, bad roots are skipped and checksums are not checked: "
        "files may be missing and content may be wrong",
    ),
)

_NILFS2 = Fallback(
    ("norecovery",),
    ("norecovery",),
    "before-journal",
    "nilfs2 is not rolled forward: what is seen is its last complete segment",
)

_NEVER_REPLAYED = "Linux does not replay the journal of {name} on a read-only device: what is seen may be older than the journal"

FILESYSTEMS: Mapping[str, MountRow] = {
    "ext2": MountRow(("ext2", "ext4"), always=_NO_PANIC, fuse="fuse2fs -o ro {device} DIR"),
    "ext3": MountRow(
        ("ext3", "ext4"),
        always=_NO_PANIC,
        fallbacks=(_EXT_JOURNAL,),
        journal="clean",
        fuse="fuse2fs -o ro {device} DIR",
    ),
    "ext4": MountRow(
        ("ext4",),
        always=_NO_PANIC,
        fallbacks=(_EXT_JOURNAL,),
        journal="clean",
        fuse="fuse2fs -o ro {device} DIR",
    ),
    "xfs": MountRow(("xfs",), fallbacks=_XFS, journal="clean"),
    "btrfs": MountRow(("btrfs",), fallbacks=_BTRFS, journal="clean", own_device_number=True),
    "nilfs2": MountRow(("nilfs2",), fallbacks=(_NILFS2,), journal="clean"),
    "reiserfs": MountRow(("reiserfs",), journal="clean"),
    "f2fs": MountRow(("f2fs",), journal="unknown"),
    "jfs": MountRow(("jfs",), view="unknown", journal="unknown", notice=_NEVER_REPLAYED.format(name="jfs")),
    # utf8: without it names outside the kernel's default character set are shown as question marks.
    "vfat": MountRow(("vfat",), always=("utf8",), fuse="fusefat -o ro {device} DIR"),
    "exfat": MountRow(("exfat",), fuse="mount.exfat-fuse -o ro {device} DIR"),
    "ntfs": MountRow(("ntfs3", "ntfs"), journal="unknown", fuse="ntfs-3g -o ro {device} DIR"),
    "hfs": MountRow(("hfs",), fuse="hfsfuse {device} DIR"),
    "hfsplus": MountRow(
        ("hfsplus",),
        view="unknown",
        journal="unknown",
        notice=_NEVER_REPLAYED.format(name="HFS+"),
        fuse="hfsfuse {device} DIR",
    ),
    "apfs": MountRow((), journal="unknown", fuse="apfs-fuse {device} DIR"),
    "iso9660": MountRow(("iso9660",), always=("utf8",), fuse="fuseiso {device} DIR"),
    "udf": MountRow(("udf",)),
    "squashfs": MountRow(("squashfs",), fuse="squashfuse {device} DIR"),
    "squashfs3": MountRow((), fuse="squashfuse {device} DIR"),
    "erofs": MountRow(("erofs",), fuse="erofsfuse {device} DIR"),
    "cramfs": MountRow(("cramfs",)),
    "romfs": MountRow(("romfs",)),
    "minix": MountRow(("minix",)),
    "sysv": MountRow(("sysv",)),
    "befs": MountRow(("befs",)),
    "hpfs": MountRow(("hpfs",)),
    "bfs": MountRow(("bfs",)),
    "qnx4": MountRow(("qnx4",)),
    "affs": MountRow(("affs",)),
    "VMFS": MountRow((), fuse="vmfs6-fuse {device} DIR"),
    "ReFS": MountRow(()),
}

_AFTER_MAPPER = "; then imgkit mount /dev/mapper/NAME"
_NO_CONTENT = "it holds no files; its bytes can be read from {device}"
_MD = "mdadm --assemble --readonly --run /dev/md/NAME {device} (and the array's other members); then imgkit mount /dev/md/NAME"
_DM_PART = "it is one layer of a device-mapper stack; dmsetup and veritysetup on {device} can put the stack together read-only"

NOT_FILESYSTEMS: Mapping[str, NotFilesystem] = {
    "crypto_LUKS": NotFilesystem(
        "a LUKS encrypted volume", "cryptsetup open --readonly --type luks {device} NAME" + _AFTER_MAPPER
    ),
    "BitLocker": NotFilesystem(
        "a BitLocker encrypted volume",
        "cryptsetup open --readonly --type bitlk {device} NAME" + _AFTER_MAPPER,
    ),
    "cs_fvault2": NotFilesystem(
        "a FileVault 2 encrypted volume",
        "cryptsetup open --readonly --type fvault2 {device} NAME" + _AFTER_MAPPER,
    ),
    "LVM2_member": NotFilesystem(
        "an LVM physical volume",
        "pvs {device} names the volume group; vgchange --activate y "
        "--config 'activation/read_only_volume_list=[\"VG\"]' VG; then imgkit mount /dev/VG/LV",
    ),
    "LVM1_member": NotFilesystem(
        "an LVM1 physical volume", "LVM since 2.03 cannot read it: an older lvm2 can", is_command=False
    ),
    "linux_raid_member": NotFilesystem("a member of a Linux md array", _MD),
    "ddf_raid_member": NotFilesystem("a member of a DDF RAID array", _MD),
    "isw_raid_member": NotFilesystem("a member of an Intel RAID array", _MD),
    "swap": NotFilesystem("swap space", _NO_CONTENT, is_command=False),
    "swsuspend": NotFilesystem("a hibernation image in swap space", _NO_CONTENT, is_command=False),
    "jbd": NotFilesystem("an external journal of ext3 or ext4", _NO_CONTENT, is_command=False),
    "bcache": NotFilesystem(
        "a bcache device",
        "bcache-super-show {device} states where the data begins; attach the image from there with --offset",
    ),
    "zfs_member": NotFilesystem(
        "a member of a ZFS pool", "zpool import -o readonly=on -R DIR -d {device} POOL"
    ),
    "drbd": NotFilesystem("a DRBD device", _NO_CONTENT, is_command=False),
    "ceph_bluestore": NotFilesystem(
        "a Ceph BlueStore device", "ceph-objectstore-tool reads it", is_command=False
    ),
    "stratis": NotFilesystem(
        "a member of a Stratis pool", "stratis pool start, with a copy of the devices", is_command=False
    ),
    "VMFS_volume_member": NotFilesystem("a member of a VMFS volume", "vmfs6-fuse {device} DIR"),
    "DM_snapshot_cow": NotFilesystem("the store of a device-mapper snapshot", _DM_PART, is_command=False),
    "DM_verity_hash": NotFilesystem("a dm-verity hash tree", _DM_PART, is_command=False),
    "DM_integrity": NotFilesystem("a dm-integrity device", _DM_PART, is_command=False),
    "vdo": NotFilesystem("a VDO volume", _DM_PART, is_command=False),
    "ubi": NotFilesystem(
        "a UBI image of raw flash",
        "it needs a flash device (nandsim and ubiattach) to be read",
        is_command=False,
    ),
    "ubifs": NotFilesystem(
        "a UBIFS volume of raw flash", "it needs a flash device (nandsim) to be mounted", is_command=False
    ),
}


def not_filesystem(type_name: str) -> NotFilesystem | None:
    """The row of something that is no file system; vendors' RAID members share one answer."""
    if type_name in NOT_FILESYSTEMS:
        return NOT_FILESYSTEMS[type_name]
    if type_name.endswith("_raid_member"):
        vendor = type_name.removesuffix("_raid_member")
        return NotFilesystem(
            f"a member of a RAID array ({vendor})",
            "dmraid or mdadm can put the array together",
            is_command=False,
        )
    return None


def row_of_driver(driver: str) -> MountRow | None:
    """The row whose driver the kernel names so in mountinfo; a type's own name comes before an alias."""
    if driver in FILESYSTEMS and driver in FILESYSTEMS[driver].drivers:
        return FILESYSTEMS[driver]
    return next((row for row in FILESYSTEMS.values() if driver in row.drivers), None)
