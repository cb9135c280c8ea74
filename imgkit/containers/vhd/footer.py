"""The footer of a VHD: Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format".

https://www.microsoft.com/en-us/download/details.aspx?id=23850. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from imgkit.errors import CorruptImage, UnknownFormat

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
TYPES = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}
_COOKIE = b"conectix"
_SIZE = 512
_OLD_SIZE = 511  # Microsoft Virtual PC before 2004 wrote one byte less
_LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Footer:
    """The fields of a footer that is sound, under the specification's names.

    Attributes:
        end: Where the footer at the end of the file begins (the file's size where there is none).
        notices: Sentences for the examiner about where it was found.
    """

    data_offset: int
    time_stamp: int
    creator_application: str
    creator_version: int
    creator_host_os: str
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors: int
    disk_type: int
    unique_id: UUID
    saved_state: bool
    end: int
    notices: tuple[str, ...]

    @property
    def geometry_size(self) -> int:
        """Bytes that the CHS geometry can address."""
        return self.cylinders * self.heads * self.sectors * 512

    @property
    def geometry_is_largest(self) -> bool:
        """The disk is larger than any geometry: the specification's largest stands in its place."""
        return (self.cylinders, self.heads, self.sectors) == (65535, 16, 255)


def in_words(time_stamp: int) -> str:
    """Seconds since 2000-01-01 UTC as ISO 8601."""
    return (_EPOCH + timedelta(seconds=time_stamp)).isoformat()


def checksum(block: bytes, at: int) -> int:
    """One's complement of the sum of all bytes but the four of the checksum field itself."""
    return ~(sum(block) - sum(block[at : at + 4])) & 0xFFFFFFFF


def read_footer(file: EvidenceFile) -> Footer:
    """Find the footer: at the end of the file, or else its copy at the start.

    Raises:
        CorruptImage: Neither is sound.
        UnknownFormat: A version or type that is not read.
    """
    size = file.stat.st_size
    ends = [
        (size - length, file.read_at(size - length, length))
        for length in (_SIZE, _OLD_SIZE)
        if size >= length
    ]
    head = file.read_at(0, _SIZE)
    for where, block in ends:
        if _sound(block):
            return _parsed(file, block, where, _copy_notices(file, block, head))
    if _sound(head) and _type_of(head) != FIXED:
        damaged = any(block.startswith(_COOKIE) for _, block in ends)
        why = (
            "fails its checksum"
            if damaged
            else "is not there: the file was cut short, or something follows it"
        )
        notice = f"the footer at the end of {file.path} {why}; its copy at the start is used"
        end = next((where for where, block in ends if block.startswith(_COOKIE)), size)
        return _parsed(file, head, end, (notice,))
    raise CorruptImage(
        f"{file.path} is a VHD whose footer fails its checksum, and so does the copy at its start, if there is one",
        hint="copy the image again from the source; a fixed VHD is the raw disk followed by 512 bytes of footer",
    )


def _sound(block: bytes) -> bool:
    if len(block) < _OLD_SIZE or not block.startswith(_COOKIE):
        return False
    return int.from_bytes(block[64:68], "big") == checksum(block, 64)


def _type_of(block: bytes) -> int:
    return int.from_bytes(block[60:64], "big")


def _copy_notices(file: EvidenceFile, block: bytes, head: bytes) -> tuple[str, ...]:
    """A fixed disk has no copy: its first sector is media."""
    if _type_of(block) == FIXED or head[:_OLD_SIZE] == block[:_OLD_SIZE]:
        return ()
    how = "differs from it" if _sound(head) else "is damaged"
    return (f"the footer at the end of {file.path} is used; its copy at the start {how}",)


def _parsed(file: EvidenceFile, block: bytes, end: int, notices: tuple[str, ...]) -> Footer:
    fields = _LAYOUT.unpack_from(block)
    _cookie, _features, version, data_offset, time_stamp, application, application_version, host_os = fields[
        :8
    ]
    original_size, current_size, cylinders, heads, sectors, disk_type, _checksum, unique_id, saved_state = (
        fields[8:]
    )
    if version >> 16 != 1:
        raise UnknownFormat(
            f"{file.path} is a VHD of version {version >> 16}.{version & 0xFFFF}, which imgkit does not read"
        )
    if disk_type not in TYPES:
        raise UnknownFormat(f"{file.path} is a VHD of type {disk_type}, which is none of {TYPES}")
    return Footer(
        data_offset=data_offset,
        time_stamp=time_stamp,
        creator_application=_printable(application),
        creator_version=application_version,
        creator_host_os=_printable(host_os),
        original_size=original_size,
        current_size=current_size,
        cylinders=cylinders,
        heads=heads,
        sectors=sectors,
        disk_type=disk_type,
        unique_id=UUID(bytes=unique_id),
        saved_state=saved_state != 0,
        end=end,
        notices=notices,
    )


def _printable(code: bytes) -> str:
    return code.rstrip(b"\0 ").decode("ascii", "backslashreplace")
