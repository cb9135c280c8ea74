"""The descriptor of a VMDK: text that says what the media is made of. Virtual Disk Format 5.0, "The Descriptor File".

https://www.vmware.com/app/vmdk/?src=vmdk
https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imgkit.errors import CorruptImage, UnknownFormat

SECTOR = 512
MOST_BYTES = 1 << 20  # of a descriptor: 62 TiB in 2 GB extents take a third of it
NO_PARENT = 0xFFFFFFFF
_MOST_EXTENTS = 40_000
_MOST_MEDIA = (1 << 63) - 1  # bytes: what an offset of a file can say
_MOST_FACTS, _LONGEST_FACT = 256, 512

_EXTENT = re.compile(
    r'(RW|RDONLY|NOACCESS)\s+(\d{1,20})\s+([A-Za-z0-9]+)(?:\s+"([^"]*)"(?:\s+(\d{1,20}))?)?\s*(.*)'
)
_KEY = re.compile(r'[^\s="]{1,128}')
_ENCODINGS = re.compile(
    r"utf-?8|us-ascii|ascii|windows-(?:125\d|874|9\d\d)|iso-8859-\d{1,2}|gbk|gb18030|big5|shift_jis|euc-(?:kr|jp)"
)
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{1,8})")
_UNQUOTED_ENCODING = re.compile(
    rb'^[ \t]*encoding[ \t]*=[ \t]*"?([A-Za-z0-9_\-]{1,32})"?[ \t\r]*$', re.MULTILINE | re.IGNORECASE
)

STORED_TYPES = {"FLAT", "VMFS", "SPARSE", "VMFSSPARSE"}
_UNREAD_TYPES = {
    "SESPARSE": "a space-efficient sparse extent (SESparse)",
    "VMFSRDM": "a mapped raw device",
    "VMFSRDMP": "a mapped raw device",
    "VMFSRAW": "a raw device",
}
_DEVICES = {"fulldevice", "partitioneddevice", "vmfsraw", "vmfsrawdevicemap", "vmfspassthroughrawdevicemap"}
_DEVICE_HINT = "it names a device of the machine it was made on: take an image of that device and open that"


@dataclass(frozen=True, slots=True)
class ExtentLine:
    """A line `RW 4192256 SPARSE "disk-s001.vmdk"`, in bytes.

    Attributes:
        access: `RW`, `RDONLY` or `NOACCESS`.
        length: Bytes of the media that it holds.
        type: In capitals.
        name: Of its file as written, or None (ZERO).
        offset: Where in the file a flat extent begins, bytes.
    """

    access: str
    length: int
    type: str
    name: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a descriptor states.

    Attributes:
        version: Of the descriptor, 1 to 3.
        content_id: `CID`, or None.
        parent_id: `parentCID`; None where the image has no parent.
        parent_name: `parentFileNameHint` as written, or None.
        create_type: As written.
        extents: In the order of the media.
        facts: Every other key with its value, as found.
    """

    version: int
    content_id: int | None
    parent_id: int | None
    parent_name: str | None
    create_type: str
    extents: tuple[ExtentLine, ...]
    facts: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of the media."""
        return sum(extent.length for extent in self.extents)


def parse_descriptor(raw: bytes, path: str) -> Descriptor:
    """Read a descriptor; `path` is the file it was found in.

    Raises:
        CorruptImage: It says no or contradictory things.
        UnknownFormat: Encrypted, or of a version or kind that is not read.
    """
    keys, extents = _lines(_decode(raw), path)
    _refuse_unread(keys, path)
    content_id = _number(keys, "cid", path)
    parent_id = _number(keys, "parentcid", path)
    descriptor = Descriptor(
        version=_version(keys, path),
        content_id=content_id,
        parent_id=None if parent_id == NO_PARENT else parent_id,
        parent_name=keys.get("parentfilenamehint"),
        create_type=keys["createtype"],
        extents=extents,
        facts=_facts(keys),
    )
    if not extents:
        raise CorruptImage(f"the descriptor of {path} lists no extents")
    if descriptor.size > _MOST_MEDIA:
        raise CorruptImage(f"the extents of {path} add up to {descriptor.size} bytes, which no disk has")
    if parent_id is None and descriptor.parent_name is not None:
        raise CorruptImage(f"{path} names a parent, {descriptor.parent_name}, and no parentCID")
    return descriptor


def is_descriptor(head: bytes) -> bool:
    """Whether a file that begins so is a descriptor (as recognise.py says)."""
    return head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(b"# disk descriptorfile")


def _decode(raw: bytes) -> str:
    """The text up to the first NUL (what is left over of the area is zeros), in the encoding that it states."""
    text = raw.partition(b"\0")[0].removeprefix(b"\xef\xbb\xbf")
    stated = _UNQUOTED_ENCODING.search(text)
    name = stated.group(1).decode().lower() if stated else "utf-8"
    if not _ENCODINGS.fullmatch(name):
        name = "utf-8"
    try:
        return text.decode(name)
    except (UnicodeDecodeError, LookupError):
        return text.decode("utf-8", "surrogateescape")


def _lines(text: str, path: str) -> tuple[dict[str, str], tuple[ExtentLine, ...]]:
    keys: dict[str, str] = {}
    extents: list[ExtentLine] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if (found := _EXTENT.fullmatch(stripped)) is not None:
            extents.append(_extent(found, path))
            if len(extents) > _MOST_EXTENTS:
                raise CorruptImage(f"the descriptor of {path} lists more than {_MOST_EXTENTS} extents")
        elif (pair := _key_and_value(stripped)) is not None:
            _keep(keys, *pair, path)
        elif stripped.split()[0] in {"RW", "RDONLY", "NOACCESS"}:
            raise CorruptImage(
                f"the descriptor of {path} has an extent that cannot be read: {stripped[:200]!r}"
            )
    return keys, tuple(extents)


def _key_and_value(line: str) -> tuple[str, str] | None:
    """`key = value` or `key="value"`, without the quotes; None for any other line.

    By hand: a pattern that can share out white space in many ways takes hours with a line made for it.
    """
    key, equals, value = line.partition("=")
    key, value = key.rstrip(), value.lstrip()
    if not equals or not _KEY.fullmatch(key):
        return None
    quoted = len(value) > 1 and value.startswith('"') and value.find('"', 1) == len(value) - 1
    return key, value[1:-1] if quoted else value


def _keep(keys: dict[str, str], key: str, value: str, path: str) -> None:
    name = key.lower() if "." not in key else key
    if name in {"cid", "parentcid", "createtype", "parentfilenamehint"} and keys.get(name, value) != value:
        raise CorruptImage(f"the descriptor of {path} states {key} twice: {keys[name][:80]} and {value[:80]}")
    if name in keys or len(keys) < _MOST_FACTS:
        keys[name] = value[: _LONGEST_FACT * 8]


def _extent(found: re.Match[str], path: str) -> ExtentLine:
    access, sectors, kind, name, offset, rest = found.groups()
    kind = kind.upper()
    if kind in _UNREAD_TYPES or access == "NOACCESS":
        what = _UNREAD_TYPES.get(kind, "an extent without access (NOACCESS)")
        hint = (
            "convert it with vmkfstools -i on its ESX host, or qemu-img convert"
            if kind == "SESPARSE"
            else _DEVICE_HINT
        )
        raise UnknownFormat(f"{path} is a VMDK with {what}, which imgkit does not read", hint=hint)
    if kind != "ZERO" and kind not in STORED_TYPES:
        raise UnknownFormat(
            f"{path} is a VMDK with an extent of type {kind[:40]}, which imgkit does not read"
        )
    if kind in STORED_TYPES and not name:
        raise CorruptImage(f"the descriptor of {path} has an extent of type {kind} without a file")
    if rest and kind in {"SPARSE", "VMFSSPARSE"}:
        raise CorruptImage(
            f"the descriptor of {path} has an extent that cannot be read: {found.group(0)[:200]!r}"
        )
    if int(sectors) == 0 or int(sectors) * SECTOR > _MOST_MEDIA or int(offset or 0) * SECTOR > _MOST_MEDIA:
        raise CorruptImage(f"the descriptor of {path} has an impossible extent: {found.group(0)[:200]!r}")
    return ExtentLine(access, int(sectors) * SECTOR, kind, name, int(offset or 0) * SECTOR)


def _refuse_unread(keys: dict[str, str], path: str) -> None:
    if any(key.lower().startswith("encryption.") for key in keys):
        hint = "decrypt a copy of the virtual machine with the VMware program and its password, and open that"
        raise UnknownFormat(f"{path} is an encrypted VMDK, which imgkit does not read", hint=hint)
    if "createtype" not in keys:
        raise CorruptImage(f"the descriptor of {path} states no createType")
    if keys["createtype"].lower() in _DEVICES:
        kind = keys["createtype"]
        raise UnknownFormat(f"{path} is a VMDK of type {kind}, which imgkit does not read", hint=_DEVICE_HINT)


def _version(keys: dict[str, str], path: str) -> int:
    stated = keys.get("version", "1")
    if stated not in {"1", "2", "3"}:
        raise UnknownFormat(
            f"{path} is a VMDK with a descriptor of version {stated[:40]}, which imgkit does not read"
        )
    return int(stated)


def _number(keys: dict[str, str], key: str, path: str) -> int | None:
    if key not in keys:
        return None
    found = _HEX.fullmatch(keys[key].strip())
    if found is None:
        raise CorruptImage(f"the descriptor of {path} states a {key} that is no number: {keys[key][:80]!r}")
    return int(found.group(1), 16)


def _facts(keys: dict[str, str]) -> dict[str, str]:
    known = {"version", "cid", "parentcid", "createtype", "parentfilenamehint"}
    return {key: value[:_LONGEST_FACT] for key, value in keys.items() if key not in known}
