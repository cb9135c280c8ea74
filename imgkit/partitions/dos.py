"""The MBR table with its extended partitions, numbered as Linux numbers them.

Format: https://en.wikipedia.org/wiki/Master_boot_record and Extended_boot_record; there is no specification, only practice.
Rows are offset 446, 16 bytes each: boot flag, CHS, type, CHS, first LBA and sectors (32-bit little-endian).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from imgkit.image import Extent
from imgkit.partitions.dos_types import DOS_TYPES, EXTENDED, HIDDEN
from imgkit.partitions.table import ExtendedContainer, Finding, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgkit.partitions.table import Severity

    Read = Callable[[int, int], bytes]

PROTECTIVE: Final = 0xEE
_SIGNATURE: Final = b"\x55\xaa"
_ROW: Final = struct.Struct("<B3sB3sII")
_ROWS_AT: Final = 446
_FLAGS: Final = (0x00, 0x80)
_FIRST_LOGICAL: Final = 5
_LIMIT_EBRS: Final = 10_000  # 2 TiB of 200 MiB logicals; a bound on a chain that never repeats itself
_BPB: Final = struct.Struct(
    "<HBHBHHB"
)  # from offset 11: sector, cluster, reserved, FATs, root, sectors, media


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an MBR or EBR, LBAs as written.

    Attributes:
        slot: 0 to 3.
        flag: Boot flag, 0x80 where it is set.
        type: Type byte.
        first_lba: Relative to what the row's kind says (media, EBR or container).
        sectors: Number of LBAs.
    """

    slot: int
    flag: int
    type: int
    first_lba: int
    sectors: int

    @property
    def extended(self) -> bool:
        """Whether it is a container (or, in an EBR, the link to the next)."""
        return self.type in EXTENDED


@dataclass(frozen=True, slots=True)
class Mbr:
    """Sector 0 as far as it can be a partition table.

    Attributes:
        rows: All rows with a size, type 0 included.
        slots: (type, first LBA, sectors) of all four.
        id: Disk signature, `0x12345678`.
        boot_sector: `FAT`, `NTFS` or `exFAT` where a valid BPB stands in front, else None.
    """

    rows: tuple[Row, ...]
    slots: tuple[tuple[int, int, int], ...]
    id: str
    boot_sector: str | None

    @property
    def protective(self) -> Row | None:
        """The first 0xEE row."""
        return next((row for row in self.rows if row.type == PROTECTIVE), None)


@dataclass(frozen=True, slots=True)
class DosTable:
    """The rows that stand, in bytes.

    Attributes:
        partitions: Primaries by slot, then logicals from 5 in the order of their chains.
        containers: Extended partitions.
        findings: In the order found.
    """

    partitions: tuple[Partition, ...]
    containers: tuple[ExtendedContainer, ...]
    findings: tuple[Finding, ...]


def parse_mbr(sector: bytes) -> Mbr | None:
    """The MBR in the first 512 bytes, or None where the signature 55 AA is not there."""
    if len(sector) < 512 or sector[510:512] != _SIGNATURE:
        return None
    rows = _rows(sector)
    slots = tuple((row.type, row.first_lba, row.sectors) for row in rows)
    identity = int.from_bytes(sector[440:444], "little")
    used = tuple(row for row in rows if row.sectors)
    return Mbr(used, slots, f"0x{identity:08x}", boot_sector(sector))


def boot_sector(sector: bytes) -> str | None:
    """Which file system's boot sector this is by its BIOS parameter block: `FAT`, `NTFS`, `exFAT` or None."""
    if sector[:1] not in {b"\xeb", b"\xe9"}:
        return None
    if sector[3:11] == b"EXFAT   ":
        sound = not any(sector[11:64]) and 9 <= sector[108] <= 12
        return "exFAT" if sound else None
    size, cluster, reserved, fats, _, sectors, media = _BPB.unpack_from(sector, 11)
    if size not in {512, 1024, 2048, 4096}:
        return None
    if sector[3:11] in {b"NTFS    ", b"-FVE-FS-"}:  # BitLocker keeps NTFS's block
        return "NTFS" if cluster and reserved == 0 else "FAT" if sector[3:11] == b"-FVE-FS-" else None
    power = cluster and cluster & (cluster - 1) == 0
    total = sectors or int.from_bytes(sector[32:36], "little")
    if power and reserved and 1 <= fats <= 4 and total and (media == 0xF0 or media >= 0xF8):
        return "FAT"
    return None


def _rows(sector: bytes) -> tuple[Row, ...]:
    """All four rows of a boot record."""
    found = []
    for slot in range(4):
        flag, _, kind, _, first, sectors = _ROW.unpack_from(sector, _ROWS_AT + slot * _ROW.size)
        found.append(Row(slot, flag, kind, first, sectors))
    return tuple(found)


def usable_rows(mbr: Mbr, size: int, findings: list[Finding]) -> tuple[Row, ...]:
    """The rows that can be meant as partitions; what is dropped, and why, becomes a finding.

    Args:
        mbr: The parsed sector.
        size: Bytes of the media.
        findings: Receives what was seen.
    """
    rows = tuple(row for row in mbr.rows if row.type != PROTECTIVE)
    if mbr.boot_sector is not None:
        return _rows_behind_boot_sector(mbr.boot_sector, rows, size, findings)
    odd = [row for row in rows if row.flag not in _FLAGS]
    if not odd:
        return rows
    if len(odd) > 1 or not _credible(odd[0], size):
        text = "sector 0 ends in 55 AA, but its rows make no sense as partitions (boot code, or chance)"
        findings.append(_finding("dos.no-table", "info", text))
        return ()
    text = f"partition {odd[0].slot + 1} has boot flag 0x{odd[0].flag:02x}, neither 0x00 nor 0x80"
    findings.append(_finding("dos.boot-flag", "warning", text))
    return rows


def _credible(row: Row, size: int) -> bool:
    """A row with a wrong boot flag counts where all the rest of it is sound."""
    return row.type in DOS_TYPES and row.type != 0 and row.first_lba > 0 and row.first_lba * 512 < size


def _rows_behind_boot_sector(
    kind: str, rows: Sequence[Row], size: int, findings: list[Finding]
) -> tuple[Row, ...]:
    """A valid BPB: rows stand only where all of them are sound and lie behind it; what starts at 0 is the volume itself."""
    kept = tuple(row for row in rows if row.first_lba)
    sound = all(row.flag in _FLAGS and row.type and row.first_lba * 512 < size for row in kept)
    if not sound:
        kept = ()
    if len(kept) < len(rows):
        dropped = ", ".join(str(row.slot + 1) for row in rows if row not in kept)
        text = f"sector 0 is the boot sector of a {kind} volume: row {dropped} is no partition"
        findings.append(_finding("dos.boot-sector", "info", text))
    return kept


def evidence_of_lba_size(
    rows: Sequence[Row],
    lba_size: int,
    *,
    against: int,
    size: int,
    read: Read,
    is_volume: Callable[[int, int], bool],
) -> list[str]:
    """Reasons to read the rows in LBAs of `lba_size` bytes, where nothing speaks for `against`; an empty list otherwise.

    Args:
        rows: Usable rows.
        lba_size: The reading that needs reasons.
        against: The reading that stands unless there are any.
        size: Bytes of the media; a row must fit it to count (ext's backup superblocks look like volumes, too).
        read: read(offset, length) -> bytes of the media.
        is_volume: Whether a file system begins at that offset and fits that length.
    """
    reasons = []
    for row in rows:
        if row.first_lba == 0:
            continue  # the same place in both readings
        if _found(row, against, read, is_volume):
            return []
        fits = (row.first_lba + row.sectors) * lba_size <= size
        if fits and _found(row, lba_size, read, is_volume):
            what = "an extended boot record" if row.extended else "a volume"
            here, there = row.first_lba * lba_size, row.first_lba * against
            reasons.append(f"{what} of partition {row.slot + 1} at {here}, none at {there}")
    return reasons


def _found(row: Row, lba_size: int, read: Read, is_volume: Callable[[int, int], bool]) -> bool:
    """Whether what the row announces is there under this LBA size."""
    start = row.first_lba * lba_size
    if row.extended:
        return parse_mbr(read(start, 512)) is not None
    return is_volume(start, row.sectors * lba_size)


def read_dos(read: Read, rows: Sequence[Row], *, lba_size: int, size: int) -> DosTable:
    """Turn usable rows into partitions, following every extended chain.

    Args:
        read: read(offset, length) -> bytes of the media.
        rows: What usable_rows let stand.
        lba_size: Bytes of one LBA.
        size: Bytes of the media.
    """
    findings = list(_row_findings(rows))
    primaries = [_partition(row.slot + 1, row, 0, lba_size) for row in rows if not row.extended]
    containers = [_container(row, lba_size) for row in rows if row.extended]
    if len(containers) > 1:
        text = f"{len(containers)} extended partitions; all of them are followed"
        findings.append(_finding("dos.several-extended", "warning", text))
    numbers, visited = count(_FIRST_LOGICAL), {0}
    logicals: list[Partition] = []
    for container in containers:
        chain = _Chain(read, container.extent, lba_size, size, visited, findings)
        logicals += [
            _partition(next(numbers), row, base, lba_size, logical=True) for row, base in chain.rows()
        ]
    return DosTable((*primaries, *logicals), tuple(containers), tuple(findings))


def _row_findings(rows: Sequence[Row]) -> Iterator[Finding]:
    """What an examiner should know of the primary rows."""
    active = [str(row.slot + 1) for row in rows if row.flag == 0x80]
    if len(active) > 1:
        text = f"partitions {', '.join(active)} all have the boot flag"
        yield _finding("dos.several-active", "warning", text)
    for row in rows:
        if row.type == 0:
            text = f"partition {row.slot + 1} has type 0x00 (empty) and a size of {row.sectors} sectors"
            yield _finding("dos.type-zero", "warning", text)
        elif row.type in HIDDEN:
            text = f"partition {row.slot + 1} has type 0x{row.type:02x} ({DOS_TYPES.get(row.type, '')})"
            yield _finding("dos.hidden-type", "info", text)


def _container(row: Row, lba_size: int) -> ExtendedContainer:
    extent = Extent(row.first_lba * lba_size, row.sectors * lba_size)
    return ExtendedContainer(row.slot, extent, f"0x{row.type:02x}")


def _partition(number: int, row: Row, base: int, lba_size: int, *, logical: bool = False) -> Partition:
    return Partition(
        number=number,
        slot=row.slot,
        extent=Extent(base + row.first_lba * lba_size, row.sectors * lba_size),
        type=f"0x{row.type:02x}",
        type_name=DOS_TYPES.get(row.type, ""),
        bootable=row.flag == 0x80,
        logical=logical,
    )


@dataclass(frozen=True, slots=True)
class _Chain:
    """The extended boot records of one container, each visited once."""

    read: Read
    container: Extent
    lba_size: int
    size: int
    visited: set[int]
    findings: list[Finding]

    def rows(self) -> Iterator[tuple[Row, int]]:
        """Every data row with the byte offset that its first LBA counts from."""
        at: int | None = self.container.offset
        while at is not None:
            sector = self._record(at)
            if sector is None:
                return
            rows = [row for row in _rows(sector) if row.sectors]
            yield from ((row, at) for row in rows if not row.extended and self._stands(row, at))
            at = self._next(rows, at)

    def _record(self, at: int) -> bytes | None:
        """The record at `at`, or None with the finding that says why the chain ends there."""
        if at in self.visited:
            text = f"the chain of extended boot records comes back to {at}: it ends there"
            self._note("dos.ebr-loop", "error", text)
            return None
        if len(self.visited) > _LIMIT_EBRS:
            text = f"more than {_LIMIT_EBRS} extended boot records: the chain is left at {at}"
            self._note("dos.ebr-limit", "error", text)
            return None
        self.visited.add(at)
        if at + 512 > self.size:
            text = f"the extended boot record at {at} lies beyond the end of the media: logical partitions may be missing"
            self._note("dos.beyond-end", "error", text)
            return None
        sector = self.read(at, 512)
        if len(sector) < 512 or sector[510:512] != _SIGNATURE:
            text = (
                f"no signature 55 AA at {at}, where an extended boot record should be: the chain ends there"
            )
            self._note("dos.ebr-signature", "warning", text)
            return None
        return sector

    def _note(self, code: str, severity: Severity, text: str) -> None:
        self.findings.append(_finding(code, severity, text))

    def _stands(self, row: Row, at: int) -> bool:
        """Rows 3 and 4 of a record often hold garbage: they count only inside the container, like in Linux."""
        start = at + row.first_lba * self.lba_size
        extent = Extent(start, row.sectors * self.lba_size)
        if self.container.contains(extent):
            return True
        where = f"row {row.slot + 1} of the record at {at}, {extent.length} bytes from {start}, leaves its container"
        if row.slot >= 2:
            self._note("dos.row-ignored", "info", f"{where}: left out")
            return False
        self._note("dos.logical-outside", "warning", where)
        return True

    def _next(self, rows: Sequence[Row], at: int) -> int | None:
        """Where the chain goes on: links count from the start of the container."""
        links = [row for row in rows if row.extended]
        if len(links) > 1:
            text = f"the record at {at} has {len(links)} links; the first is followed, as Linux does"
            self._note("dos.ebr-branches", "warning", text)
        return self.container.offset + links[0].first_lba * self.lba_size if links else None


def _finding(code: str, severity: Severity, message: str) -> Finding:
    return Finding(code, severity, message)
