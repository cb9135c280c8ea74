"""Formats that are known by content: a row with a reader is opened by it, any other is refused by name, none is raw bytes.

A row needs structure, not two bytes: a genuine disk may hold anything in its first sector. Add a format: add a row;
once it has a reader, name its module in the row.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.image import Image

_HEAD = 4096  # bytes looked at from the start
_ZIP_TAIL = 66 * 1024  # an end-of-central-directory record and its longest comment


class Format(NamedTuple):
    """A row: what it is called, what to do about it, and how its content tells.

    Attributes:
        name: Short, as users say it.
        hint: The next step.
        matches: (first 4096 bytes, the file as raw media) -> whether it is this format.
        reader: Module of containers/ whose `open_container` reads it; empty where imgkit refuses it.
    """

    name: str
    hint: str
    matches: Callable[[bytes, Image], bool]
    reader: str = ""


def recognise(image: Image) -> Format | None:
    """Return the format that the bytes of `image` are stored in, or None where they look like media.

    Raises:
        MediaReadError: The start or the end could not be read.
    """
    head = image.read_at(0, _HEAD)
    return next((row for row in FORMATS if row.matches(head, image)), None)


def _magic(*values: bytes, at: int = 0) -> Callable[[bytes, Image], bool]:
    return lambda head, _image: head.startswith(values, at)


def _vhd_footer(footer: bytes, image: Image) -> bool:
    """Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format".

    A disk may hold a footer in its last sector that is of a file which once lay there: the rest of the file has to agree,
    either the bytes before the footer with its size (fixed), or a dynamic disk header where it points.
    """
    if len(footer) < 511 or not footer.startswith(b"conectix"):
        return False
    (data_offset,) = struct.unpack_from(">Q", footer, 16)
    (current_size,) = struct.unpack_from(">Q", footer, 48)
    if current_size == image.size - len(footer):
        return True
    return data_offset < image.size and image.read_at(data_offset, 8) == b"cxsparse"


def _vhd(head: bytes, image: Image) -> bool:
    """A dynamic one begins with a copy of the footer; a fixed one has it only at the end (511 bytes in old ones)."""
    if head.startswith(b"conectix"):
        return True
    return any(_vhd_footer(_tail(image, length), image) for length in (512, 511))


def _udif(head: bytes, image: Image) -> bool:
    """The `koly` block, at the end (at the start in early ones): version 4 and a header of 512 bytes, big-endian."""
    koly = b"koly" + struct.pack(">II", 4, 512)
    return head.startswith(koly) or _tail(image, 512).startswith(koly)


def _encrypted_dmg(head: bytes, image: Image) -> bool:
    return head.startswith(b"encrcdsa") or _tail(image, 8) == b"cdsaencr"


def _vdi(head: bytes, _image: Image) -> bool:
    """Magic and a version of 0.x or 1.x behind 64 bytes of text."""
    if len(head) < 72:
        return False
    magic, version = struct.unpack_from("<II", head, 64)
    return bool(magic == 0xBEDA107F and version >> 16 in {0, 1})


def _vmdk_descriptor(head: bytes, _image: Image) -> bool:
    return head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"# disk descriptorfile")


def _zip(head: bytes, _image: Image) -> bool:
    """A local header with a sane version and a name; an empty archive; the mark of a spanned one."""
    if head.startswith((b"PK\x05\x06" + bytes(16), b"PK\x07\x08PK\x03\x04", b"PK00PK\x03\x04")):
        return True
    if not head.startswith(b"PK\x03\x04") or len(head) < 31:
        return False
    needed, name_length = head[4], struct.unpack_from("<H", head, 26)[0]
    return bool(needed < 100 and name_length > 0)


def _aff4(head: bytes, image: Image) -> bool:
    """A zip volume with the AFF4 members (AFF4 Standard v1.0, "Container")."""
    if not _zip(head, image):
        return False
    tail = _tail(image, min(image.size, _ZIP_TAIL))
    return any(
        mark in part
        for part in (head, tail)
        for mark in (b"aff4://", b"aff4%3A%2F%2F", b"container.description", b"information.turtle")
    )


def _gzip(head: bytes, _image: Image) -> bool:
    """RFC 1952: method 8 (deflate), reserved flags zero, room for header and trailer."""
    return len(head) >= 18 and head.startswith(b"\x1f\x8b\x08") and not head[3] & 0xE0


def _zstd(head: bytes, _image: Image) -> bool:
    """RFC 8878: a frame, or a skippable frame (what pzstd writes) before one."""
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return True
    if len(head) < 12 or head[1:4] != b"\x2a\x4d\x18" or head[0] & 0xF0 != 0x50:
        return False
    (length,) = struct.unpack_from("<I", head, 4)
    return head.startswith(b"\x28\xb5\x2f\xfd", 8 + length)


def _lzma_alone(head: bytes, _image: Image) -> bool:
    """The .lzma of xz-utils: properties 5D, a dictionary of 64 KiB or more, length unknown."""
    return head.startswith(b"\x5d\x00\x00") and head[5:13] == b"\xff" * 8 and len(head) > 13


_BZIP2 = re.compile(rb"BZh[1-9](?:\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90)")


def _bzip2(head: bytes, _image: Image) -> bool:
    return _BZIP2.match(head) is not None


def _qcow(*versions: int) -> Callable[[bytes, Image], bool]:
    return _magic(*(b"QFI\xfb" + struct.pack(">I", version) for version in versions))


def _qcow_unknown(head: bytes, _image: Image) -> bool:
    """A version that nobody has seen, in front of what every version has: a header with zeros above its cluster_bits."""
    return head.startswith(b"QFI\xfb") and len(head) >= 48 and head[20:23] == bytes(3) and 9 <= head[23] <= 30


def _vmware_sparse(head: bytes, _image: Image) -> bool:
    """KDMV (hosted), COWD (ESX): a version of 1 to 3, or KDMV's line ends, behind the magic; SESparse: its 64-bit magic."""
    if head.startswith(struct.pack("<QQ", 0xCAFEBABE, 0x0000000200000001)):
        return True
    if not head.startswith((b"KDMV", b"COWD")) or len(head) < 8:
        return False
    if head.startswith(b"KDMV") and head.startswith(b"\n \r\n", 73):
        return True
    return bool(1 <= struct.unpack_from("<I", head, 4)[0] <= 3)


def _tar(head: bytes, _image: Image) -> bool:
    """POSIX ustar or GNU tar: the magic, and a header whose checksum is right."""
    if len(head) < 512 or head[257:262] != b"ustar":
        return False
    stated = head[148:156].strip(b"\x00 ")
    summed = sum(head[:148]) + 8 * 0x20 + sum(head[156:512])
    return stated.isdigit() and stated == b"%06o" % summed


def _tail(image: Image, length: int) -> bytes:
    return image.read_at(image.size - length, length) if image.size >= length else b""


_EWF_HINT = "make a raw copy with ewfexport, or a raw view with ewfmount, and open that"
_EWF2_HINT = "make a raw or E01 copy with FTK Imager, EnCase or a recent ewfexport (that of 2014 does not read it), and open that"
_QEMU_HINT = "make a raw copy with qemu-img convert -O raw, and open that"
_AFF_HINT = "make a raw copy with affconvert -r (afflib-tools), and open that"
_FTK_HINT = "export it as raw or E01 with FTK Imager"
# Not dmg2img, which leaves out what it cannot decompress and reports success.
_DMG_HINT = (
    "make a raw copy with qemu-img convert -f dmg -O raw, or where that fails with hdiutil convert -format UDTO on macOS, "
    "and open that"
)
_RESTORE = "restore it to a raw file with the program that made it, and open that"


def _unpack(command: str) -> str:
    return f"unpack a copy with {command}, and open that"


# In probe order: AFF4 before zip, which it is too.
FORMATS: tuple[Format, ...] = (
    Format("E01 (EWF)", _EWF_HINT, _magic(b"EVF\x09\x0d\x0a\xff\x00"), "ewf"),
    Format("EWF delta", _EWF_HINT, _magic(b"DVF\x09\x0d\x0a\xff\x00")),
    Format("Ex01 (EWF 2)", _EWF2_HINT, _magic(b"EVF2\x0d\x0a\x81\x00")),
    Format(
        "L01 (EWF logical evidence)",
        "it holds files, not a disk: open it with EnCase or FTK Imager",
        _magic(b"LVF\x09\x0d\x0a\xff\x00"),
    ),
    Format(
        "Lx01 (EWF 2 logical evidence)",
        "it holds files, not a disk: open it with EnCase",
        _magic(b"LEF2\x0d\x0a\x81\x00"),
    ),
    Format("AFF", _AFF_HINT, _magic(b"AFF10\x0d\x0a\x00")),
    Format(
        "AFF4",
        "make a raw copy with an AFF4 tool (aff4imager -e), and open that; a logical one holds files, not a disk",
        _aff4,
    ),
    Format(
        "AD1 (AccessData logical image)",
        "it holds files, not a disk: open it with FTK Imager",
        _magic(b"ADSEGMENTEDFILE\x00"),
    ),
    Format("AD-encrypted image (FTK Imager)", _FTK_HINT, _magic(b"ADCRYPT\x00")),
    Format("ProDiscover image", _RESTORE, _magic(b"ProDiscover Image")),
    Format("qcow", _QEMU_HINT, _qcow(1)),
    Format("qcow2", _QEMU_HINT, _qcow(2, 3), "qcow2"),
    Format("qcow of an unknown version", "a newer qemu-img convert -O raw may read it", _qcow_unknown),
    Format("QED", _QEMU_HINT, _magic(b"QED\x00")),
    Format("VMDK", _QEMU_HINT, _vmware_sparse, "vmdk"),
    Format("VMDK descriptor", _QEMU_HINT, _vmdk_descriptor, "vmdk"),
    Format("VHDX", _QEMU_HINT, _magic(b"vhdxfile"), "vhdx"),
    Format("VHD", _QEMU_HINT, _vhd, "vhd"),
    Format("VDI", _QEMU_HINT, _vdi),
    Format("Parallels HDD", _QEMU_HINT, _magic(b"WithoutFreeSpace", b"WithouFreSpacExt")),
    Format("Bochs image", _QEMU_HINT, _magic(b"Bochs Virtual HD Image\x00")),
    Format("encrypted DMG", "decrypt a copy with hdiutil convert on macOS, and open that", _encrypted_dmg),
    Format("DMG (UDIF)", _DMG_HINT, _udif),
    Format(
        "sparse image (macOS)",
        "make a raw copy with hdiutil convert -format UDTO on macOS, and open that",
        _magic(b"sprs\x00\x00\x00"),
    ),
    Format("CHD", "make a raw copy with chdman extractraw, and open that", _magic(b"MComprHD\x00\x00\x00")),
    Format(
        "Android sparse image",
        "make a raw copy with simg2img, and open that",
        _magic(b"\x3a\xff\x26\xed\x01\x00"),
    ),
    Format(
        "partclone image",
        "restore it to a raw file with partclone.restore -O, and open that",
        _magic(b"partclone-image\x00"),
    ),
    Format(
        "ntfsclone image",
        "restore it to a raw file with ntfsclone --restore-image, and open that",
        _magic(b"\x00ntfsclone-image"),
    ),
    Format("Partimage image", _RESTORE, _magic(b"PaRtImAgE-VoLuMe")),
    Format("WIM", "it holds files, not a disk: unpack it with wimlib-imagex", _magic(b"MSWIM\x00\x00\x00")),
    Format("gzip", _unpack("gunzip -k"), _gzip),
    Format("xz", _unpack("unxz -k"), _magic(b"\xfd7zXZ\x00")),
    Format("lzma", _unpack("unlzma -k"), _lzma_alone),
    Format("bzip2", _unpack("bunzip2 -k"), _bzip2),
    Format("zstd", _unpack("unzstd"), _zstd),
    Format("lz4", _unpack("unlz4 -k"), _magic(b"\x04\x22\x4d\x18")),
    Format("lzip", _unpack("lzip -dk"), _magic(b"LZIP\x01")),
    Format("lzop", _unpack("lzop -d"), _magic(b"\x89LZO\x00\x0d\x0a\x1a\x0a")),
    Format("7z", _unpack("7z x"), _magic(b"7z\xbc\xaf\x27\x1c")),
    Format("RAR", _unpack("unrar x"), _magic(b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00")),
    Format("tar", _unpack("tar -xf"), _tar),
    Format("zip", _unpack("unzip"), _zip),
)
