"""The GUID partition table: both copies read, checked and compared.

Specification: UEFI 2.10, section 5.3 (https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html);
its field names are kept, without the casing. LBAs become bytes, and inclusive ends half-open ones, here and only here.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imgkit.image import Extent
from imgkit.partitions.gpt_types import ATTRIBUTES, GPT_TYPES, TYPE_ATTRIBUTES
from imgkit.partitions.table import Finding, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from imgkit.partitions.table import Severity

    Read = Callable[[int, int], bytes]

SIGNATURE: Final = b"EFI PART"
PROTECTIVE: Final = 0xEE
REVISION: Final = 0x00010000
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_LIMIT_ARRAY: Final = 8 << 20  # 65,536 rows of 128 bytes; real tables have 128 rows, the largest seen 1,024
_LIMIT_ROWS: Final = 8192  # partitions; as many as the Sleuth Kit reads
_LIMIT_ENTRY: Final = 4096
_LIMIT_BYTES: Final = 1 << 63  # loff_t: nothing on Linux can reach beyond
_LIMIT_NAMED: Final = 8  # rows named in one message


@dataclass(frozen=True, slots=True)
class Header:
    """One copy of the header and its entry array, with what was checked.

    Attributes:
        offset: Where it was found, bytes.
        sector_size: The LBA size under which it was found.
        header_crc_ok: HeaderCRC32 agrees.
        array: The entry array as far as it could be read.
        array_crc_ok: PartitionEntryArrayCRC32 agrees.
    """

    offset: int
    sector_size: int
    revision: int
    header_size: int
    my_lba: int
    alternate_lba: int
    first_usable_lba: int
    last_usable_lba: int
    disk_guid: str
    partition_entry_lba: int
    entry_count: int
    entry_size: int
    header_crc_ok: bool
    array: bytes = field(repr=False)
    array_crc_ok: bool

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """The better copy has the greater rank."""
        at_home = self.my_lba * self.sector_size == self.offset
        return (self.header_crc_ok and self.array_crc_ok, self.header_crc_ok, at_home)


@dataclass(frozen=True, slots=True)
class Gpt:
    """A GUID partition table as the better of its copies has it.

    Attributes:
        used: The copy that was read.
        primary, backup: Either may be missing (None), never both.
    """

    used: Header
    primary: Header | None
    backup: Header | None
    partitions: tuple[Partition, ...]
    findings: tuple[Finding, ...]


def read_gpt(
    read: Read, size: int, *, sector_sizes: Sequence[int], protective_end: int | None = None
) -> Gpt | None:
    """Read the table, or return None where neither copy is one.

    Args:
        read: read(offset, length) -> bytes of the media, fewer past its end.
        size: Bytes of the media.
        sector_sizes: LBA sizes to try, the likeliest first.
        protective_end: Last LBA by the protective MBR: one more place where a backup may lie.
    """
    primary = _best(_header(read, size, lba_size, lba_size) for lba_size in sector_sizes)
    sizes = (primary.sector_size,) if primary else sector_sizes
    backup = _backup(read, size, primary, sizes, protective_end)
    candidates = [copy for copy in (primary, backup) if copy is not None]
    if not candidates:
        return None
    used = max(candidates, key=lambda copy: copy.rank)  # the first of equals: the primary
    findings = [*_copy_findings(used, primary, backup), *_place_findings(used, primary, backup, size)]
    partitions = tuple(_partitions(used, findings))
    return Gpt(used, primary, backup, partitions, tuple(findings))


def _best(headers: Iterable[Header | None]) -> Header | None:
    """The header of the greatest rank, the first of equals."""
    found = [header for header in headers if header is not None]
    return max(found, key=lambda header: header.rank, default=None)


def _backup(
    read: Read, size: int, primary: Header | None, sizes: Sequence[int], protective_end: int | None
) -> Header | None:
    """The best copy at the alternate LBA, at the last sector, and where the protective MBR ends."""
    places: dict[tuple[int, int], None] = {}
    for lba_size in sizes:
        if primary is not None:
            places[primary.alternate_lba * lba_size, lba_size] = None
        places[(size // lba_size - 1) * lba_size, lba_size] = None
        if protective_end:
            places[protective_end * lba_size, lba_size] = None
    start = primary.offset if primary else 0
    return _best(_header(read, size, place, lba_size) for place, lba_size in places if place > start)


def _header(read: Read, size: int, offset: int, lba_size: int) -> Header | None:
    """The header at `offset` with its array, or None where nothing there can be one."""
    if offset + lba_size > size:
        return None
    sector = read(offset, lba_size)
    if len(sector) < lba_size or not sector.startswith(SIGNATURE):
        return None
    (_, revision, header_size, header_crc, _, my_lba, alternate, first_usable, last_usable, guid, entry_lba, count,
     entry_size, array_crc) = _HEADER.unpack_from(sector)  # fmt: skip
    if not _sane(header_size, count, entry_size, lba_size):
        return None
    crc_ok = zlib.crc32(sector[:16] + bytes(4) + sector[20:header_size]) == header_crc
    if not crc_ok and my_lba * lba_size != offset:
        return None  # neither the sum nor the place speaks for it: a picture of a header
    length = count * entry_size
    array = read(entry_lba * lba_size, length) if entry_lba * lba_size < size else b""
    array_ok = len(array) == length and zlib.crc32(array) == array_crc
    return Header(
        offset, lba_size, revision, header_size, my_lba, alternate, first_usable, last_usable,
        guid_text(guid), entry_lba, count, entry_size, crc_ok, array, array_ok,
    )  # fmt: skip


def _sane(header_size: int, count: int, entry_size: int, lba_size: int) -> bool:
    """The numbers that decide how much is read: 128·2^n bytes an entry, an array that fits its bound."""
    power = entry_size & (entry_size - 1) == 0
    return (
        _HEADER.size <= header_size <= lba_size
        and power
        and _ENTRY.size <= entry_size <= _LIMIT_ENTRY
        and count * entry_size <= _LIMIT_ARRAY
    )


def _copy_findings(used: Header, primary: Header | None, backup: Header | None) -> Iterator[Finding]:
    """What is wrong with each copy, and how they differ."""
    for name, copy in (("primary", primary), ("backup", backup)):
        if copy is not None:
            yield from _checks(name, copy)
    if primary is None:
        yield _finding(
            "gpt.primary-missing", "error", "there is no usable primary header at LBA 1: the backup is used"
        )
    elif backup is None:
        yield _finding("gpt.backup-missing", "warning", f"{_where(primary)} there is no usable backup header")
    elif used is backup:
        yield _finding("gpt.backup-used", "error", "the primary copy fails its checks: the backup is used")
    if primary is not None and backup is not None:
        yield from _differences(primary, backup)


def _where(primary: Header) -> str:
    """Where a backup was looked for."""
    return f"at LBA {primary.alternate_lba}, where the primary header places it, and at the end of the media"


def _checks(name: str, copy: Header) -> Iterator[Finding]:
    """The checks of UEFI 5.3.2 on one copy."""
    if not copy.header_crc_ok:
        yield _finding("gpt.header-crc", "error", f"the CRC of the {name} header at {copy.offset} is wrong")
    length = copy.entry_count * copy.entry_size
    if len(copy.array) < length:
        text = f"only {len(copy.array)} of {length} bytes of the {name} entry array are there"
        yield _finding("gpt.array-truncated", "error", text)
    elif not copy.array_crc_ok:
        text = f"the CRC of the {name} entry array at LBA {copy.partition_entry_lba} is wrong"
        yield _finding("gpt.array-crc", "error", text)
    home = copy.my_lba * copy.sector_size
    if home != copy.offset:
        text = f"the {name} header at {copy.offset} says that it lies at LBA {copy.my_lba} ({home})"
        yield _finding("gpt.header-fields", "warning", text)
    if copy.revision != REVISION:
        text = f"the {name} header has revision 0x{copy.revision:08x}, not 0x00010000"
        yield _finding("gpt.header-fields", "warning", text)


def _differences(primary: Header, backup: Header) -> Iterator[Finding]:
    """Every difference between the copies that is not there by design."""
    names = ("disk_guid", "first_usable_lba", "last_usable_lba", "entry_count", "entry_size")
    for name in names:
        ours, theirs = getattr(primary, name), getattr(backup, name)
        if ours != theirs:
            text = f"{name} is {ours} in the primary header and {theirs} in the backup"
            yield _finding("gpt.backup-differs", "error", text)
    if primary.array != backup.array and primary.entry_size == backup.entry_size:
        step = primary.entry_size
        count = max(len(primary.array), len(backup.array)) // step
        differ = [
            slot + 1
            for slot in range(count)
            if primary.array[slot * step : (slot + 1) * step] != backup.array[slot * step : (slot + 1) * step]
        ]
        more = f" and {len(differ) - _LIMIT_NAMED} more" if len(differ) > _LIMIT_NAMED else ""
        named = ", ".join(str(number) for number in differ[:_LIMIT_NAMED])
        text = f"the copies of the entry array differ in partition {named}{more}"
        yield _finding("gpt.backup-differs", "error", text)


def _place_findings(
    used: Header, primary: Header | None, backup: Header | None, size: int
) -> Iterator[Finding]:
    """Where the backup lies against where it should, and what that says about the media."""
    lba_size = used.sector_size
    last = (size // lba_size - 1) * lba_size
    if backup is not None and backup.offset != last:
        text = f"the backup header lies at {backup.offset}, the last sector of the media at {last}"
        yield _finding("gpt.backup-misplaced", "warning", text)
    if primary is not None and backup is not None and primary.alternate_lba * lba_size != backup.offset:
        text = (
            f"the primary header places the backup at LBA {primary.alternate_lba}, it lies at {backup.offset}"
        )
        yield _finding("gpt.backup-misplaced", "warning", text)
    if primary is None or not primary.header_crc_ok:
        return
    end = (max(primary.alternate_lba, primary.last_usable_lba) + 1) * lba_size
    if end > size:
        text = f"by its header the disk has at least {end} bytes, the media {size}: {end - size} are missing"
        yield _finding("media.truncated", "error", text)


def _partitions(used: Header, findings: list[Finding]) -> Iterator[Partition]:
    """The rows in use; those that cannot be meant become findings."""
    step, seen, count = used.entry_size, dict[str, int](), 0
    empty = bytes(16)
    for slot in range(len(used.array) // step):
        row = used.array[slot * step : slot * step + _ENTRY.size]
        if row[:16] == empty:
            continue
        count += 1
        if count > _LIMIT_ROWS:
            text = f"more than {_LIMIT_ROWS} rows in use: the table is left at row {slot + 1}"
            findings.append(_finding("gpt.row-limit", "error", text))
            return
        partition = _partition(used, slot, row, findings)
        if partition is None:
            continue
        if partition.guid in seen:
            text = f"partitions {seen[partition.guid]} and {slot + 1} have the same GUID {partition.guid}"
            findings.append(_finding("gpt.duplicate-guid", "warning", text))
        seen.setdefault(partition.guid or "", slot + 1)
        yield partition


def _partition(used: Header, slot: int, row: bytes, findings: list[Finding]) -> Partition | None:
    """One row in bytes, or None with a finding where its LBAs cannot be meant."""
    type_guid, unique, first, last, attributes, raw_name = _ENTRY.unpack(row)
    number, lba_size = slot + 1, used.sector_size
    if last < first:
        text = f"partition {number} ends at LBA {last}, before its start {first}: left out"
        findings.append(_finding("gpt.row-reversed", "error", text))
        return None
    if (last + 1) * lba_size > _LIMIT_BYTES:
        text = f"partition {number} at LBA {first} to {last} reaches past 2^63 bytes: left out"
        findings.append(_finding("gpt.row-absurd", "error", text))
        return None
    if first < used.first_usable_lba or last > used.last_usable_lba:
        usable = f"LBA {used.first_usable_lba} to {used.last_usable_lba}"
        text = f"partition {number} (LBA {first} to {last}) leaves the usable area ({usable})"
        findings.append(_finding("gpt.outside-usable", "warning", text))
    kind = guid_text(type_guid)
    return Partition(
        number=number,
        slot=slot,
        extent=Extent(first * lba_size, (last + 1 - first) * lba_size),
        type=kind,
        type_name=GPT_TYPES.get(kind, ""),
        name=_name(number, raw_name, findings),
        guid=guid_text(unique),
        attributes=tuple(_attributes(kind, attributes)),
        bootable=bool(attributes >> 2 & 1),
    )


def _name(number: int, raw: bytes, findings: list[Finding]) -> str:
    """The name as written, up to the first NUL; what no text can hold, or what hides behind the NUL, is a finding."""
    name, _, behind = raw.decode("utf-16-le", "replace").partition("\0")
    hidden = behind.strip("\0")
    if hidden or "\ufffd" in name:
        why = "has bytes after its end" if hidden else "is no valid UTF-16"
        text = f"the name of partition {number} {why}: {raw.rstrip(bytes(1)).hex()}"
        findings.append(_finding("gpt.name", "warning", text))
    return name


def _attributes(kind: str, bits: int) -> Iterator[str]:
    """Names of the bits that are set; `bit-N` where neither the specification nor the type names it."""
    if not bits:
        return
    named = ATTRIBUTES | TYPE_ATTRIBUTES.get(kind, {})
    for bit in range(64):
        if bits >> bit & 1:
            yield named.get(bit, f"bit-{bit}")


def mbr_findings(gpt: Gpt, slots: Sequence[tuple[int, int, int]], size: int) -> Iterator[Finding]:
    """What the MBR in front of a GPT says about it.

    Args:
        gpt: The table.
        slots: (type, first LBA, sectors) of all four MBR slots, empty where there is no MBR.
        size: Bytes of the media.
    """
    used = [slot for slot in slots if slot[0] or slot[2]]
    protective = [slot for slot in used if slot[0] == PROTECTIVE]
    if not protective:
        text = "no 0xEE slot in sector 0: other systems do not look for the GPT"
        yield _finding("gpt.no-protective-mbr", "warning", text)
        return
    others = [slot for slot in used if slot[0] != PROTECTIVE]
    if others:
        rows = ", ".join(
            f"type 0x{kind:02x} at LBA {start}, {count} sectors" for kind, start, count in others
        )
        text = f"beside 0xEE the MBR has {rows}: systems that go by the MBR see other partitions"
        yield _finding("gpt.hybrid-mbr", "warning", text)
    else:
        last = size // gpt.used.sector_size - 1
        yield from _protective_extent(protective[0], last)


def _protective_extent(slot: tuple[int, int, int], last_lba: int) -> Iterator[Finding]:
    """UEFI 5.2.3: from LBA 1 to the end of the disk, 0xFFFFFFFF sectors where it is larger than that."""
    _, start, count = slot
    if start != 1 or count not in {last_lba, 0xFFFFFFFF}:
        text = f"the 0xEE slot has {count} sectors from LBA {start}, the disk {last_lba} from LBA 1"
        yield _finding("gpt.protective-extent", "info", text)


def guid_text(raw: bytes) -> str:
    """A GUID as written on disk (first three fields little-endian) as text in capitals."""
    return str(uuid.UUID(bytes_le=raw)).upper()


def _finding(code: str, severity: Severity, message: str) -> Finding:
    return Finding(code, severity, message)
