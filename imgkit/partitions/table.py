"""PartitionTable, Partition, Finding: the answer, whoever read it. All offsets and lengths are bytes of the media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imgkit.image import Extent

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An anomaly that does not stop reading.

    Attributes:
        code: Stable and dotted: `gpt.header-crc` (docs/findings.md lists them all).
        severity: info, warning or error.
        message: One sentence with the numbers.
    """

    code: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Partition:
    """An allocated extent of the table.

    Attributes:
        number: What the user types and what Linux would call it (sda5 is 5).
        slot: Row of its table, from 0 (for a logical partition: of its EBR).
        extent: As the table states it; may run past the end of a truncated acquisition (a finding says so).
        type: `0x83`, or the type GUID in capitals, or the scheme's own type word.
        type_name: In words, or an empty string.
        name: As written in the table, unescaped; empty where the scheme has none.
        guid: Unique GUID in capitals, or None.
        attributes: Names or numbers of the attribute bits that are set.
        bootable: The boot flag (dos), or the legacy-bootable attribute (gpt).
        logical: Found through an EBR chain, or nested in another partition.
    """

    number: int
    slot: int
    extent: Extent
    type: str
    type_name: str = ""
    name: str = ""
    guid: str | None = None
    attributes: tuple[str, ...] = ()
    bootable: bool = False
    logical: bool = False


@dataclass(frozen=True, slots=True)
class ExtendedContainer:
    """An extended partition: it holds logical ones and is none itself."""

    slot: int
    extent: Extent
    type: str


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """How the media is divided.

    Attributes:
        scheme: dos, gpt, apple, bsd, sun, sgi, atari, minix, amiga or none.
        sector_size: Bytes of one LBA of the table (512 where there is no table and nothing states another).
        id: Disk signature (`0x12345678`) or disk GUID, or None.
        partitions: Ascending by number.
        gaps: Extents of the media that no partition covers, ascending: with the partitions, clipped to the media, they tile it.
        containers: Extended partitions.
        findings: In the order found.
        readers: Who read and who witnessed, with versions: {"imgkit": "0.1.0", "tsk": "4.15.0", "libblkid": "2.38.1"}.
    """

    scheme: str
    sector_size: int
    partitions: tuple[Partition, ...] = ()
    gaps: tuple[Extent, ...] = ()
    findings: tuple[Finding, ...] = ()
    containers: tuple[ExtendedContainer, ...] = ()
    id: str | None = None
    readers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a second reader makes of the same media: a witness, never the answer by itself.

    Attributes:
        reader: In words: `the Sleuth Kit`, `libblkid`.
        scheme: In our words (`apple`, not `mac`), or `none`.
        partitions: Allocated rows without extended containers and tables, as that reader numbers them.
        refusal: Why it reads no table, in its own words, or an empty string.
        id: Disk signature or GUID, or None.
    """

    reader: str
    scheme: str
    partitions: tuple[Partition, ...] = ()
    refusal: str = ""
    id: str | None = None
